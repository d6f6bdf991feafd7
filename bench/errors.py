"""Every exception that weakloc raises on purpose; each class fixes the process's exit code.

BenchError
├── RequestError            the request was wrong                                          exit 2
│   ├── UnknownNameError    an unknown name; suggests the closest known ones
│   ├── MissingDataError    something is not on disk; gives the path searched and how to get it
│   └── BadFileError        a file breaks a rule; names the file, the row and the rule
│       ├── WrongKindError     a file holds another kind of prediction than expected
│       └── UnknownImageError  a file names an image that the split does not have
└── RunError                the request was right, and something failed                    exit 3
    ├── BusyError           another live process holds the claim
    ├── DivergedError       the loss is no longer finite
    ├── IncompleteError     some of several runs failed; has the results of the others
    └── LostError           one of a run's processes failed, so all of them end
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path


class BenchError(Exception):
    """The base of all exceptions. Its text is one line for the user: what was wrong and what to do."""

    exit_code = 3


class RequestError(BenchError):
    """A request that cannot be satisfied."""

    exit_code = 2


class UnknownNameError(RequestError):
    """A name that does not exist: `UnknownNameError("method", "mlem", ["acol", "melm"])`.

    The message lists the first known names; fewer of them if `hint` gives a command that lists all.
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
    """Join names for a message, naming at most `most` of them."""
    shown = ", ".join(names[:most]) or "none"
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def group_errors(failed: Mapping[str, BenchError], most: int = 3) -> list[str]:
    """Describe the errors of runs, given by name, each once, with the first `most` runs that have it.

    >>> group_errors({"a": BenchError("no"), "b": BenchError("yes"), "c": BenchError("no")})
    ['a; c: no', 'b: yes']
    """
    names: dict[str, list[str]] = {}
    for name, error in failed.items():
        names.setdefault(str(error), []).append(name)
    rest = {text: len(each) - most for text, each in names.items()}
    return [
        f"{'; '.join(each[:most])}{f' and {rest[text]} more' if rest[text] > 0 else ''}: {text}"
        for text, each in names.items()
    ]


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
    """A predictions file whose `kinds` are not the expected ones."""

    def __init__(self, file: Path | str, kinds: Sequence[str], expected: Sequence[str], *, seen: str = "") -> None:
        self.kinds = tuple(kinds)
        super().__init__(file, f"holds {seen}{' or '.join(kinds)}; expected {' or '.join(expected) or 'no table'}")


class UnknownImageError(BadFileError):
    """A file that names an image, `image`, that the ground truth does not have."""

    def __init__(self, file: Path | str, rule: str, image: str, *, row: int | str | None = None) -> None:
        self.image = image
        super().__init__(file, rule, row=row)


def escape_text(text: str, most: int = 1500) -> str:
    r"""Return text from a file as one printable line of bounded length, with control characters escaped.

    >>> escape_text("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    cut = text if len(text) <= most else f"{text[:most]} ..."
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in cut)


def format_count(count: int, noun: str, plural: str = "") -> str:
    """Format a count with its noun for a message.

    >>> format_count(1, "image"), format_count(1000, "image"), format_count(0, "inverted box", "inverted boxes")
    ('1 image', '1000 images', '0 inverted boxes')
    """
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def format_bytes(count: int) -> str:
    """Format a size for a message.

    >>> format_bytes(0), format_bytes(300), format_bytes(5 << 20), format_bytes(3 << 29)
    ('0 KiB', '1 KiB', '5 MiB', '1.5 GiB')
    """
    if count >= 1 << 30:
        return f"{count / (1 << 30):.1f} GiB"
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{max(min(count, 1), count >> 10)} KiB"


ADVICE = {
    errno.ENOSPC: "The disk is full: make room, and run the same command again",
    errno.EDQUOT: "The quota is used up: make room, and run the same command again",
    errno.EFBIG: "A file may not be that large here (ulimit -f): raise the limit, and run the same command again",
    errno.EACCES: "Not allowed: change the permissions, or give another folder",
    errno.EPERM: "Not allowed: change the permissions, or give another folder",
    errno.EROFS: "The file system is read-only: give another folder",
    errno.EMFILE: "Too many open files (ulimit -n): raise the limit, and run the same command again",
    errno.ENOMEM: "Not enough memory: free some, or ask for less at once",
}
"""What to do about errors of the operating system."""


def describe_os_error(error: OSError) -> str:
    """Describe an error of the operating system: which file, what happened, what to do."""
    where = f"{error.filename}: " if error.filename is not None else ""
    what = (error.strerror or first_line(error)).rstrip(".")
    advice = ADVICE.get(error.errno or 0)
    if error.errno == errno.ENOSPC and error.filename is not None:
        advice = ADVICE[errno.ENOSPC].replace("full", f"full{_describe_room(Path(str(error.filename)))}", 1)
    return f"{where}{what}. {advice}." if advice else f"{where}{what}."


def _describe_room(path: Path) -> str:
    """Describe how much is free on the disk of a path, which may not exist; empty if that is not known."""
    import shutil

    folder = next((above for above in path.absolute().parents if above.is_dir()), path)
    try:
        return f" ({format_bytes(shutil.disk_usage(folder).free)} free in {folder})"
    except OSError:
        return ""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class if the message is empty."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


class LeftOutWarning(UserWarning):
    """Files that are damaged were left out of what is shown."""


class RunError(BenchError):
    """A failure although the request was right."""


class BusyError(RunError):
    """Another live process holds what this process needs."""


class DivergedError(RunError):
    """Training produced a loss that is not finite; the last good checkpoint is kept."""


class IncompleteError(RunError):
    """Some of several runs failed. results: those of the others. failed: the error of each run."""

    def __init__(self, results: Sequence[object], failed: Mapping[str, BenchError]) -> None:
        self.results, self.failed = results, dict(failed)
        reasons = "; ".join(group_errors(failed))
        super().__init__(f"{len(failed)} of {len(results) + len(failed)} runs failed: {reasons}")


class LostError(RunError):
    """One of a run's processes failed, so the others end too."""
