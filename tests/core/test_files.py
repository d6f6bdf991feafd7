"""What is no ordinary file, as a pipe, in place of one: nobody waits for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from record_cases import RECORD

from bench.core.files import file_digest, path_below, read_json
from bench.core.toml import read_toml
from bench.data.coco import read_document
from bench.data.label_table import read_records
from bench.data.lists import read_lines
from bench.data.voc import parse_xml, read_ids
from bench.errors import BadFileError
from bench.records.outcomes import read_outcomes
from bench.records.result import Result, read_record

READERS: tuple[Callable[[Path], Any], ...] = (
    file_digest, read_json, read_toml, read_document, read_lines, parse_xml, read_ids, read_record,
    lambda path: read_outcomes(path, Result(**RECORD, address="a", method="m", metrics={}, higher_is_better={})),
    lambda path: list(read_records(path)),
)  # fmt: skip


@pytest.mark.parametrize("read", READERS)
def test_nobody_waits_for_a_pipe(read: Callable[[Path], Any], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.parquet")
    with pytest.raises(BadFileError, match=r"a\.parquet: expected an ordinary file"):
        read(tmp_path / "a.parquet")


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": Infinity}', '"\\ud800"', "[1", ""])
def test_what_json_cannot_say_is_not_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\0", "m" * 256])
def test_what_is_no_name_of_a_file_leads_nowhere(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="is no name of a file in this folder"):
        path_below(tmp_path, "a", name)
    assert path_below(tmp_path, "m" * 255) == tmp_path / ("m" * 255)
