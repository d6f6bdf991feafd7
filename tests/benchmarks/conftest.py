"""The history of speed: a run at full size is kept in `.benchmarks/` and held against the first one of this machine.

It fails where a benchmark takes half as long again. Delete `.benchmarks/` to begin anew.
"""

from __future__ import annotations

import pytest
from pytest_benchmark.utils import parse_compare_fail

FIRST = "0001"
SLOWER = "min:50%"


def pytest_configure(config: pytest.Config) -> None:
    option = config.option
    if option.benchmark_enable:
        option.benchmark_save = option.benchmark_save or "speed"
        option.benchmark_compare = option.benchmark_compare or FIRST
        option.benchmark_compare_fail = option.benchmark_compare_fail or [parse_compare_fail(SLOWER)]


def pytest_sessionstart(session: pytest.Session) -> None:
    """Without history nothing can have fallen behind; pytest-benchmark would call that a wrong request."""
    benchmarks = session.config._benchmarksession  # type: ignore[attr-defined]
    if not benchmarks.compared_mapping:
        benchmarks.compare_fail = []
