"""The outcomes per image of a stored result: a parquet file beside its record, in the runs folder or if small."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.core.columns import get_column
from bench.core.files import content_digest, require_regular_file
from bench.errors import BadFileError
from bench.records.result import Result

OTHER = "not the outcomes that the record was made with: score the predictions again"
OLD = "outcomes of another version of the scoring: score the predictions again"

UNREADABLE = (pa.ArrowException, KeyError, IndexError, TypeError, ValueError)
"""Errors that scoring raises for outcomes that it did not make."""


class Outcomes(NamedTuple):
    """Outcomes of predictions, row by row, as the protocol family made them; column `label` indexes `classes`."""

    table: pa.Table
    classes: tuple[str, ...]


def read_outcomes(record: Path, result: Result) -> Outcomes | None:
    """Read the outcomes beside the record of a result; None without any.

    Raises BadFileError, also for a file whose digest is not the recorded one.
    """
    path = record.with_suffix(".parquet")
    try:
        return _read(path, path.stat().st_mtime_ns, result.outcomes_digest, result.images)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadFileError(path, f"not a file of outcomes: {error}") from None


@lru_cache(maxsize=1)
def _read(path: Path, _modified: int, digest: str | None, images: int) -> Outcomes:
    """Read a file once for consecutive uses, unless it changes."""
    try:
        content = require_regular_file(path).read_bytes()
        if digest not in (None, content_digest(content)):
            raise BadFileError(path, OTHER)
        table = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
        classes = tuple(json.loads(table.schema.metadata[b"classes"]))
        _require_indices(table["image"], images, "image")
        if "label" in table.column_names:
            _require_indices(table["label"], len(classes), "label")
        return Outcomes(table, classes)
    except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise BadFileError(path, f"not a file of outcomes: {error}") from None


def _require_indices(column: pa.ChunkedArray, count: int, name: str) -> None:
    """Raise ValueError unless a column holds only whole numbers from 0 to `count` - 1."""
    values = get_column(pa.table({name: column}), name)
    if values.dtype.kind not in "iu" or not np.all((values >= 0) & (values < count)):
        raise ValueError(f"{name} is not a whole number below {count} in every row")
