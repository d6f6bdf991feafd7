"""Files that appear whole or not at all, and digests of what determines a number."""

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
    """Yield a temporary path beside `path` to write to.

    It is renamed to `path` if the block succeeds, and removed otherwise.
    """
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
    """Yield a new folder beside `path` to write into; it replaces `path` when the block succeeds."""
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
    """Return the path of a regular file. Raises BadFileError for anything else, such as a pipe, which could block."""
    if path.exists() and not path.is_file():
        raise BadFileError(path, "expected an ordinary file")
    return path


def list_files(folder: Path, pattern: str) -> list[Path]:
    """List what matches in a folder and below, sorted. Raises BadFileError if a folder cannot be read."""
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
    """Digest of a JSON value: equal values give equal digests, whatever the order of their keys.

    >>> digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def array_digest(*arrays: np.ndarray[Any, Any] | tuple[str, ...]) -> str:
    """Digest of arrays with their types and shapes, and of tuples of strings."""
    import numpy as np  # here, so that listing what there is need not wait for it

    total = hashlib.sha256()
    for array in arrays:
        if isinstance(array, tuple):
            total.update(json.dumps(array, ensure_ascii=False).encode())
            continue
        total.update(f"{array.dtype.str}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()[:DIGEST_LENGTH]


def file_digest(path: Path) -> str:
    """Digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:DIGEST_LENGTH]


@dataclass(frozen=True)
class Places:
    """Where things are: the data root (`--data-root`, BENCH_DATA), and the runs folder (`--runs`, BENCH_RUNS)."""

    runs: Path
    data_root: Path | None = None

    @property
    def cache(self) -> Path:
        """What can be deleted at any time and is made again: parsed annotations, proposals, generated data."""
        return self.runs / "cache"
