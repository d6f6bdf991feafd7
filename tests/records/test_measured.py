"""Published results agree with what stands beside them: nobody edited a number."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import registry
from bench.core.bootstrap import interval
from bench.core.files import file_digest
from bench.records.replicates import read_replicates
from bench.records.result import read_result

RECORDS = sorted((registry.ROOT / "results" / "measured").rglob("[!.]*.json"))


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_a_published_record_agrees_with_its_outcomes_and_replicates(record: Path) -> None:
    result = read_result(record)
    outcomes = record.with_suffix(".parquet")
    assert record.stem.endswith(f".{result.address}")
    assert not outcomes.exists() or file_digest(outcomes) == result.outcomes_digest
    replicates = read_replicates(record)
    assert replicates is not None, "published without replicates: score again, publish again"
    for name, bounds in result.intervals.items():
        value = result.metrics[name] or 0.0
        low, high = interval(replicates.values[name], value) or (0.0, 0.0)
        assert bounds == (min(max(low, 0.0), value), max(min(high, 1.0), value))
