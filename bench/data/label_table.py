"""Labels and boxes as CSV: `image,label[,x1,y1,x2,y2][,difficult]`, one object or label per row; files are untrusted.

Boxes are 0-based, half-open corners. A row without a label lists an image without any class; a row without a box is an
image label.
"""

from __future__ import annotations

import csv
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from bench.core.files import require_regular_file
from bench.data.lists import check_name, parse_number
from bench.errors import BadFileError, UnknownNameError

CORNERS = ("x1", "y1", "x2", "y2")


class LabelRow(NamedTuple):
    """One row; `label` is None for an image without classes, `box` for a label without a box."""

    row: int
    image: str
    label: int | None
    box: list[float] | None
    difficult: bool


def read_label_rows(path: Path, classes: Sequence[str]) -> list[LabelRow]:
    """Read a table; columns may be in any order, others are ignored. Raises BadFileError, naming row and rule."""
    index = {name: label for label, name in enumerate(classes)}
    with closing(read_records(path)) as records:
        return [_parse_row(path, row, fields, index) for row, fields in enumerate(records)]


def read_records(path: Path) -> Generator[dict[str, str], None, None]:
    """Yield the rows of a CSV file with columns `image` and `label`, by column. Raises BadFileError."""
    try:
        with require_regular_file(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            head = next(reader, [])
            _check_head(path, head)
            for row, fields in enumerate(line for line in reader if line):
                if len(fields) != len(head):
                    raise BadFileError(path, f"expected {len(head)} fields, but got {len(fields)}", row=row)
                yield dict(zip(head, fields, strict=True))
    except UnicodeDecodeError:
        raise BadFileError(path, "not a table (it is not UTF-8 text): save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise BadFileError(path, f"not valid CSV ({error})") from None


def _check_head(path: Path, head: Sequence[str]) -> None:
    if len(head) == 1 and (mark := next((mark for mark in ";\t|" if mark in head[0]), None)):
        raise BadFileError(path, f"expected a header with image and label, but it is separated by {mark!r}: use commas")
    if len(set(head)) < len(head) or not {"image", "label"} <= set(head):
        raise BadFileError(path, f"expected a header with image and label, each once, but got {','.join(head)[:80]!r}")
    if (given := [name for name in CORNERS if name in head]) and len(given) < len(CORNERS):
        raise BadFileError(path, f"expected the columns {', '.join(CORNERS)} or none of them, but got {given}")


def _parse_row(path: Path, row: int, fields: dict[str, str], index: dict[str, int]) -> LabelRow:
    image, name = fields["image"], fields["label"]
    check_name(path, image, row)
    if name and name not in index:
        raise BadFileError(path, str(UnknownNameError("class", name, index)), row=row)
    texts = [fields[name] for name in CORNERS if fields.get(name)]
    if len(texts) not in (0, len(CORNERS)) or (texts and not name):
        raise BadFileError(path, "a box needs a label, x1, y1, x2 and y2", row=row)
    box = [parse_number(path, text, row) for text in texts]
    if box and not (box[0] < box[2] and box[1] < box[3]):
        raise BadFileError(path, f"inverted box: x1, y1, x2, y2 are {', '.join(texts)}", row=row)
    if (difficult := fields.get("difficult", "")) not in ("", "0", "1"):
        raise BadFileError(path, f"difficult must be 0 or 1, but got {difficult[:80]!r}", row=row)
    return LabelRow(row, image, index[name] if name else None, box or None, difficult == "1")
