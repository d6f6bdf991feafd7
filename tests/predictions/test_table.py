"""Prediction tables: written, read, held against a truth; and what a file must not do."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bench.predictions.table as predictions
from bench.data.ground_truth import GroundTruth, Objects, derive_labels
from bench.errors import BadFileError
from bench.predictions.table import KINDS, About, Predictions, read, resolve, write


@pytest.fixture
def truth() -> GroundTruth:
    none = Objects(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros((0, 4)), np.zeros(0, np.bool_))
    size = np.full((3, 2), 100, dtype=np.int32)
    return GroundTruth(
        "toy", "test", ("cat", "dog"), ("000001", "000002", "000003"), size, derive_labels(3, 2, none), none
    )


def table(kind: str = "boxes", rows: int = 2, **changes: Any) -> pa.Table:
    columns: dict[str, Any] = {"image": ["000001"] * rows, "label": ["cat", "dog"][:rows]}
    columns |= {name: np.linspace(0.25, 0.5, rows) for name in KINDS[kind][2:]}
    if "segment" in columns:
        columns["segment"] = ["01", "001"][:rows]
    return pa.table({**columns, **changes})


def refused(path: Path, rule: str, truth: GroundTruth | None = None) -> None:
    with pytest.raises(BadFileError, match=rule) as caught:
        read(path) if truth is None else resolve(read(path), truth)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def with_note(path: Path, note: Any, content: pa.Table | None = None) -> Path:
    text = note if isinstance(note, bytes) else json.dumps(note).encode()
    pq.write_table((table() if content is None else content).replace_schema_metadata({b"weakloc": text}), path)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_comes_back_as_it_was_written(kind: str, tmp_path: Path, truth: GroundTruth) -> None:
    about = About("melm", "toy", "test", truth.ids, {"nms": 0.3})
    write(tmp_path / "p.parquet", kind, table(kind), about)
    found = read(tmp_path / "p.parquet")
    assert (found.kind, found.about) == (kind, about)
    resolved = resolve(found, truth)
    assert (resolved.image.tolist(), resolved.label.tolist()) == ([0, 0], [0, 1])
    assert {name: column.tolist() for name, column in resolved.columns.items()} == {
        name: [0.25, 0.5] for name in KINDS[kind] if name not in ("image", "label", "segment")
    }
    assert resolved.segments == ((b"01", b"001") if kind == "segments" else ())
    assert resolved.covered.all()


def test_extra_columns_are_ignored(tmp_path: Path, truth: GroundTruth) -> None:
    path = with_note(tmp_path / "p.parquet", {"kind": "boxes"}, table(remark=["x", "y"]))
    assert len(resolve(read(path), truth).image) == 2


def test_an_image_without_rows_is_covered_if_the_file_lists_it(tmp_path: Path, truth: GroundTruth) -> None:
    listed = read(with_note(tmp_path / "a.parquet", {"kind": "boxes", "ids": ["000001", "000003"]}))
    assert resolve(listed, truth).covered.tolist() == [True, False, True]
    unlisted = read(with_note(tmp_path / "b.parquet", {"kind": "boxes"}))
    assert resolve(unlisted, truth).covered.tolist() == [True, False, False]


def test_a_file_that_says_no_kind_is_of_the_first_kind_accepted(tmp_path: Path) -> None:
    pq.write_table(table(), tmp_path / "p.parquet")
    assert read(tmp_path / "p.parquet", "boxes", "scores").kind == "boxes"
    refused(tmp_path / "p.parquet", "names no known kind; expected one of scores, boxes, points, proposals")


def test_another_kind_than_accepted_is_refused(tmp_path: Path) -> None:
    path = with_note(tmp_path / "p.parquet", {"kind": "boxes"})
    with pytest.raises(BadFileError, match="holds boxes; expected points or maps"):
        read(path, "points", "maps")


@pytest.mark.parametrize("name", KINDS["boxes"])
def test_a_missing_column_is_named(name: str, tmp_path: Path) -> None:
    path = with_note(tmp_path / "p.parquet", {"kind": "boxes"}, table().drop_columns([name]))
    refused(path, f"need one column '{name}'")


def test_a_column_twice_is_refused(tmp_path: Path) -> None:
    double = table().append_column("score", pa.array([0.0, 0.0]))
    refused(with_note(tmp_path / "p.parquet", {"kind": "boxes"}, double), "need one column 'score'")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"image": [1, 2]}, "column 'image' must hold strings, but got int64"),
        ({"score": ["a", "b"]}, "column 'score' must hold numbers, but got string"),
        ({"score": [True, False]}, "column 'score' must hold numbers, but got bool"),
        ({"score": pa.array([[1.0], [2.0]])}, "column 'score' must hold numbers, but got list"),
        ({"x1": pa.array([1.0, None])}, "row 1: column 'x1' is empty"),
        ({"label": pa.array([["cat"], ["dog"]])}, "column 'label' must hold strings, but got list"),
        ({"label": pa.array([None, "cat"])}, "row 0: column 'label' is empty"),
        ({"image": ["000001", "000009"]}, r"row 1: Unknown image of toy test '000009'"),
        ({"label": ["cat", "dgo"]}, r"row 1: Unknown class of toy 'dgo'\. Did you mean: dog\? Available: cat, dog"),
        ({"score": [0.1, float("nan")]}, "row 1: column 'score' must be finite, but got nan"),
        ({"y2": [float("-inf"), 1.0]}, "row 0: column 'y2' must be finite, but got -inf"),
    ],
)
def test_a_broken_column_is_named_with_its_row(
    changes: dict[str, Any], rule: str, tmp_path: Path, truth: GroundTruth
) -> None:
    refused(with_note(tmp_path / "p.parquet", {"kind": "boxes"}, table(**changes)), rule, truth)


def test_text_that_is_not_utf_8_is_refused(tmp_path: Path, truth: GroundTruth) -> None:
    wrong = pa.array([b"\xff\xfe", b"000001"], pa.binary()).view(pa.string())
    path = with_note(tmp_path / "p.parquet", {"kind": "boxes"}, table(image=wrong))
    refused(path, "not UTF-8|not a readable parquet", truth)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(200), b"\x00" * 50, pickle.dumps({"image": 1})])
def test_what_is_no_parquet_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "p.parquet").write_bytes(content)
    refused(tmp_path / "p.parquet", "not a readable parquet file")


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_truncated_parquet_is_refused(share: float, tmp_path: Path, truth: GroundTruth) -> None:
    whole = with_note(tmp_path / "p.parquet", {"kind": "boxes"}).read_bytes()
    (tmp_path / "p.parquet").write_bytes(whole[: int(len(whole) * share)])
    refused(tmp_path / "p.parquet", "not a readable parquet file", truth)


@pytest.mark.parametrize(
    "note", [b"{", b"[]", b"\xff", b"[" * 5000, {"ids": "000001"}, {"ids": [1]}, {"kind": ["boxes"]}, {"dataset": 7}]
)
def test_malformed_metadata_is_refused(note: Any, tmp_path: Path) -> None:
    refused(with_note(tmp_path / "p.parquet", note), "its weakloc metadata is malformed")


def test_more_rows_than_can_be_right_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "MAX_ROWS", 1000)
    same = pa.concat_tables([table(rows=1)] * 20_000).combine_chunks()
    refused(with_note(tmp_path / "p.parquet", {"kind": "boxes"}, same), "has 20000 rows; at most 1[0-9]{3} are read")


def test_what_lies_on_the_disk_may_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("MAX_ROWS", "MAX_BYTES", "MAX_TEXT_BYTES"):
        monkeypatch.setattr(predictions, limit, 1)
    assert len(read(with_note(tmp_path / "p.parquet", {"kind": "boxes"})).table) == 2


@pytest.mark.parametrize(
    ("note", "rule"),
    [
        ({"dataset": "voc2007"}, "holds predictions on voc2007, but the ground truth is that of toy"),
        ({"ids": ["000001", "000001"]}, "row 1 of its ids: image '000001' is listed twice"),
        ({"ids": ["000001", "x"], "split": "val"}, r"Unknown image of toy test \(the file was made for val\) 'x'"),
        ({"ids": ["000002"]}, "row 0: image '000001' is not among the ids it lists"),
    ],
)
def test_what_a_file_says_about_itself_must_hold(
    note: dict[str, Any], rule: str, tmp_path: Path, truth: GroundTruth
) -> None:
    refused(with_note(tmp_path / "p.parquet", {"kind": "boxes", **note}), rule, truth)


def test_another_split_whose_images_are_all_here_is_noted(tmp_path: Path, truth: GroundTruth) -> None:
    found = read(with_note(tmp_path / "p.parquet", {"kind": "boxes", "split": "test_subset"}))
    assert resolve(found, truth).notes == ("made for the split test_subset, scored on test",)


@pytest.mark.parametrize("kind", ["scores", "points"])
def test_a_second_row_for_an_image_and_class_is_refused(kind: str, tmp_path: Path, truth: GroundTruth) -> None:
    double = table(kind, label=["cat", "cat"])
    rule = "row 1: image '000001', class 'cat': a second row"
    refused(with_note(tmp_path / "p.parquet", {"kind": kind}, double), rule, truth)


def test_odd_boxes_are_counted_and_kept(truth: GroundTruth) -> None:
    odd = table(x1=[50.0, -1.0], y1=[0.0, 0.0], x2=[50.0, 10.0], y2=[10.0, 101.0])
    resolved = resolve(Predictions("boxes", odd, About("x"), "odd.parquet"), truth)
    assert resolved.counts == {"inverted_boxes": 1, "boxes_outside_image": 1}
    assert resolved.box.tolist() == [[50, 0, 50, 10], [-1, 0, 10, 101]]


def test_a_table_without_rows_is_all_right(truth: GroundTruth) -> None:
    empty = Predictions("boxes", table(rows=2).slice(0, 0), About("x", ids=truth.ids), "empty.parquet")
    assert len(resolve(empty, truth).image) == 0


def test_a_folder_has_a_digest_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1")
    before = Predictions("boxes", table(), About("x"), str(tmp_path)).digest
    (tmp_path / "a.txt").write_text("2")
    assert Predictions("boxes", table(), About("x"), str(tmp_path)).digest != before
