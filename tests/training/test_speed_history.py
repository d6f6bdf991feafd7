"""Benchmarks at full size are held against the first of their machine, by a clock that the tests wind."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.registry import ROOT

pytestmark = pytest.mark.slow

CLOCK = """
import itertools

ticks, work = itertools.count(), 0.0

def now():  # which never stands still
    return work + 1e-9 * next(ticks)
"""
BENCHMARK = """
import os
import clock

def work():
    clock.work += float(os.environ["SECONDS"])

def test_work(benchmark):
    benchmark.pedantic(work, rounds=3)
"""


def run(folder: Path, seconds: float) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-n", "0", "--benchmark-enable", "--benchmark-timer=clock.now", "-q"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", "."],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "SECONDS": str(seconds)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_first_run_passes_and_a_slower_one_fails_however_often(tmp_path: Path) -> None:
    for path in (ROOT / "pyproject.toml", ROOT / "tests" / "benchmarks" / "conftest.py"):
        shutil.copy(path, tmp_path)
    (tmp_path / "clock.py").write_text(CLOCK)
    (tmp_path / "test_work.py").write_text(BENCHMARK)
    for seconds, code in ((1.0, 0), (1.4, 0), (1.6, 1), (1.6, 1), (0.5, 0)):
        found, said = run(tmp_path, seconds)
        assert found == code, said
        assert ("Performance has regressed" in said) == bool(code)
    assert len(list(tmp_path.glob(".benchmarks/*/*.json"))) == 5
