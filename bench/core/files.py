"""Atomic file writes, digests of files and values, and the folders that a run uses."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BadFileError

if TYPE_CHECKING:
    import numpy as np

DIGEST_LENGTH = 20

_LEFT = re.compile(r"\.(?P<name>.+?)(?:\.(?P<host>[0-9a-f]{8}))?\.(?P<pid>\d+)\.[0-9a-f]{8}\.(?:part|before)$")
"""Matches the temporary names of files and folders that are being written or replaced."""

_DAY_S = 86400.0


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds, else remove it.

    An OSError of the block names `path`, if it names no other file.
    """
    with name_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        part = make_part_path(path)
        try:
            yield part
            with part.open("rb") as written:
                os.fsync(written.fileno())
            part.replace(path)
        finally:
            with suppress(FileNotFoundError):
                part.unlink()


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path` to write into; it replaces `path` if the block succeeds."""
    with name_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        part = make_part_path(path)
        part.mkdir()
        before = part.with_suffix(".before")
        try:
            yield part
            if path.exists():
                path.rename(before)
            part.rename(path)
            shutil.rmtree(before, ignore_errors=True)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def make_part_path(path: Path) -> Path:
    """Return a new temporary path beside `path`; its name identifies the host and process that write it."""
    return path.with_name(f".{path.name}.{_host()}.{os.getpid()}.{uuid.uuid4().hex[:8]}.part")


@contextmanager
def name_errors(path: Path) -> Iterator[None]:
    """Make an OSError of the block name `path`, unless it names another file that is not temporary."""
    try:
        yield
    except OSError as error:
        if error.filename is None or str(error.filename).endswith(".part"):
            error.filename = str(path)
        raise


def sweep(folder: Path) -> None:
    """Remove half-written files that killed processes left in a folder, and restore those that they moved aside.

    Whether processes of other hosts are alive is not known; their files are removed after a day.
    """
    with suppress(OSError):
        for entry in [*os.scandir(folder)]:
            if (found := _LEFT.match(entry.name)) and _is_left(entry, found):
                _clear(Path(entry.path), folder / found["name"])


_sweep = lru_cache(maxsize=None)(sweep)
"""Sweeps each folder once per process; files left meanwhile are for the next process."""


def _is_left(entry: os.DirEntry[str], found: re.Match[str]) -> bool:
    if found["host"] == _host():
        return not _is_alive(int(found["pid"]))
    return time.time() - entry.stat(follow_symlinks=False).st_mtime > _DAY_S


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _clear(left: Path, whole: Path) -> None:
    if left.suffix == ".before" and not whole.exists():
        left.rename(whole)
    elif left.is_dir() and not left.is_symlink():
        shutil.rmtree(left, ignore_errors=True)
    else:
        left.unlink(missing_ok=True)


@lru_cache(maxsize=1)
def _host() -> str:
    """Return a digest of the host and of the namespace in which its process numbers are unique."""
    namespace = Path("/proc/self/ns/pid")
    space = str(namespace.readlink()) if namespace.is_symlink() else ""
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]


_LONGEST_NAME = 255
"""Bytes of the longest file name that common file systems allow."""


def path_below(root: Path, *parts: str) -> Path:
    """Return the path of a file below a folder, by names that may come from a record.

    Raises BadFileError for names that lead out of the folder.
    """
    for part in parts:
        if part in ("", ".", "..") or re.search(r"[/\\\0]", part) or len(part.encode()) > _LONGEST_NAME:
            raise BadFileError(root, f"{part[:_LONGEST_NAME]!r} is no name of a file in this folder")
    return root.joinpath(*parts)


def require_regular_file(path: Path) -> Path:
    """Return the path. Raise BadFileError if it is no regular file, such as a pipe, which could block for ever."""
    if path.exists() and not path.is_file():
        raise BadFileError(path, "expected an ordinary file")
    return path


def list_files(folder: Path, pattern: str = "*") -> list[Path]:
    """Return the matching paths in a folder and below, sorted, except hidden ones, such as those of macOS and Jupyter.

    Raises BadFileError if a folder cannot be listed.
    """
    try:
        return sorted(path for path in folder.rglob(pattern) if not is_hidden(path, folder))
    except OSError as error:
        raise BadFileError(folder, f"not a readable folder ({error})") from None


def is_hidden(path: Path, root: Path) -> bool:
    """Whether a path, or a folder between it and `root`, has a name that starts with a dot.

    >>> is_hidden(Path("a/.b/c"), Path("a")), is_hidden(Path(".a/b/c"), Path(".a"))
    (True, False)
    """
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def grow_limit(least: int, path: Path, share: float) -> int:
    """Return the limit for reading a file or folder: `least`, or `share` of its bytes on the disk if that is more.

    A few compressed kilobytes can claim any size, so the limit grows only with the size on the disk.
    """
    files = list_files(path) if path.is_dir() else [path]
    return max(least, int(share * sum(file.stat().st_size for file in files if file.is_file())))


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with a final newline, atomically; NaN is refused."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON. Raises ValueError, also for halves of characters, which can be neither printed nor written."""
    from pydantic_core import from_json

    return from_json(require_regular_file(path).read_bytes(), allow_inf_nan=False)


def read_object(path: Path, *keys: str) -> dict[str, Any]:
    """Read the JSON object, with at least these keys, that a run wrote into its folder.

    Raises BadFileError, with the advice to delete the folder and make it again.
    """
    try:
        value = read_json(path)
        reason = "" if isinstance(value, dict) else f"expected a JSON object, but got {type(value).__name__}"
        reason = reason or next((f"{key!r} is missing" for key in keys if key not in value), "")
    except (OSError, ValueError) as error:
        reason = str(error)
    if reason:
        raise BadFileError(path, f"damaged ({reason}). Delete {path.parent}: the same command makes it again")
    return dict(value)


@contextmanager
def name_damage(path: Path) -> Iterator[None]:
    """Turn the block's errors about the content of a run's file into a BadFileError with the file and what to do."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, OSError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise BadFileError(path, f"damaged ({reason}). Delete {path.parent}: the same command makes it again") from None


def digest(value: Any) -> str:
    """Compute the digest of a JSON value: equal values give equal digests, whatever the order of their keys.

    >>> digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def array_digest(*arrays: np.ndarray[Any, Any] | tuple[str, ...]) -> str:
    """Compute the digest of arrays with their types and shapes, and of tuples of strings."""
    import numpy as np  # imported late, so that listings start fast

    hasher = hashlib.sha256()
    for array in arrays:
        if isinstance(array, tuple):
            hasher.update(json.dumps(array, ensure_ascii=False).encode())
            continue
        hasher.update(f"{array.dtype.str}{array.shape}".encode())
        hasher.update(np.ascontiguousarray(array).data)
    return hasher.hexdigest()[:DIGEST_LENGTH]


def content_digest(content: bytes) -> str:
    """Compute the digest of a file's content, as `file_digest` does."""
    return hashlib.sha256(content).hexdigest()[:DIGEST_LENGTH]


def file_digest(path: Path) -> str:
    """Compute the digest of a file's content."""
    with require_regular_file(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:DIGEST_LENGTH]


IMAGE_CACHE_MIB = 2048
"""MiB of decoded images that a training keeps in memory by default."""


@dataclass(frozen=True)
class Places:
    """The folders of a run: the data root (`--data-root`, BENCH_DATA), and the runs folder (`--runs`, BENCH_RUNS)."""

    runs: Path
    data_root: Path | None = None

    @property
    def cache(self) -> Path:
        """Parsed annotations, proposals and generated data; it can be deleted at any time and is rebuilt on demand."""
        return self.runs / "cache"
