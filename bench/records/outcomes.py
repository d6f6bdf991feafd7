"""The outcomes per image of a stored result: a parquet beside its record, if it is small or in the runs folder."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from bench.core.files import content_digest, require_regular_file
from bench.errors import BadFileError


class Outcomes(NamedTuple):
    """Outcomes of predictions, row by row, as the protocol family made them; column `label` indexes `classes`."""

    table: pa.Table
    classes: tuple[str, ...]


def read_outcomes(record: Path, *, digest: str | None = None) -> Outcomes | None:
    """Read the outcomes beside a record; None without any. Raises BadFileError, also for a file of another digest."""
    path = record.with_suffix(".parquet")
    try:
        return _read(path, path.stat().st_mtime_ns, digest)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadFileError(path, f"not a file of outcomes: {error}") from None


@lru_cache(maxsize=1)
def _read(path: Path, _modified: int, digest: str | None) -> Outcomes:
    """Read a file once for all that is made of it in turn, unless it changes."""
    try:
        content = require_regular_file(path).read_bytes()
        if digest not in (None, content_digest(content)):
            raise BadFileError(path, "not the outcomes that the record was made with: score the predictions again")
        table = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
        return Outcomes(table, tuple(json.loads(table.schema.metadata[b"classes"])))
    except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise BadFileError(path, f"not a file of outcomes: {error}") from None
