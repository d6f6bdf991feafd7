"""The bootstrap replicates of a result's metrics, in a parquet file beside its record, for comparing two results.

One column per metric, with its values (B,) in the replicates: for a metric by class, the mean over classes. The file is
small whatever the split, and published with every record.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.core.bootstrap import Metrics, centred_interval, draw_weights, interval
from bench.core.columns import get_column
from bench.core.files import array_digest, require_regular_file
from bench.errors import BadFileError
from bench.records.result import Result

_DRAWS = b"draws"

_SLACK = 0.05
"""Intervals computed by other versions may differ from ours by this share of their width."""

_ROUNDING = 1e-9


class Replicates(NamedTuple):
    """Values (B,) of each metric. draws: results with the same draws can be compared pairwise."""

    draws: str
    values: Metrics


def build_table(values: Metrics, images: int, seed: int) -> pa.Table:
    """Build the table of replicates that were drawn with `seed` from `images` images."""
    first = next(draw_weights(images, 1, seed)) if images else np.zeros(0)
    return pa.table(values).replace_schema_metadata({_DRAWS: array_digest(first)})


def replicates_path(record: Path) -> Path:
    """Return the path of a record's replicates."""
    return record.with_suffix(".replicates.parquet")


def read_replicates(record: Path) -> Replicates | None:
    """Read the replicates beside a record; None without any. Raises BadFileError."""
    path = replicates_path(record)
    try:
        return _read(path, path.stat().st_mtime_ns)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadFileError(path, f"not a file of bootstrap replicates: {error}") from None


@cache
def _read(path: Path, _modified: int) -> Replicates:
    """Read a file once per process, unless it changes: it serves to check its record, and then to rank it."""
    try:
        file = pq.ParquetFile(pa.BufferReader(require_regular_file(path).read_bytes()))
        table = file.read_row_groups(range(file.num_row_groups), use_threads=False)
        draws = (table.schema.metadata or {})[_DRAWS].decode()
        return Replicates(
            draws, {name: np.asarray(get_column(table, name), dtype=np.float64) for name in table.column_names}
        )
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise BadFileError(path, f"not a file of bootstrap replicates: {error}") from None


def check_replicates(result: Result, replicates: Replicates) -> None:
    """Raise ValueError if the intervals around a record's metrics are not those of its replicates."""
    for name, (low, high) in result.intervals.items():
        value = result.metrics.get(name)
        if value is None:
            raise ValueError(f"an interval of {name}, which is undefined")
        if name not in replicates.values:
            raise ValueError(f"no replicates of {name}")
        slack = _SLACK * (high - low) + _ROUNDING
        expected = _list_intervals(replicates, name, value)
        if not any(max(abs(low - start), abs(high - end)) <= slack for start, end in expected):
            raise ValueError(f"{name} and its interval are not those of its replicates")


def _list_intervals(replicates: Replicates, name: str, value: float) -> Iterator[tuple[float, float]]:
    """Yield the interval of a metric as computed now, and as computed by weakloc 0.1."""
    for compute in (interval, centred_interval):
        if (found := compute(replicates.values[name], value)) is not None:
            yield found
