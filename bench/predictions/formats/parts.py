"""A folder of tables, COCO JSON or CSV, written by processes that each handled some of the images or classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from bench.core.files import list_files
from bench.data.ground_truth import GroundTruth
from bench.errors import BadFileError, format_names
from bench.predictions.formats.rows import cover_all_images, describe_uncovered
from bench.predictions.table import TABLES, Predictions


def find_parts(folder: Path) -> list[Path]:
    """Find the tables of a folder; none if it also holds other files."""
    files = [path for path in list_files(folder) if path.is_file()]
    return files if all(path.suffix.lower() in TABLES for path in files) else []


def read_parts(
    folder: Path, files: Sequence[Path], truth: GroundTruth, read: Callable[[Path], list[Predictions]]
) -> list[Predictions]:
    """Read each file and join them. Raises BadFileError if they are not of the same kinds."""
    parts = [read(file) for file in files]
    kinds = [tuple(one.kind for one in found) for found in parts]
    if other := next((row for row, kind in enumerate(kinds) if kind != kinds[0]), 0):
        named = ", ".join(format_names(kinds[row]) for row in (0, other))
        raise BadFileError(folder, f"{files[0].name} and {files[other].name} are of different kinds ({named})")
    return [_join(folder, found, truth) for found in zip(*parts, strict=True)]


def _join(folder: Path, parts: Sequence[Predictions], truth: GroundTruth) -> Predictions:
    about, covers_all = replace(parts[0].about, made_by=folder.name), parts[0].about.ids == truth.ids
    notes = {note: None for part in parts for note in part.notes if note != describe_uncovered(part, truth)}
    schema = parts[0].table.schema
    table = pa.concat_tables([part.table.cast(schema) for part in parts]).unify_dictionaries()
    joined = replace(parts[0], table=table, about=about, source=str(folder), notes=(*notes,))
    return cover_all_images(joined, truth) if covers_all else joined
