"""The result record: what it refuses, and how records of older schemas become this one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BadFileError
from bench.records.result import SCHEMA, Result, migrate, read_result, write_result

pytestmark = pytest.mark.usefixtures("made_up_addresses")


def record(**changes: Any) -> Result:
    given: dict[str, Any] = {
        "address": "a1", "protocol": "voc07-det", "family": "detection", "digest": "d1",
        "conventions": {"ties": "stable"},
        "truth_digest": "t1", "ids_digest": "i1", "dataset": "voc2007", "split": "test", "images": 2, "partial": False,
        "method": "melm", "variant": "l2+arl", "predictions": "p1", "metrics": {"mAP_11pt": 1 / 3, "mAP_area": None},
        "higher_is_better": {"mAP_11pt": True, "mAP_area": True}, "intervals": {"mAP_11pt": (0.1, 0.7)},
        "per_class": {"mAP_11pt": {"cat": 1 / 3, "dog": None}}, "undefined": {"mAP_11pt": ("dog",)},
    }  # fmt: skip
    return Result(**{**given, **changes})


def as_json(**changes: Any) -> dict[str, Any]:
    return {**record().model_dump(mode="json", by_alias=True), **changes}


def read_text(path: Path, text: str) -> Result:
    path.write_text(text)
    return read_result(path)


def test_a_record_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    write_result(tmp_path / "r.json", record())
    assert read_result(tmp_path / "r.json") == record()
    assert list(read_result(tmp_path / "r.json").metrics) == ["mAP_11pt", "mAP_area"]


def test_what_is_not_the_protocols_images_says_so() -> None:
    assert record().evaluated_on == "voc2007 test"
    assert record(split="trainval", partial=True).evaluated_on == "voc2007 trainval (not the protocol's images)"


def test_the_file_says_its_schema(tmp_path: Path) -> None:
    write_result(tmp_path / "r.json", record())
    assert json.loads((tmp_path / "r.json").read_text())["schema"] == SCHEMA


def test_a_record_of_version_0_is_migrated(tmp_path: Path) -> None:
    old = as_json()
    del old["schema"]
    old["scores"] = old.pop("metrics")
    assert read_text(tmp_path / "old.json", json.dumps(old)) == record()


def test_migration_leaves_the_present_schema_alone() -> None:
    assert migrate(as_json()) == as_json()


def test_a_later_schema_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match=rf"r\.json: written by a later weakloc \(schema 99, .* up to {SCHEMA}\)"):
        read_text(tmp_path / "r.json", json.dumps(as_json(schema=99)))


@pytest.mark.parametrize(
    "text", ["", "[]", "null", '{"schema": "1"}', '{"schema": true}', '{"schema": -1}', "[" * 9999]
)
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadFileError, match=r"r\.json: not a result record"):
        read_text(tmp_path / "r.json", text)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="not a result record"):
        read_result(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("change", "row"), [({"metrics": 3}, "metrics"), ({"images": "many"}, "images"), ({"colour": "red"}, "colour")]
)
def test_a_wrong_field_is_named(tmp_path: Path, change: dict[str, Any], row: str) -> None:
    with pytest.raises(BadFileError, match=f"row {row}"):
        read_text(tmp_path / "r.json", json.dumps(as_json(**change)))


def test_a_number_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match=r"row metrics\.mAP_11pt: Input should be a finite number"):
        read_text(tmp_path / "r.json", json.dumps(as_json(metrics={"mAP_11pt": float("nan")})))
