"""Replicates beside a record: what they say of their draws, and that they come back as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from bench.errors import BadFileError
from bench.records.replicates import build_table, read_replicates, replicates_path


def test_they_come_back_to_the_last_bit(tmp_path: Path) -> None:
    values = {"mAP": np.random.default_rng(0).random(50), "error": np.full(50, np.nan)}
    record = tmp_path / "voc07-det.melm.aa.json"
    assert read_replicates(record) is None
    pq.write_table(build_table(values, 10, 0), replicates_path(record))
    found = read_replicates(record)
    assert found is not None
    for name, one in values.items():
        assert np.array_equal(found.values[name], one, equal_nan=True)


def test_they_say_of_which_draws_they_are(tmp_path: Path) -> None:
    def draws(images: int, seed: int) -> str:
        pq.write_table(build_table({"mAP": np.zeros(1)}, images, seed), replicates_path(tmp_path / "a.json"))
        found = read_replicates(tmp_path / "a.json")
        return found.draws if found else ""

    assert draws(10, 0) == draws(10, 0)
    assert len({draws(10, 0), draws(10, 1), draws(11, 0), draws(0, 0)}) == 4


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    record = tmp_path / "a.json"
    pq.write_table(build_table({"mAP": np.zeros(1)}, 1, 0).replace_schema_metadata(None), replicates_path(record))
    with pytest.raises(BadFileError, match="not a file of bootstrap replicates"):
        read_replicates(record)
