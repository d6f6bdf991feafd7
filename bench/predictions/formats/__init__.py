"""Predictions in any supported format: our parquet, COCO results JSON, a CSV, an archive of maps, or a folder.

A folder holds PASCAL VOC's text files, Ultralytics' files, JSON or CSV in parts, masks, maps or our shards. A format is
recognised by content, never by name; errors give the file, the row, counted from 0, and the broken rule.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

from bench.data.ground_truth import GroundTruth
from bench.errors import BadFileError, first_line
from bench.predictions.arrays import read_folder, read_parquet
from bench.predictions.formats.coco import read_coco
from bench.predictions.formats.csv_table import is_csv, read_csv
from bench.predictions.formats.parts import find_parts, read_parts
from bench.predictions.formats.rows import accept, open_unpacked
from bench.predictions.formats.unrecognised import COLUMNS, describe_unrecognised
from bench.predictions.formats.voc import read_voc
from bench.predictions.formats.yolo import find_yolo_files, read_yolo
from bench.predictions.map_files import read_map_archive
from bench.predictions.table import KINDS, Predictions

_START = 1 << 16
"""Bytes from which the format is recognised: the header of a CSV may be long."""


def read_any(path: Path, truth: GroundTruth, kinds: Sequence[str]) -> Predictions:
    """Read predictions of one of `kinds`, the first that the file holds.

    Raises BadFileError, naming file, row and rule.
    """
    return read_all(path, truth, kinds)[0]


def read_all(path: Path, truth: GroundTruth, kinds: Sequence[str]) -> list[Predictions]:
    """Read the predictions of `kinds` in a file or folder: one kind, except that COCO JSON may have boxes and segments.

    Raises BadFileError, naming file, row and rule.
    """
    tables = tuple(kind for kind in kinds if kind in KINDS)
    if path.is_dir():
        if "boxes" in kinds and (files := find_yolo_files(path)):
            return [read_yolo(path, files, truth)]
        if parts := find_parts(path):
            return read_parts(path, parts, truth, lambda file: read_all(file, truth, kinds))
        return [read_folder(path, truth, kinds) or read_voc(path, truth, tables)]
    try:
        with open_unpacked(path) as file:
            start = file.read(_START)
    except (OSError, EOFError, zlib.error) as error:
        raise BadFileError(path, f"not a readable file ({first_line(error)})") from None
    if not start:
        header = next((COLUMNS[kind] for kind in kinds if kind in COLUMNS), COLUMNS["scores"])
        raise BadFileError(path, f"is empty; a CSV of no predictions has its header, {header}, and COCO's JSON is []")
    if start.startswith(b"PAR1"):
        return [read_parquet(path, kinds)]
    if start.startswith(b"PK\x03\x04"):
        accept(path, "maps", kinds)
        return [read_map_archive(path, truth)]
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] in (b"[", b"{"):
        return read_coco(path, truth, tables)
    if is_csv(text, truth):
        return [read_csv(path, truth, tables)]
    raise BadFileError(path, describe_unrecognised(path.name, start, truth, kinds))
