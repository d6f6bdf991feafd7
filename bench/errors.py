"""Every exception that weakloc raises on purpose; each knows the exit code of its kind.

BenchError
├── RequestError            the request was wrong                                          exit 2
│   ├── UnknownNameError    a name that nobody has; says what was probably meant
│   ├── MissingDataError    something is not on disk; says where it was looked for and how to get it
│   └── BadFileError        a file breaks a rule; names the file, the row and the rule
│       └── WrongKindError  a file holds another kind of prediction than what is wanted
└── RunError                the request was right, and something failed                    exit 3
    ├── BusyError           another live process holds the claim
    ├── DivergedError       the loss is no longer a number
    └── LostError           of a run's processes one has failed, and so all end
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path


class BenchError(Exception):
    """Root of the tree. Its text is meant for the user: one line, what was wrong and what to do."""

    exit_code = 3


class RequestError(BenchError):
    """The user asked for something that cannot be."""

    exit_code = 2


class UnknownNameError(RequestError):
    """A typed name that does not exist: `UnknownNameError("method", "mlem", ["acol", "melm"])`.

    Of many known names the first are listed, and few where a `hint` says how to see them all.
    """

    def __init__(self, what: str, name: str, known: Iterable[str], *, hint: str = "") -> None:
        self.what, self.name, self.known = what, name, sorted(known)
        near = difflib.get_close_matches(name, self.known, n=3)
        text = f"Unknown {what} {name!r}."
        if near:
            text += f" Did you mean: {', '.join(near)}?"
        text += f" Available: {format_names(self.known, 5 if hint else 20)}"
        super().__init__(f"{text} ({hint})." if hint else f"{text}.")


def format_names(names: Sequence[str], most: int = 5) -> str:
    """Names for a message, the first few of many."""
    shown = ", ".join(names[:most]) or "none"
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


class MissingDataError(RequestError):
    """Data that is not on disk."""

    def __init__(self, what: str, looked_in: Path, how: str) -> None:
        self.what, self.looked_in, self.how = what, looked_in, how
        super().__init__(f"{what} not found: looked in {looked_in}. {how}")


class BadFileError(RequestError):
    """A file that breaks a rule. `row` counts data rows from 0; `None` means the whole file."""

    def __init__(self, file: Path | str, rule: str, *, row: int | str | None = None) -> None:
        self.file, self.rule, self.row = str(file), rule, row
        where = "" if row is None else f", row {row}"
        super().__init__(escape_text(f"{file}{where}: {rule}"))


class WrongKindError(BadFileError):
    """A file of predictions of other `kinds` than the expected ones."""

    def __init__(self, file: Path | str, kinds: Sequence[str], expected: Sequence[str], *, seen: str = "") -> None:
        self.kinds = tuple(kinds)
        super().__init__(file, f"holds {seen}{' or '.join(kinds)}; expected {' or '.join(expected) or 'no table'}")


def escape_text(text: str, most: int = 1500) -> str:
    r"""Text of a file for a message: one line, cut where it is long, without what moves a terminal.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    cut = text if len(text) <= most else f"{text[:most]} ..."
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in cut)


def format_count(count: int, noun: str, plural: str = "") -> str:
    """Format a number of things for a message.

    >>> amount(1, "image"), amount(1000, "image"), amount(0, "inverted box", "inverted boxes")
    ('1 image', '1000 images', '0 inverted boxes')
    """
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def first_line(error: Exception) -> str:
    """Return the first line of another library's error, or its name if it has no text."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


class RunError(BenchError):
    """Something failed although the request was right."""


class BusyError(RunError):
    """Another live process holds what this one needs."""


class DivergedError(RunError):
    """Training produced a loss that is not finite; the last good checkpoint is kept."""


class LostError(RunError):
    """One of the processes of a run has failed: the others end too."""
