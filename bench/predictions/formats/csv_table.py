"""Scores, boxes and points as CSV: long, with the columns of the kind; scores also wide, `image` and a column a class.

Other columns of a long file are passed over, and empty cells of a wide one are scores that are not there. The file
speaks for the images that it has rows of; rows are counted from 0, below the header.
"""

from __future__ import annotations

import csv
import math
import reprlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.data.ground_truth import GroundTruth, require_image
from bench.errors import BadFileError, UnknownNameError
from bench.predictions.formats.rows import IndexedRow, accept, make_predictions, open_lines, parse_number
from bench.predictions.table import KINDS, About, Predictions

_LONG = ("boxes", "points", "scores")
"""Kinds that a long file may hold, those with more columns first."""

_PLACES = ("x1", "y1", "x2", "y2", "xmin", "ymin", "xmax", "ymax", "x", "y")
"""Columns of boxes and points: passed over, they would leave the scores of places to count as those of images."""

Lines = Iterator[tuple[int, list[str]]]
"""Row and its fields; blank lines are passed over."""

Cells = Iterator[tuple[int, str, str, list[str]]]
"""Row, image, class and numbers, as the file says them."""


def is_csv(start: bytes) -> bool:
    """Whether a file that starts so is a CSV of predictions: its first column is the image."""
    return start.startswith((b"image,", b'"image",'))


def read_csv(path: Path, truth: GroundTruth, kinds: Sequence[str]) -> Predictions:
    """Read scores, boxes or points, as the header says. Raises BadFileError, naming file, row and rule."""
    with open_lines(path) as text:
        lines = _split_lines(path, text)
        _, header = next(lines)
        kind = _find_kind(path, header)
        accept(path, kind or "scores", kinds)
        cells = _read_long(header, lines, kind) if kind else _read_wide(path, truth, header, lines)
        rows = _index_rows(path, truth, kind or "scores", cells)
        return make_predictions(path, truth, kind or "scores", rows, About(made_by=path.stem))


def _split_lines(path: Path, text: Iterator[str]) -> Lines:
    """Split each line into fields, the header as row -1."""
    row, fields = -1, 0
    try:
        lines = csv.reader(text, strict=True)
        header = [name.strip() for name in next(line for line in lines if line)]
        yield row, header
        fields = len(header)
        for row, line in enumerate(lines):
            if line and len(line) != fields:
                raise BadFileError(path, f"expected {fields} fields, but got {len(line)}", row=row)
            if line:
                yield row, [field.strip() for field in line]
    except csv.Error as error:
        raise BadFileError(path, f"not readable as CSV in UTF-8 ({error})", row=row + 1) from None


def _find_kind(path: Path, header: list[str]) -> str | None:
    """Return the kind whose columns a long file has; None for a wide file of scores."""
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise BadFileError(path, f"column {twice!r} is there twice")
    kind = next((kind for kind in _LONG if set(KINDS[kind]) <= set(header)), None)
    if kind in (None, "scores") and (placed := [name for name in header if name in _PLACES]):
        rule = "looks like boxes (image, label, score, x1, y1, x2, y2) or points (image, label, score, x, y)"
        missing = [name for name in KINDS["points" if {"x", "y"} & set(placed) else "boxes"] if name not in header]
        raise BadFileError(path, f"{rule}, but lacks the columns {', '.join(missing)}")
    return kind


def _read_long(header: list[str], lines: Lines, kind: str) -> Cells:
    where = [header.index(name) for name in KINDS[kind]]
    for row, line in lines:
        image, label, *numbers = (line[column] for column in where)
        yield row, image, label, numbers


def _read_wide(path: Path, truth: GroundTruth, header: list[str], lines: Lines) -> Cells:
    for name in header[1:]:
        if name not in truth.class_index:
            rule = "a CSV of scores has the columns image, label, score, or image and a column a class"
            unknown = UnknownNameError(f"class of {truth.dataset}", name, truth.classes)
            raise BadFileError(path, f"{rule}. {unknown}")
    for row, (image, *cells) in lines:
        yield from ((row, image, label, [cell]) for label, cell in zip(header[1:], cells, strict=True) if cell)


def _index_rows(path: Path, truth: GroundTruth, kind: str, cells: Cells) -> Iterator[IndexedRow]:
    seen: set[int] = set()
    for row, image, label, numbers in cells:
        of_image = require_image(truth, path, image, row)
        if label not in truth.class_index:
            unknown = UnknownNameError(f"class of {truth.dataset}", label, truth.classes)
            raise BadFileError(path, str(unknown), row=row)
        of_class = truth.class_index[label]
        pair = of_image * len(truth.classes) + of_class
        if kind == "scores" and pair in seen:
            raise BadFileError(path, f"image {image!r}, class {label!r}: a second score", row=row)
        seen.add(pair)
        values = zip(KINDS[kind][2:], numbers, strict=True)
        yield of_image, of_class, [_parse_number(path, row, name, text) for name, text in values]


def _parse_number(path: Path, row: int, name: str, text: str) -> float:
    value = parse_number(text)
    if math.isnan(value):
        raise BadFileError(path, f"{name} must be a finite number, but got {reprlib.repr(text)}", row=row)
    return value
