"""Text lists as publishers write them: one record a line, fields between spaces or commas. Files are not trusted."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from bench.errors import BadFileError, MissingDataError

LONGEST_SIDE = 65_535
"""Sides of an image are at most this long: its pixels can be counted in 32 bits."""

_UNSAFE = re.compile(r'(^|/)\.{0,2}(/|$)|[\x00-\x1f\\:*?"<>|]')


def read_rows(path: Path, fields: int | tuple[int, ...], *, separator: str | None = None) -> list[list[str]]:
    """Fields of each line that is not blank, split at white space or at `separator`.

    Raises BadFileError where the file is not text, is empty, or a line has another number of fields.
    """
    wanted = (fields,) if isinstance(fields, int) else fields
    rows = [line.strip().split(separator) for line in read_lines(path)]
    for row, found in enumerate(rows):
        if len(found) not in wanted:
            expected = " or ".join(map(str, wanted))
            raise BadFileError(path, f"expected {expected} fields, but got {_quote(' '.join(found))}", row=row)
    return rows


def read_lines(path: Path) -> list[str]:
    """Read the non-blank lines. Raises BadFileError if the file is not text, or has none."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise BadFileError(path, "not a list (it is not UTF-8 text)") from None
    if not lines:
        raise BadFileError(path, "is empty")
    return lines


def require_file(path: Path, what: str, how: str) -> Path:
    """Return the path. Raises MissingDataError if there is no such file."""
    if not path.is_file():
        raise MissingDataError(what, path, how)
    return path


def index_ids(path: Path, ids: Sequence[str]) -> dict[str, int]:
    """From id to its row. Raises BadFileError for an id twice, or one that is no path below a folder."""
    index: dict[str, int] = {}
    for row, name in enumerate(ids):
        check_name(path, name, row)
        if index.setdefault(name, row) != row:
            raise BadFileError(path, f"id {_quote(name)} is there twice", row=row)
    return index


def check_name(path: Path, name: str, row: int | str) -> None:
    """Raise BadFileError where a name from a file cannot be that of a file below a folder."""
    if _UNSAFE.search(name):
        raise BadFileError(path, f"expected the name of a file, but got {_quote(name)}", row=row)


def parse_integer(path: Path, text: str, row: int, *, low: int, high: int) -> int:
    """Parse a whole number in low ... high; raises BadFileError for anything else."""
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", text) or not low <= int(text) <= high:
        raise BadFileError(path, f"expected a whole number from {low} to {high}, but got {_quote(text)}", row=row)
    return int(text)


def parse_number(path: Path, text: str, row: int) -> float:
    """Parse a finite number; raises BadFileError for anything else."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadFileError(path, f"expected a number, but got {_quote(text)}", row=row)
    return value


def _quote(text: str) -> str:
    return repr(text[:80])
