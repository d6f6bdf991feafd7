"""Predictions as folders of PASCAL VOC's text files, one per class: `comp3_det_<split>_<class>.txt` and its siblings.

Competitions 1 and 2 are classification, 3 and 4 detection, the even ones with outside data. A line has an image's id, a
score and, for detection, `xmin ymin xmax ymax`, 1-based and inclusive (VOCdevkit, devkit_doc.pdf). An image without
lines has no detections; rows are counted from 0.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bench.core.boxes import from_voc
from bench.core.files import list_files
from bench.data.ground_truth import GroundTruth, require_image
from bench.errors import BadFileError, UnknownNameError, format_names
from bench.predictions.formats.rows import (
    IndexedRow,
    accept,
    cover_all_images,
    make_predictions,
    open_lines,
    parse_number,
)
from bench.predictions.table import COUNTED, About, Predictions

_TASKS = {"1": "cls", "2": "cls", "3": "det", "4": "det"}
"""The task of each of VOC's competitions; the even ones allow outside data."""

_VOC_NAME = re.compile(r"comp([1-4])_(cls|det)_(.+)\.txt", re.ASCII)
_COLUMNS = {"det": ("score", "xmin", "ymin", "xmax", "ymax"), "cls": ("score",)}
_KIND = {"det": "boxes", "cls": "scores"}


def read_voc(folder: Path, truth: GroundTruth, kinds: Sequence[str]) -> Predictions:
    """Read a folder, or one above it such as `results`. Raises BadFileError, naming file, row and rule."""
    comp, split, files = _voc_files(folder, truth)
    task = _TASKS[comp]
    accept(folder, _KIND[task], kinds)
    rows = (row for label, file in sorted(files.items()) for row in _voc_rows(file, truth, label, _COLUMNS[task]))
    found = make_predictions(folder, truth, _KIND[task], rows, About(made_by=folder.name, split=split), from_voc)
    absent = [name for label, name in enumerate(truth.classes) if label not in files]
    notes = (f"no file for {', '.join(absent)}: no predictions of {'it' if len(absent) == 1 else 'them'}",)
    return cover_all_images(replace(found, notes=notes if absent else ()), truth)


def _voc_files(folder: Path, truth: GroundTruth) -> tuple[str, str, dict[int, Path]]:
    """Find the competition, the split, and the file of each class (by index) in a folder."""
    found: dict[tuple[str, str], dict[int, Path]] = {}
    for file in list_files(folder, "comp*.txt"):
        match = _VOC_NAME.fullmatch(file.name)
        if match is None or _TASKS[match[1]] != match[2]:
            continue
        split, label = _split_and_class(file, truth, match[3])
        other = found.setdefault((match[1], split), {}).setdefault(label, file)
        if other != file:
            raise BadFileError(file, f"a second file of class {truth.classes[label]!r}, beside {other}")
    if not found:
        expected = f"comp4_det_{truth.split}_{truth.classes[0]}.txt"
        there = list_files(folder)
        seen = format_names(sorted(file.name for file in there), 3)
        capital = next((file for file in there if file.suffix != file.suffix.lower() in COUNTED), None)
        advice = f"; suffixes are in small letters: rename {capital.name}" if capital else ""
        kinds = "VOC text files, arrays, masks or shards that this protocol evaluates"
        raise BadFileError(folder, f"a folder of {seen}, which are no {kinds}; expected names like {expected}{advice}")
    if len(found) > 1:
        sets = ", ".join(f"comp{comp} on {split}" for comp, split in found)
        raise BadFileError(folder, f"holds several sets of VOC text files ({sets}); give each a folder of its own")
    ((comp, split), files), *_ = found.items()
    return comp, split, files


def _split_and_class(file: Path, truth: GroundTruth, name: str) -> tuple[str, int]:
    for label, class_name in enumerate(truth.classes):
        if name.endswith(f"_{class_name}"):
            return name.removesuffix(f"_{class_name}"), label
    unknown = UnknownNameError(f"class of {truth.dataset}", name.rpartition("_")[2], truth.classes)
    raise BadFileError(file, str(unknown))


def _voc_rows(file: Path, truth: GroundTruth, label: int, columns: tuple[str, ...]) -> Iterator[IndexedRow]:
    """Rows of one class's file; corners become half-open, blank lines are passed over."""
    seen: set[int] = set()
    with open_lines(file) as lines:
        for row, line in enumerate(lines):
            name, *fields = line.split() or [""]
            if not name:
                continue
            image = require_image(truth, file, name, row)
            if columns == _COLUMNS["cls"] and image in seen:
                raise BadFileError(file, f"a second score of image {name!r}", row=row)
            numbers = _numbers(fields)
            if len(numbers) != len(columns):
                expected = f"an image id and {len(columns)} finite numbers ({' '.join(columns)})"
                raise BadFileError(file, f"expected {expected}, but got {reprlib.repr(line)}", row=row)
            seen.add(image)
            yield image, label, numbers


def _numbers(fields: list[str]) -> list[float]:
    """Parse the fields as finite numbers; return none if any is not."""
    numbers = [parse_number(field) for field in fields]
    return [] if any(map(math.isnan, numbers)) else numbers
