"""In CI no test may be skipped; tests of real data that is not there are deselected, and said to be.

Tests with a time limit of their own come first: no process waits for them at the end.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")
TESTS = """
import pytest

def test_passes():
    pass

@pytest.mark.voc2007
def test_of_real_data():
    assert False

@pytest.mark.skip(reason="no scheduler")
def test_skips():
    pass

@pytest.mark.timeout(1800)
def test_takes_long():
    pass
"""


@pytest.mark.parametrize(("ci", "code", "says"), [("true", 1, "1 skipped, and CI=true allows no skip"), ("", 0, "")])
def test_a_skip_fails_the_session_in_ci_only(tmp_path: Path, ci: str, code: int, says: str) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST.read_text())
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = voc2007: real data\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", tmp_path],
        cwd=tmp_path,
        env={**os.environ, "CI": ci, "BENCH_DATA": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout
    assert says in done.stdout
    assert "2 passed, 1 skipped, 1 deselected" in done.stdout
    assert "test_some.py ..s" in done.stdout  # the long one before that which is skipped
    assert "1 tests of VOC 2007 deselected: BENCH_DATA holds no VOCdevkit/VOC2007/Annotations" in done.stdout
