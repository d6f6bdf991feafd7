"""Predictions handed over in memory: what is read from them is what a file of theirs would give, errors too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from scoring_cases import truth_of

from bench.errors import BadFileError
from bench.predictions.formats import read_all
from bench.predictions.handover import as_file
from bench.predictions.table import ResolvedPredictions, resolve

TRUTH = truth_of([("1", "cat", (0, 0, 4, 4), False), ("2", "dog", (1, 1, 5, 5), False)], ids=("1", "2", "3"))
FRAME = pd.DataFrame(
    {
        "image": ["2", "1", "1"],
        "label": ["dog", "cat", "eel"],
        "score": [0.1 + 0.2, 0.5, -1.0],
        "x1": [1, 0, 2],
        "y1": [1.0, 0.0, 1 / 3],
        "x2": [5.0, 4.0, 3.0],
        "y2": [5.0, 4.0, 3.0],
        "more": [None, object(), "x"],
    }
)
OTHERS = ["image", "label", "score", "x1", "y1", "x2", "y2"]


def handed(given: Any, tmp_path: Path, *kinds: str) -> tuple[ResolvedPredictions, list[Any]]:
    """What is read of predictions, and its arrays; nothing of them is left."""
    with as_file(given, TRUTH, kinds, tmp_path / "scratch") as file:
        found = resolve(read_all(file, TRUTH, kinds)[0], TRUTH)
        arrays = list(found.arrays())
    assert not list((tmp_path / "scratch").iterdir())
    return found, arrays


def loop(frame: pd.DataFrame, to: Any = np.asarray) -> Any:
    for image in ("2", "1", "3"):
        rows = frame[frame["image"] == image]
        labels = [TRUTH.class_index[name] for name in rows["label"]]
        boxes = rows[["x1", "y1", "x2", "y2"]].to_numpy(float)
        yield image, {"boxes": to(boxes), "labels": to(labels), "scores": to(rows["score"].to_numpy()), "masks": None}


@pytest.mark.parametrize(
    ("given", "covered"),
    [
        (FRAME[OTHERS], [True, True, False]),
        (pa.table(FRAME[OTHERS]), [True, True, False]),
        (loop(FRAME), [True, True, True]),
        (loop(FRAME, torch.tensor), [True, True, True]),
        (loop(FRAME, list), [True, True, True]),
        (dict(loop(FRAME)), [True, True, True]),
    ],
    ids=["pandas", "pyarrow", "loop", "torch", "lists", "mapping"],
)
def test_boxes_come_through_to_the_last_bit(given: Any, covered: list[bool], tmp_path: Path) -> None:
    found, _ = handed(given, tmp_path, "boxes", "scores")
    assert found.kind == "boxes"
    assert found.image.tolist() == [1, 0, 0]
    assert found.label.tolist() == [1, 0, 2]
    assert found.score.tolist() == FRAME["score"].tolist()
    assert found.box.tolist() == FRAME[["x1", "y1", "x2", "y2"]].to_numpy(float).tolist()
    assert found.covered.tolist() == covered


def test_a_list_of_coco_results_is_read_as_its_json_is(tmp_path: Path) -> None:
    entry = {"image_id": 2, "category_id": np.int64(1), "bbox": torch.tensor([0.0, 1.0, 2.0, 3.0]), "score": 0.5}
    found, _ = handed([entry], tmp_path, "boxes")
    assert (found.image.tolist(), found.label.tolist(), found.box.tolist()) == ([1], [0], [[0, 1, 2, 4]])
    assert handed([], tmp_path, "boxes")[0].covered.all()


def test_rows_that_fill_several_groups_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.predictions.handover._AT_ONCE", 2)
    scores = np.random.default_rng(0).random((3, 3))
    found, _ = handed(((name, {"scores": row}) for name, row in zip("321", scores, strict=True)), tmp_path, "scores")
    assert found.image.tolist() == [2] * 3 + [1] * 3 + [0] * 3
    assert found.score.tolist() == scores.ravel().tolist()
    some = {"scores": [0.5], "labels": ["eel"]}
    assert handed([("1", some)], tmp_path, "scores")[0].label.tolist() == [2]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_maps_come_in_the_precision_of_npy_files(dtype: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.predictions.handover._NUMBERS", 10)
    maps = np.random.default_rng(0).random((3, 3, 4)).astype(dtype)
    buffer = np.empty_like(maps)

    def reuse() -> Any:
        for number, name in enumerate(("2", "1")):
            buffer[:] = maps + number
            yield name, {"maps": buffer}

    found, arrays = handed(reuse(), tmp_path, "maps")
    assert (found.image.tolist(), found.label.tolist()) == ([1] * 3 + [0] * 3, [0, 1, 2] * 2)
    assert np.array_equal(np.stack(arrays), np.concatenate([maps, maps + 1]).astype(dtype))
    assert arrays[0].dtype == dtype
    _, arrays = handed([("1", {"objectness": maps[0]})], tmp_path, "objectness")
    assert np.array_equal(arrays[0], maps[0])


def test_masks_come_through(tmp_path: Path) -> None:
    mask = np.arange(120).reshape(10, 12) % 4
    found, arrays = handed([("3", {"mask": mask})], tmp_path, "masks")
    assert found.image.tolist() == [2]
    assert np.array_equal(arrays[0], mask)


BOX = {"boxes": [[0, 0, 1, 1]], "labels": [0], "scores": [0.5]}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (FRAME.drop(columns=["more", "x2"]), r"\(DataFrame\): predictions of kind 'boxes' need one column 'x2'"),
        (FRAME[OTHERS].replace("dog", "cow"), r"\(DataFrame\), row 0: Unknown class of toy 'cow'"),
        (FRAME[OTHERS].replace("1", "7"), r"\(DataFrame\), row 1: Unknown image of toy test '7'"),
        (FRAME[OTHERS].replace(0.5, np.inf), r"\(DataFrame\), row 1: column 'score' must be finite"),
        (FRAME[OTHERS].assign(image=[1, 2, 3]), r"\(DataFrame\): column 'image' must hold strings, but got int64"),
        (FRAME, r"\(DataFrame\): cannot be made a table"),
        ([{"image_id": 5, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 1}], r"\(list\), row 0: unknown image_id 5"),
        ([{"image_id": {1}}], r"\(list\): cannot be written as JSON"),
        ([("1", BOX), ("1", BOX)], r"\(list\), row 1: image '1' comes a second time"),
        ([("1", BOX), ("8", BOX)], r"\(list\), row 1: Unknown image of toy test '8'"),
        ([("1", BOX), (2, BOX)], r"\(list\), row 1: an image id is a string, such as '1', but got 2"),
        (
            [("1", BOX), ("2", {**BOX, "labels": [3]})],
            r"\(list\), row 1: image '2': labels are class names, or indices",
        ),
        ([("1", {**BOX, "labels": ["cow"]})], r"\(list\), row 0: Unknown class of toy 'cow'"),
        ([("1", {**BOX, "labels": [0, 1]})], r"row 0: image '1': expected labels \(1,\), but got \(2,\)"),
        ([("1", {**BOX, "scores": [[1]]})], r"row 0: image '1': expected scores \(1,\), but got \(1, 1\)"),
        ([("1", {**BOX, "scores": ["1"]})], r"row 0: image '1': scores must hold numbers"),
        ([("1", {**BOX, "boxes": [[0, 0, 1]]})], r"row 0: image '1': expected boxes \(n, 4\), but got \(1, 3\)"),
        ([("1", {**BOX, "boxes": [[0], [0, 1]]})], r"row 0: image '1': boxes is no array"),
        ([("1", {"boxes": BOX["boxes"], "labels": [0]})], r"row 0: image '1' has no 'scores'"),
        ([("1", {"box": 1})], r"row 0: image '1' has no 'boxes'"),
        ([("1", {**BOX, "scores": [np.nan]})], r"\(list\), row 0: column 'score' must be finite"),
        ([1], r"\(list\), row 0: expected \(image id, \{name: array\}\), but got int"),
        (iter(()), r"\(tuple_iterator\): is empty"),
        (5, r"\(int\): expected a path, a table"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_what_was_given_and_its_row(given: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match=rf"^predictions .*{message}"):
        handed(given, tmp_path, "boxes")
    assert not list((tmp_path / "scratch").iterdir())


def test_another_kind_than_the_accepted_ones_is_named(tmp_path: Path) -> None:
    points = [("1", {"points": [[0, 0]], "labels": [0], "scores": [1.0]})]
    with pytest.raises(BadFileError, match="holds points; expected boxes"):
        handed(points, tmp_path, "boxes")
    for mask in (np.zeros((2, 2)), np.full((2, 2), 300), np.zeros(4, int)):
        with pytest.raises(BadFileError, match=r"expected a mask \(H, W\)"):
            handed([("1", {"mask": mask})], tmp_path, "masks")
    with pytest.raises(BadFileError, match=r"expected objectness \(h, w\)"):
        handed([("1", {"objectness": [1.0]})], tmp_path, "objectness")


def test_an_error_of_the_loop_itself_passes_and_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    def broken() -> Any:
        yield "1", BOX
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        handed(broken(), tmp_path, "boxes")
    with as_file(str(tmp_path / "x.csv"), TRUTH, ["boxes"], tmp_path) as path:
        assert path == tmp_path / "x.csv"


def test_the_name_of_a_method_is_no_path(tmp_path: Path) -> None:
    entry = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 4], "score": 0.5}
    with as_file([entry], TRUTH, ["boxes"], tmp_path / "scratch", made_by="../../out/x") as file:
        assert file.resolve().is_relative_to((tmp_path / "scratch").resolve())
    assert [path.name for path in tmp_path.iterdir()] == ["scratch"]
