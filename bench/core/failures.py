"""Exceptions of users' code described in one line: the exception, and the file and line that raised it."""

from __future__ import annotations

import traceback
from collections.abc import Collection
from pathlib import Path

from bench.errors import escape_text, first_line


def describe_failure(error: BaseException, files: Collection[str] = ()) -> str:
    """Describe an exception with its last line in any of `files`; if it passed none, the line that raised it.

    >>> try:
    ...     1 / 0
    ... except ZeroDivisionError as error:
    ...     describe_failure(error).partition(" (")[0]
    'ZeroDivisionError: division by zero'
    """
    text = escape_text(f"{type(error).__name__}: {first_line(error)}")
    if isinstance(error, SyntaxError):
        return text  # it names the line itself
    line = find_line(error, files) or find_line(error)
    return text if line is None else f"{text} ({Path(line[0]).name}, line {line[1]})"


def find_line(error: BaseException, files: Collection[str] = ()) -> tuple[str, int] | None:
    """Return the file and line of the last of an exception's frames that is in one of these files, if any are given."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.lineno is not None]
    chosen = [(frame.filename, frame.lineno or 0) for frame in frames if not files or frame.filename in files]
    return chosen[-1] if chosen else None
