"""Scores, boxes and points as CSV: long, with the columns of the kind; scores also wide, with a column per class.

Columns come in any order, under their usual names, separated by commas, semicolons, tabs or bars. A wide file also has
the column `image`; its empty cells are missing scores. Other columns of a long file are ignored. The file covers the
images that it has rows for; rows are counted from 0, below the header.
"""

from __future__ import annotations

import csv
import math
import re
import reprlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from bench.data.ground_truth import GroundTruth
from bench.errors import BadFileError, UnknownNameError, format_names
from bench.predictions.formats.names import Names, fold
from bench.predictions.formats.rows import IndexedRow, accept, make_predictions, open_lines, parse_number
from bench.predictions.formats.unrecognised import COLUMNS
from bench.predictions.table import KINDS, About, Predictions

_LONG = ("boxes", "points", "scores")
"""The kinds that a long file may hold, those with more columns first."""

_PLACES = tuple("x1 y1 x2 y2 xmin ymin xmax ymax x y left top right bottom w h width height bbox".split())  # noqa: SIM905
"""Columns of boxes and points: if ignored, the scores of locations would be read as those of images."""

Lines = Iterator[tuple[int, list[str]]]
"""Row and its fields; blank lines are skipped."""

Cells = Iterator[tuple[int, str, str, list[str]]]
"""Row, image, class and numbers, as text in the file."""


_DELIMITERS = ",;\t|"

_ALIASES = {
    "image": ("image_id", "imageid", "image_name", "img", "filename", "file_name", "file", "id"),
    "label": ("class", "class_name", "category", "category_name", "cls"),
    "score": ("confidence", "conf", "prob", "probability"),
}
"""Other names of columns, in order of preference."""

_UNNAMED = re.compile(r"(?:Unnamed: \d+|index)?")
"""Names of the column of row numbers that pandas writes."""


def is_csv(start: bytes, truth: GroundTruth) -> bool:
    """Whether a file with this start is a CSV of predictions, with a column `image` in its header."""
    first = start.partition(b"\n")[0].decode("utf-8", "replace")
    return any("image" in _name_columns(_split_header(first, mark), truth) for mark in _DELIMITERS if mark in first)


def read_csv(path: Path, truth: GroundTruth, kinds: Sequence[str]) -> Predictions:
    """Read scores, boxes or points, depending on the header. Raises BadFileError, naming file, row and rule."""
    names = Names(path, truth)
    with open_lines(path) as text:
        lines = _split_lines(path, text, truth)
        _, given = next(lines)
        header = _name_columns(given, truth)
        kind = _find_kind(path, header)
        classes = {} if kind else _find_classes(path, truth, header)
        accept(path, kind or "scores", kinds)
        cells = _read_long(header, lines, kind) if kind else _read_wide(header, lines, classes)
        rows = _index_rows(path, names, kind or "scores", cells)
        found = make_predictions(path, truth, kind or "scores", rows, About(made_by=path.stem))
    used = KINDS[kind] if kind else ("image",)
    renamed = [f"{old} as {new}" for old, new in zip(given, header, strict=True) if old != new and new in used]
    notes = (*((f"columns read: {', '.join(renamed)}",) if renamed else ()), *names.list_notes())
    return replace(found, notes=(*found.notes, *notes))


def _split_header(line: str, delimiter: str) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:  # a line of no text file
        return []


def _name_columns(header: Sequence[str], truth: GroundTruth) -> list[str]:
    """Return our names of the columns, in lower case unless they are classes."""
    names = [name if name in truth.class_index else name.lower() for name in header]
    for name, others in _ALIASES.items():
        alias = next((other for other in others if names.count(other) == 1), None)
        if name not in names and alias is not None:
            names[names.index(alias)] = name
    return names


def _split_lines(path: Path, text: Iterator[str], truth: GroundTruth) -> Lines:
    """Split each line into fields, the header as row -1."""
    row, fields = -1, 0
    try:
        first = next(line for line in text if line.strip())
        marks = [mark for mark in _DELIMITERS if "image" in _name_columns(_split_header(first, mark), truth)]
        lines = csv.reader(chain([first], text), delimiter=marks[0] if marks else ",", strict=True)
        header = [name.strip() for name in next(lines)]
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
    if kind != "boxes" and (placed := [name for name in header if name in _PLACES]):
        rule = "looks like boxes (image, label, score, x1, y1, x2, y2) or points (image, label, score, x, y)"
        if {"x", "y"} < set(placed) and {"w", "h", "width", "height"} & set(placed):
            rule = f"has boxes as {', '.join(placed)}; write their corners x1, y1, x2 = x1 + width, y2 = y1 + height"
            raise BadFileError(path, rule)
        missing = [name for name in KINDS["points" if {"x", "y"} & set(placed) else "boxes"] if name not in header]
        if not missing:
            return kind
        raise BadFileError(path, f"{rule}, but lacks the columns {', '.join(missing)}")
    return kind


def _read_long(header: list[str], lines: Lines, kind: str) -> Cells:
    where = [header.index(name) for name in KINDS[kind]]
    for row, line in lines:
        image, label, *numbers = (line[column] for column in where)
        yield row, image, label, numbers


def _find_classes(path: Path, truth: GroundTruth, header: list[str]) -> dict[int, str]:
    """Return the class of each column of a wide file of scores. Raises BadFileError for a column without a class."""
    labels = {fold(name): name for name in truth.classes}
    columns = {at: name for at, name in enumerate(header) if name != "image" and not _UNNAMED.fullmatch(name)}
    classes = {at: name if name in truth.class_index else labels.get(fold(name)) for at, name in columns.items()}
    unknown = next((columns[at] for at, name in classes.items() if name is None), None)
    if unknown is not None or not classes:
        rule = (
            f"its columns are {format_names(header)}; a CSV has {', or '.join(COLUMNS.values())}, or image and a column"
        )
        cause = str(UnknownNameError(f"class of {truth.dataset}", unknown, truth.classes)) if unknown else ""
        raise BadFileError(path, f"{rule} of scores a class. {cause}".strip())
    return {at: name for at, name in classes.items() if name is not None}


def _read_wide(header: list[str], lines: Lines, classes: dict[int, str]) -> Cells:
    where = header.index("image")
    for row, line in lines:
        yield from ((row, line[where], name, [line[at]]) for at, name in classes.items() if line[at])


def _index_rows(path: Path, names: Names, kind: str, cells: Cells) -> Iterator[IndexedRow]:
    seen: set[int] = set()
    classes = len(names.truth.classes)
    for row, image, label, numbers in cells:
        of_image, of_class = names.find_image(image, row), names.find_label(label, row)
        pair = of_image * classes + of_class
        if kind == "scores" and pair in seen:
            raise BadFileError(path, f"image {image!r}, class {label!r}: a second score; write one of each", row=row)
        seen.add(pair)
        values = zip(KINDS[kind][2:], numbers, strict=True)
        yield of_image, of_class, [_parse_number(path, row, name, text) for name, text in values]


def _parse_number(path: Path, row: int, name: str, text: str) -> float:
    value = parse_number(text)
    if math.isnan(value):
        hint = "; decimals have a point" if "," in text else ""
        raise BadFileError(path, f"{name} must be a finite number, but got {reprlib.repr(text)}{hint}", row=row)
    return value
