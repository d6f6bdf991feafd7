"""Parsed annotations cached as one table, parsed again when any of their files has changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.core.files import array_digest, atomic_file, require_regular_file
from bench.errors import BadFileError

_KEY = b"made_from"


def fingerprint(folder: Path, names: Sequence[str], *more: tuple[str, ...]) -> str:
    """Compute the digest of files' names, sizes and modification times (not their contents), and of `more` strings.

    Raises FileNotFoundError, with the name, for the first missing file.
    """
    descriptor = os.open(folder, os.O_RDONLY)  # paths relative to the folder make ten thousand calls of stat faster
    try:
        stats = (os.stat(name, dir_fd=descriptor) for name in names)
        numbers = [number for stat in stats for number in (stat.st_size, stat.st_mtime_ns)]
    finally:
        os.close(descriptor)
    return array_digest(tuple(names), np.array(numbers, dtype=np.int64), *more)


def load_or_parse(path: Path, made_from: str, parse: Callable[[], pa.Table]) -> pa.Table:
    """Return the table at `path` if it was made from the same files, else parse it and store it there atomically."""
    if (cached := _read_cached(path, made_from)) is not None:
        return cached
    table = parse().replace_schema_metadata({_KEY: made_from})
    with atomic_file(path) as part:
        pq.write_table(table, part)
    return table


def _read_cached(path: Path, made_from: str) -> pa.Table | None:
    try:
        table = pq.ParquetFile(require_regular_file(path)).read(use_threads=False)
    except (OSError, pa.ArrowException, BadFileError):
        return None
    is_current = (table.schema.metadata or {}).get(_KEY) == made_from.encode()
    return table if is_current else None


def stack_sizes(table: pa.Table) -> NDArray[np.int32]:
    """Return the columns `width` and `height` as sizes (N, 2)."""
    return np.stack([table["width"].to_numpy(), table["height"].to_numpy()], axis=1)


def image_rows(table: pa.Table) -> NDArray[np.int32]:
    """Return the image (M,) of each object, from the list column `label`, which has one list per image."""
    counts = pc.list_value_length(table["label"]).to_numpy()
    return np.repeat(np.arange(len(counts), dtype=np.int32), counts)
