"""The result record: what it refuses, and how records of older schemas become this one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BadFileError
from bench.records.names import compute_address
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


def as_honest(**changes: Any) -> dict[str, Any]:
    """A record whose address is its own."""
    fields = as_json(**changes)
    names = (fields["predictions"], fields["protocol"], fields["digest"], fields["truth_digest"])
    return {**fields, "address": compute_address(*names)}


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        (
            {"metrics": {"mAP_11pt": 0.99, "mAP_area": None}},
            r"mAP_11pt is 0\.99, outside of its interval \[0\.1, 0\.7\]",
        ),
        ({"metrics": {"mAP_11pt": 0.4, "mAP_area": None}}, r"mAP_11pt is 0\.4, but the mean over its classes is 0\.33"),
        ({"metrics": {}}, "metrics: expected at least one"),
        ({"metrics": {"mAP_11pt": 1 / 3, "mAP_area": 7.0}}, r"mAP_area is 7\.0: expected a fraction"),
        ({"protocol": "../outside/p"}, "protocol: expected a name without slashes"),
        ({"training": "/outside"}, "training: expected a name without slashes"),
        ({"predictions": ""}, "predictions: expected a name without slashes"),
        ({"split": "a\x1b[2Jb"}, "split: control characters are not allowed"),
        ({"method": "a\nb"}, "method: control characters are not allowed"),
        ({"method": "x" * 999}, "method: expected at most 200 characters"),
        ({"provenance": {"revision": 5}}, r"provenance\.revision: expected str, but got 5"),
        ({"images": -1}, "row images: Input should be greater than or equal to 0"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(tmp_path: Path, changes: dict[str, Any], rule: str) -> None:
    assert read_text(tmp_path / "r.json", json.dumps(as_honest())).metrics["mAP_11pt"] == 1 / 3
    with pytest.raises(BadFileError, match=rule):
        read_text(tmp_path / "r.json", json.dumps(as_honest(**changes)))


def test_a_record_under_the_address_of_another_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # which lets the tests above name their addresses
    text = json.dumps(as_honest() | {"truth_digest": "other"})
    with pytest.raises(BadFileError, match="the address of its predictions, protocol and ground truth is"):
        read_text(tmp_path / "r.json", text)
