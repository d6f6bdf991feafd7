"""Columns of tables as arrays; pyarrow's own `to_numpy` would import pandas, which takes half a second."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def get_column(table: pa.Table, name: str) -> NDArray[Any]:
    """Return a column (n,). Raises KeyError if there is none, ValueError if it lacks a value."""
    column = table[name].combine_chunks()
    if column.null_count:
        raise ValueError(f"column {name} lacks {column.null_count} of {len(column)} values")
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return np.from_dlpack(column)
    if not pa.types.is_boolean(column.type):
        return np.asarray(column.to_numpy(zero_copy_only=False))
    end = column.offset + len(column)
    bits = np.frombuffer(column.buffers()[1] or b"", dtype=np.uint8)
    return np.unpackbits(bits, count=end, bitorder="little")[column.offset :].view(np.bool_)


def get_columns(table: pa.Table, *names: str) -> list[NDArray[Any]]:
    """Return columns, as `get_column` does."""
    return [get_column(table, name) for name in names]
