"""A short run of the fuzzer of records, proposals and run folders: nothing crashes, hangs or leaks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def fuzz(folder: Path, kind: str, count: int) -> dict[str, Any]:
    """Return what the fuzzer prints, run in a folder in which nothing must appear."""
    fuzzer = Path(__file__).with_name("strangers.py")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, fuzzer, kind, str(count)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not list(folder.iterdir())
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["failures"] == []
    return document


def test_broken_proposals_are_read_or_named(tmp_path: Path) -> None:
    document = fuzz(tmp_path, "proposals", 60)
    assert document["read"] > 3
    assert document["message"] > 30


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "count"), [("records", 80), ("runs", 8)])
def test_every_verb_survives_files_of_strangers(tmp_path: Path, kind: str, count: int) -> None:
    fuzz(tmp_path, kind, count)
