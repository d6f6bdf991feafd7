"""A file that makes its reader crash, loop or eat memory costs a process and a message."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.core import apart
from bench.errors import BadFileError


def test_arrays_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("fine")
    arrays = apart.read_apart("hostile_readers:read", path, 1, 2)
    assert {name: array.tolist() for name, array in arrays.items()} == {"a": [1, 2], "b": [0.0, 1.0, 2.0]}


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("crash", r"a\.txt: damaged: what reads such files crashes on it \(SIGSEGV\)"),
        ("loop", "takes more than 1 seconds to read"),
        ("memory", r"takes more than 2\.0 GiB of memory to read"),
        ("raise", r"not a readable \.txt file \(LookupError: strange\\x1b\[2J\)"),
        ("refuse", r"a\.txt, row 3: too short"),
    ],
)
def test_what_its_reader_suffers_is_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, rule: str
) -> None:
    monkeypatch.setattr(apart, "_SECONDS", 1)
    path = tmp_path / "a.txt"
    path.write_text(content)
    with pytest.raises(BadFileError, match=rule):
        apart.read_apart("hostile_readers:read", path)
