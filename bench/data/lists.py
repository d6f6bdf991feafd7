"""Text lists as publishers write them: one record per line, fields separated by spaces or commas; untrusted."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from bench.core.files import require_regular_file
from bench.errors import BadFileError, MissingDataError

LONGEST_SIDE = 65_535
"""Upper bound on an image's sides, so that its pixels can be counted in 32 bits."""

_FORBIDDEN = re.compile(r'[\x00-\x1f\\:*?"<>|]')
_UNSAFE = re.compile(rf"(^|/)\.{{0,2}}(/|$)|{_FORBIDDEN.pattern}|[\ud800-\udfff]")


def read_rows(path: Path, fields: int | tuple[int, ...], *, separator: str | None = None) -> list[list[str]]:
    """Return the fields of each non-blank line, split at white space or at `separator`.

    Raises BadFileError if the file is not text, is empty, or a line has another number of fields.
    """
    allowed = (fields,) if isinstance(fields, int) else fields
    rows = [line.strip().split(separator) for line in read_lines(path)]
    for row, values in enumerate(rows):
        if len(values) not in allowed:
            expected = " or ".join(map(str, allowed))
            raise BadFileError(path, f"expected {expected} fields, but got {_quote(' '.join(values))}", row=row)
    return rows


def read_lines(path: Path) -> list[str]:
    """Return the non-blank lines. Raises BadFileError if the file is not text, or has none."""
    try:
        text = require_regular_file(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise BadFileError(path, "not a list (it is not UTF-8 text)") from None
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise BadFileError(path, "is empty")
    return lines


def require_file(path: Path, what: str, how: str) -> Path:
    """Return the path. Raise MissingDataError if there is no file."""
    if not path.is_file():
        raise MissingDataError(what, path, how)
    return path


def index_ids(path: Path, ids: Sequence[str]) -> dict[str, int]:
    """Return the row of each id. Raises BadFileError for a repeated id, or one that is no path below a folder."""
    index: dict[str, int] = {}
    for row, name in enumerate(ids):
        check_name(path, name, row)
        if index.setdefault(name, row) != row:
            raise BadFileError(path, f"id {_quote(name)} is listed twice", row=row)
    return index


def read_unique_ids(path: Path, fields: tuple[int, ...]) -> tuple[str, ...]:
    """Return the first field of each non-blank line, split at white space. Raises BadFileError as `index_ids` does."""
    ids = tuple(values[0] for values in read_rows(path, fields))
    index_ids(path, ids)
    return ids


def check_name(path: Path, name: str, row: int | str) -> None:
    """Raise BadFileError if a name from a file cannot be that of a file below a folder."""
    if not is_safe_name(name):
        raise BadFileError(path, _describe_unsafe(name), row=row)


def _describe_unsafe(name: str) -> str:
    if not is_text(name):
        return f"the file name {_quote(name)} is not UTF-8 text: rename the file"
    if found := _FORBIDDEN.search(name):
        return f"{_quote(name)} contains {found[0]!r}, which not every file system allows: rename the file"
    return f"expected the name of a file, but got {_quote(name)}"


def is_text(name: str) -> bool:
    """Whether the name of a file is UTF-8 text: Python reads other bytes of it as surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def is_safe_name(name: str) -> bool:
    """Whether a name can be that of a file below a folder."""
    return not _UNSAFE.search(name)


def parse_integer(path: Path, text: str, row: int, *, low: int, high: int) -> int:
    """Return a whole number in low ... high. Raises BadFileError for anything else."""
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", text) or not low <= int(text) <= high:
        raise BadFileError(path, f"expected a whole number from {low} to {high}, but got {_quote(text)}", row=row)
    return int(text)


def parse_number(path: Path, text: str, row: int) -> float:
    """Return a finite number. Raises BadFileError for anything else."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadFileError(path, f"expected a number, but got {_quote(text)}", row=row)
    return value


def _quote(text: str) -> str:
    return repr(text[:80])
