"""A record held against what lies beside it: a published one passes, and a changed one does not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import registry
from bench.analysis.recheck import require_whole, select_whole
from bench.errors import BadFileError, LeftOutWarning
from bench.records.collection import StoredResult
from bench.records.replicates import replicates_path
from bench.records.result import list_records, read_result

MEASURED = registry.ROOT / "results" / "measured"
RECORD = MEASURED / "voc07-corloc.cam.6335e8042b5c27534a1e.json"
OTHER = MEASURED / "voc07-corloc.danet.9f428e9b82ab3b2b81ad.json"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of a published record with all that lies beside it."""
    for file in MEASURED.glob(f"{RECORD.stem}.*"):
        shutil.copy(file, tmp_path)
    return tmp_path / RECORD.name


def edit(record: Path, change: Callable[[dict[str, Any]], object]) -> StoredResult:
    fields = json.loads(record.read_text())
    change(fields)
    record.write_text(json.dumps(fields))
    return StoredResult(read_result(record), record)


def test_every_published_record_is_whole() -> None:
    records = list_records(MEASURED)
    assert len(records) > 50
    for record in records[::10]:
        require_whole(StoredResult(read_result(record), record))


def test_other_outcomes_are_named(copy: Path) -> None:
    shutil.copy(OTHER.with_suffix(".parquet"), copy.with_suffix(".parquet"))
    with pytest.raises(BadFileError, match="not the outcomes that the record was made with"):
        require_whole(edit(copy, lambda fields: None))


def test_other_replicates_are_named(copy: Path) -> None:
    shutil.copy(replicates_path(OTHER), replicates_path(copy))
    with pytest.raises(BadFileError, match="CorLoc and its interval are not those of its replicates"):
        require_whole(edit(copy, lambda fields: None))


@pytest.mark.parametrize("images", [488, 1])
def test_outcomes_of_more_images_than_the_record_has_are_named(copy: Path, images: int) -> None:
    stored = edit(copy, lambda fields: (fields.update(images=images), fields["counts"].update(images=images)))
    with pytest.raises(BadFileError, match=f"image is not a whole number below {images} in every row"):
        require_whole(stored)


def test_a_number_that_its_replicates_allow_and_its_outcomes_do_not_is_named(copy: Path) -> None:
    def change(fields: dict[str, Any]) -> None:
        fields["metrics"]["CorLoc"] += 1e-4
        for name, value in fields["per_class"]["CorLoc"].items():
            fields["per_class"]["CorLoc"][name] = None if value is None else value + 1e-4
        fields["class_intervals"] = {}

    stored = edit(copy, change)
    with pytest.raises(BadFileError, match="but its outcomes give"):
        require_whole(stored)
    with pytest.warns(LeftOutWarning, match="left out 1 record"):
        assert select_whole([stored]) == []
