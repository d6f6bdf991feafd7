"""What the fuzzer found once, and a short run of it: a few broken files of each format, the same every time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def fuzzed(folder: Path, *what: str) -> list[dict[str, Any]]:
    """What the fuzzer prints, run in a folder in which nothing must appear."""
    fuzzer = Path(__file__).with_name("fuzz.py")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, fuzzer, *what], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not list(folder.iterdir())
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_broken_file_is_a_message_or_a_right_number(tmp_path: Path) -> None:
    said = fuzzed(tmp_path, "all", "25")
    assert {one["format"]: one["failures"] for one in said if one["failures"]} == {}
    assert sum(one["number"] for one in said) > 30
    assert sum(one["message"] for one in said) > 200


def test_a_file_made_to_be_dangerous_is_not(tmp_path: Path) -> None:
    said = fuzzed(tmp_path, "bombs")
    assert [(one["name"], one["text"]) for one in said if one["outcome"] != one["expected"]] == []
