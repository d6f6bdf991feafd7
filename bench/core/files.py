"""Atomic file writes, digests of what determines a number, and the folders that a run uses."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BadFileError

if TYPE_CHECKING:
    import numpy as np

DIGEST_LENGTH = 20


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds, else remove it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.part")
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
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.part")
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


def require_regular_file(path: Path) -> Path:
    """Return the path. Raise BadFileError if it is no regular file, such as a pipe, which could block for ever."""
    if path.exists() and not path.is_file():
        raise BadFileError(path, "expected an ordinary file")
    return path


def list_files(folder: Path, pattern: str) -> list[Path]:
    """Return the files that match in a folder and below, sorted. Raise BadFileError if a folder cannot be listed."""
    try:
        return sorted(folder.rglob(pattern))
    except OSError as error:
        raise BadFileError(folder, f"not a readable folder ({error})") from None


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with a final newline, atomically; NaN is refused."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON."""
    return json.loads(path.read_text(encoding="utf-8"))


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


def file_digest(path: Path) -> str:
    """Compute the digest of a file's content."""
    with path.open("rb") as file:
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
