"""The bootstrap replicates of a result's metrics, in a parquet beside its record; two results are compared by them.

One column a metric, with its value (B,) in each replicate: for a metric by class, the mean over classes. They are small
whatever the split, and published with every record.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.core.bootstrap import Metrics, draw_weights
from bench.core.boxes import FloatArray
from bench.core.files import array_digest
from bench.errors import BadFileError

_DRAWS = b"draws"


class Replicates(NamedTuple):
    """Values (B,) of each metric. draws: results with the same draws can be compared pairwise."""

    draws: str
    values: Metrics


def build_table(values: Metrics, images: int, seed: int) -> pa.Table:
    """Return a table of the replicates that `seed` drew from `images` images."""
    first = next(draw_weights(images, 1, seed)) if images else np.zeros(0)
    return pa.table(values).replace_schema_metadata({_DRAWS: array_digest(first)})


def replicates_path(record: Path) -> Path:
    """Return the path of a record's replicates."""
    return record.with_suffix(".replicates.parquet")


def read_replicates(record: Path) -> Replicates | None:
    """Read the replicates beside a record; None without any. Raises BadFileError."""
    path = replicates_path(record)
    try:
        table = pq.ParquetFile(path).read(use_threads=False)
        draws = table.schema.metadata[_DRAWS].decode()
        return Replicates(draws, {name: _column_values(table[name]) for name in table.column_names})
    except FileNotFoundError:
        return None
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise BadFileError(path, f"not a file of bootstrap replicates: {error}") from None


def _column_values(column: pa.ChunkedArray) -> FloatArray:
    """Return a column (B,); pyarrow's own `to_numpy` would import pandas, which is slow."""
    return np.asarray(np.from_dlpack(column.combine_chunks()), dtype=np.float64)
