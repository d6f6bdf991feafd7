"""Class scores as CSV: long, with the columns `image`, `label`, `score`; or wide, `image` and a column a class.

Other columns of a long file are passed over, and empty cells of a wide one are scores that are not there. The file
speaks for the images that it has rows of; rows are counted from 0, below the header.
"""

from __future__ import annotations

import csv
import math
import reprlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.data.ground_truth import GroundTruth
from bench.errors import BadFileError, UnknownNameError
from bench.predictions.formats.rows import IndexedRow, accept, make_predictions, open_lines, parse_number
from bench.predictions.table import About, Predictions

_LONG = ("image", "label", "score")
_PLACES = {"x1", "y1", "x2", "y2", "x", "y"}
"""Columns of boxes and points: passed over, they would leave the scores of places to count as those of images."""

Cells = Iterator[tuple[int, str, str, str]]
"""Row, image, class and score, as the file says them."""


def is_csv(start: bytes) -> bool:
    """Whether a file that starts so is a CSV of scores: its first column is the image."""
    return start.startswith((b"image,", b'"image",'))


def read_csv(path: Path, truth: GroundTruth, kinds: Sequence[str]) -> Predictions:
    """Read class scores. Raises BadFileError, naming file, row and rule."""
    accept(path, "scores", kinds)
    return make_predictions(path, truth, "scores", _rows(path, truth), About(made_by=path.stem))


def _rows(path: Path, truth: GroundTruth) -> Iterator[IndexedRow]:
    seen: set[int] = set()
    with open_lines(path) as lines:
        for row, image, label, text in _cells(path, truth, lines):
            if image not in truth.index:
                what = f"unknown image of {truth.dataset} {truth.split}: {reprlib.repr(image)}"
                raise BadFileError(path, what, row=row)
            if label not in truth.class_index:
                unknown = UnknownNameError(f"class of {truth.dataset}", label, truth.classes)
                raise BadFileError(path, str(unknown), row=row)
            of_image, of_class = truth.index[image], truth.class_index[label]
            pair = of_image * len(truth.classes) + of_class
            if pair in seen:
                raise BadFileError(path, f"image {image!r}, class {label!r}: a second score", row=row)
            seen.add(pair)
            yield of_image, of_class, [_number(path, row, text)]


def _cells(path: Path, truth: GroundTruth, text: Iterator[str]) -> Cells:
    """Every score of the file; blank lines are passed over."""
    row = -1
    try:
        lines = csv.reader(text, strict=True)
        header = [name.strip() for name in next(line for line in lines if line)]
        long = _is_long(path, truth, header)
        for row, line in enumerate(lines):
            if line and len(line) != len(header):
                raise BadFileError(path, f"expected {len(header)} fields, but got {len(line)}", row=row)
            if line and long:
                image, label, score = (line[header.index(name)].strip() for name in _LONG)
                yield row, image, label, score
            elif line:
                cells = zip(header[1:], (cell.strip() for cell in line[1:]), strict=True)
                yield from ((row, line[0].strip(), label, cell) for label, cell in cells if cell)
    except csv.Error as error:
        raise BadFileError(path, f"not readable as CSV in UTF-8 ({error})", row=row + 1) from None


def _is_long(path: Path, truth: GroundTruth, header: list[str]) -> bool:
    """Whether the columns are those of a long file and not those of a wide one."""
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise BadFileError(path, f"column {twice!r} is there twice")
    if set(_LONG) <= set(header):
        if placed := [name for name in header if name in _PLACES]:
            rule = "a CSV holds class scores; boxes come as parquet, COCO JSON or VOC's text files, points as parquet"
            raise BadFileError(path, f"{rule}. Found the columns {', '.join(placed)}")
        return True
    for name in header[1:]:
        if name not in truth.class_index:
            rule = "a CSV of scores has the columns image, label, score, or image and a column a class"
            unknown = UnknownNameError(f"class of {truth.dataset}", name, truth.classes)
            raise BadFileError(path, f"{rule}. {unknown}")
    return False


def _number(path: Path, row: int, text: str) -> float:
    value = parse_number(text)
    if math.isnan(value):
        raise BadFileError(path, f"a score must be a finite number, but got {reprlib.repr(text)}", row=row)
    return value
