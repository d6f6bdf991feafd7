"""The size of the benchmarks: small in every run of the tests, full with `--benchmark-enable`."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    """Whether the benchmarks run at the size that their targets are set for."""
    return bool(pytestconfig.getoption("benchmark_enable"))
