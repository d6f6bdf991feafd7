"""Boxes as a folder of text files, one per image, as Ultralytics writes them: `class cx cy width height confidence`.

Classes are numbers from 0, named in order by `classes.txt` in the folder or the one above, one name per line; centres
and sides are shares of the image. An image without a file has no detections; rows are counted from 0.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench.core.boxes import FloatArray
from bench.core.files import list_files
from bench.data.ground_truth import GroundTruth
from bench.errors import BadFileError
from bench.predictions.formats.names import Names
from bench.predictions.formats.rows import IndexedRow, cover_all_images, make_predictions, open_lines, parse_number
from bench.predictions.table import About, Predictions

CLASSES = "classes.txt"


def find_yolo_files(folder: Path) -> list[Path]:
    """Find the text files of a folder; none unless the first line of the first is a class number and four shares."""
    files = [file for file in list_files(folder, "*.txt") if file.name != CLASSES]
    for file in files:
        with open_lines(file) as lines:
            first = next((line.split() for line in lines if line.strip()), [])
        if first:
            shares = [parse_number(field) for field in first[1:5]]
            is_yolo = len(shares) == 4 and first[0].isdecimal() and all(0 <= share <= 1 for share in shares)
            return files if is_yolo else []
    return []


def read_yolo(folder: Path, files: list[Path], truth: GroundTruth) -> Predictions:
    """Read boxes. Raises BadFileError, naming file, row and rule."""
    names = Names(folder, truth)
    labels = _read_classes(folder, names)
    if not truth.size.all():
        raise BadFileError(folder, f"holds shares of images, but sizes of {truth.dataset} are not known; write corners")
    rows = (row for file in files for row in _read_file(file, folder, names, labels))
    found = make_predictions(folder, truth, "boxes", rows, About(made_by=folder.name))
    return cover_all_images(replace(found, notes=(*found.notes, *names.list_notes())), truth)


def _read_classes(folder: Path, names: Names) -> list[int]:
    """Return the index of each class number."""
    path = next((path for path in (folder / CLASSES, folder.parent / CLASSES) if path.is_file()), None)
    if path is None:
        first = ", ".join(names.truth.classes[:3])
        rule = (
            f"has classes as numbers; write {CLASSES} in it, a name a line in the order of the numbers, such as {first}"
        )
        raise BadFileError(folder, rule)
    with open_lines(path) as lines:
        return [names.find_label(line.strip(), row) for row, line in enumerate(lines) if line.strip()]


def _read_file(file: Path, folder: Path, names: Names, labels: list[int]) -> Iterator[IndexedRow]:
    image = names.find_image(file.relative_to(folder).as_posix().removesuffix(".txt"), 0)
    size = names.truth.size[image].astype(float)
    with open_lines(file) as lines:
        for row, line in enumerate(lines):
            if not line.strip():
                continue
            number, *values = [parse_number(field) for field in line.split()]
            if len(values) != 5 or any(map(math.isnan, values)) or not number.is_integer():
                expected = "class cx cy width height confidence (predict with save_conf=True)"
                raise BadFileError(file, f"expected {expected}, but got {reprlib.repr(line.strip())}", row=row)
            if not 0 <= number < len(labels):
                raise BadFileError(file, f"class {number:g} is not in {CLASSES}, which has {len(labels)}", row=row)
            yield image, labels[int(number)], [values[4], *_to_corners(values, size)]


def _to_corners(values: list[float], size: FloatArray) -> list[float]:
    cx, cy, width, height = values[:4]
    shares = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
    return [share * float(size[axis % 2]) for axis, share in enumerate(shares)]
