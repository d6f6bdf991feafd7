"""Columns against pyarrow's own conversion."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.core.columns import get_column, get_columns

ROWS = 21
COLUMNS = {
    "flag": np.arange(ROWS) % 3 == 0,
    "index": np.arange(ROWS, dtype=np.int32),
    "score": np.linspace(-1, 1, ROWS),
    "bytes": pa.array([bytes([row]) for row in range(ROWS)]),
    "name": [f"row {row}" for row in range(ROWS)],
}


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize(("start", "length"), [(0, ROWS), (0, 0), (5, 11), (8, 8), (ROWS, 0)])
def test_a_column_is_that_of_pyarrow(name: str, start: int, length: int) -> None:
    table = pa.table(COLUMNS).slice(start, length)
    for whole in (table, pa.concat_tables([table, table])):
        expected = whole[name].to_numpy()
        found = get_column(whole, name)
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)


def test_columns_come_in_the_order_of_their_names() -> None:
    score, flag = get_columns(pa.table(COLUMNS), "score", "flag")
    assert score.dtype == np.float64
    assert flag.dtype == np.bool_
    with pytest.raises(KeyError):
        get_column(pa.table(COLUMNS), "nosuch")


def test_numbers_and_flags_are_read_without_pandas(tmp_path: Path) -> None:
    pq.write_table(pa.table(COLUMNS).select(["flag", "index", "score"]), tmp_path / "table.parquet")
    code = (
        "import sys, pyarrow.parquet as pq; from bench.core.columns import get_columns\n"
        "get_columns(pq.ParquetFile(sys.argv[1]).read(), 'flag', 'index', 'score'); assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "table.parquet")], check=True)
