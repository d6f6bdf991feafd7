"""Ways out: what is written reads back as it was, is named as its reader wants it, and is always the same bytes."""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.ground_truth import GroundTruth, derive_labels, empty_objects
from bench.data.pixels import read_indices, write_indices
from bench.errors import RequestError
from bench.predictions.export import coco_results, voc_files, write_coco, write_voc_server
from bench.predictions.formats import read_any
from bench.predictions.table import ResolvedPredictions, resolve

IDS = ("2007_000027", "2007_000032", "2008_000001")
CLASSES = ("cat", "dog")


@pytest.fixture
def truth() -> GroundTruth:
    size = np.array([[8, 6], [10, 4], [5, 5]], np.int32)
    return GroundTruth("voc2012", "test", CLASSES, IDS, size, derive_labels(3, 2, empty_objects()), empty_objects())


def made(kind: str, **columns: Any) -> ResolvedPredictions:
    """Two rows of the first image, one of the last."""
    image, label = np.array([0, 0, 2], np.int32), np.array([1, 0, 1], np.int32)
    numbers = {name: np.array(values, np.float64) for name, values in columns.items()}
    return ResolvedPredictions(kind, image, label, numbers, np.ones(3, np.bool_), {})


SCORES = {"score": [0.5, 0.1 + 0.2, 1e-300]}
BOXES = {**SCORES, "x1": [0.0, 1.5, -3.25], "y1": [0.0, 2.0, 0.0], "x2": [4.0, 2.5, 5.0], "y2": [4.0, 6.0, 5.0]}


def masks(values: list[np.ndarray]) -> ResolvedPredictions:
    image = np.arange(3, dtype=np.int32)
    covered = np.ones(3, np.bool_)
    return ResolvedPredictions("masks", image, np.full(3, -1, np.int32), {}, covered, {}, (), lambda: iter(values))


def unpacked(archive: Path, into: Path) -> list[str]:
    """Names in an archive, which lies there afterwards."""
    with tarfile.open(archive) as opened:
        opened.extractall(into, filter="data")
        return opened.getnames()


def same(found: ResolvedPredictions, expected: ResolvedPredictions) -> None:
    def rows(one: ResolvedPredictions) -> list[Any]:
        numbers = zip(*(values.tolist() for values in one.columns.values()), strict=True)
        return sorted(zip(one.image.tolist(), one.label.tolist(), numbers, strict=True))

    assert rows(found) == rows(expected)


@pytest.mark.parametrize(
    ("found", "names"),
    [
        (made("boxes", **BOXES), ["Main/comp4_det_test_cat.txt", "Main/comp4_det_test_dog.txt"]),
        (made("scores", **SCORES), ["Main/comp2_cls_test_cat.txt", "Main/comp2_cls_test_dog.txt"]),
    ],
    ids=["boxes", "scores"],
)
def test_tables_are_the_servers_text_files_and_read_back_to_the_last_digit(
    found: ResolvedPredictions, names: list[str], truth: GroundTruth, tmp_path: Path
) -> None:
    write_voc_server(tmp_path / "out.tar", found, truth)
    assert unpacked(tmp_path / "out.tar", tmp_path / "in") == [f"results/VOC2012/{name}" for name in names]
    same(resolve(read_any(tmp_path / "in", truth, [found.kind]), truth), found)


def test_masks_are_indexed_images_of_the_photographs_size(truth: GroundTruth, tmp_path: Path) -> None:
    truth = replace(truth, split="Segmentation/test")
    given = [np.array([[0, 1], [2, 0]], np.uint8), np.full((4, 10), 2, np.uint8), np.zeros((5, 5), np.uint8)]
    write_voc_server(tmp_path / "out.tgz", masks(given), truth, own_data=True)
    names = unpacked(tmp_path / "out.tgz", tmp_path / "in")
    assert names == [f"results/VOC2012/Segmentation/comp5_test_cls/{name}.png" for name in IDS]
    read = resolve(read_any(tmp_path / "in", truth, ["masks"]), truth)
    assert read.notes == ()
    first, second, _ = read.arrays()
    assert first.tolist() == [[0] * 4 + [1] * 4] * 3 + [[2] * 4 + [0] * 4] * 3
    assert (second == given[1]).all()


def test_colours_are_vocs(tmp_path: Path) -> None:
    from PIL import Image

    write_indices(tmp_path / "a.png", np.array([[0, 1, 15, 20, 255]], np.uint8))
    with Image.open(tmp_path / "a.png") as image:
        colours = np.asarray(image.convert("RGB"))[0].tolist()
    assert colours == [[0, 0, 0], [128, 0, 0], [192, 128, 128], [0, 64, 128], [224, 224, 192]]
    assert read_indices(tmp_path / "a.png").tolist() == [[0, 1, 15, 20, 255]]


@pytest.mark.parametrize("name", ["out.tar", "out.tgz", "out.tar.gz"])
def test_the_same_predictions_are_the_same_bytes(name: str, truth: GroundTruth, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_voc_server(tmp_path / folder / name, made("boxes", **BOXES), truth)
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    with tarfile.open(tmp_path / "one" / name) as archive:
        assert {(one.mtime, one.mode, one.uid, one.uname) for one in archive} == {(0, 0o644, 0, "")}
    assert ((tmp_path / "one" / name).read_bytes()[:2] == b"\x1f\x8b") == name.endswith("gz")


def test_what_the_server_would_refuse_is_refused_and_nothing_is_written(truth: GroundTruth, tmp_path: Path) -> None:
    silent = [np.full((6, 8), 255, np.uint8)] * 3
    with pytest.raises(RequestError, match=r"takes pixels of 0 \.\.\. 2, but the mask of '2007_000027' has 255"):
        write_voc_server(tmp_path / "out.tar", masks(silent), truth)
    with pytest.raises(RequestError, match="evaluates the years of VOC, but these predictions are on shapes"):
        write_voc_server(tmp_path / "out.tar", made("boxes", **BOXES), replace(truth, dataset="shapes"))
    assert list(tmp_path.iterdir()) == []


def test_coco_results_read_back(truth: GroundTruth, tmp_path: Path) -> None:
    found = made("boxes", **BOXES)
    write_coco(tmp_path / "out.json", found, truth)
    first = json.loads((tmp_path / "out.json").read_text())[0]
    assert first == {"image_id": 2007000027, "category_id": 2, "bbox": [0.0, 0.0, 4.0, 4.0], "score": 0.5}
    same(resolve(read_any(tmp_path / "out.json", truth, ["boxes"]), truth), found)


def test_coco_segments_read_back(truth: GroundTruth, tmp_path: Path) -> None:
    whole = {"size": [6, 8], "counts": [0, 48]}
    entry = {"image_id": 2007000027, "category_id": 1, "score": 0.25, "segmentation": whole}
    (tmp_path / "in.json").write_text(json.dumps([entry]))
    found = resolve(read_any(tmp_path / "in.json", truth, ["segments"]), truth)
    write_coco(tmp_path / "out.json", found, truth)
    again = resolve(read_any(tmp_path / "out.json", truth, ["segments"]), truth)
    assert (again.segments, again.score.tolist()) == (found.segments, [0.25])


def test_no_predictions_are_an_empty_list_and_empty_files(truth: GroundTruth, tmp_path: Path) -> None:
    none = replace(made("boxes", **BOXES), image=np.zeros(0, np.int32), label=np.zeros(0, np.int32))
    none = replace(none, columns={name: np.zeros(0) for name in BOXES})
    write_coco(tmp_path / "out.json", none, truth)
    assert json.loads((tmp_path / "out.json").read_text()) == []
    assert voc_files(none, truth, 4) == {f"comp4_det_test_{name}.txt": "" for name in CLASSES}


def test_ids_that_are_no_numbers_have_no_coco_form(truth: GroundTruth) -> None:
    with pytest.raises(RequestError, match="cannot name the images of voc2012, whose ids are no numbers"):
        coco_results(made("boxes", **BOXES), replace(truth, ids=("a", "b", "c")))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 5000)] * 4, st.floats(0, 1)), max_size=5))
def test_corners_of_one_decimal_come_back_but_for_their_last_digit(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any]
) -> None:
    size = np.full((3, 2), 500, np.int32)
    truth = GroundTruth("voc2012", "test", CLASSES, IDS, size, derive_labels(3, 2, empty_objects()), empty_objects())
    numbers = np.array(rows, np.float64).reshape(-1, 5)
    columns = {name: numbers[:, at] / 10 for at, name in enumerate(("x1", "y1", "x2", "y2"))}
    zeros = np.zeros(len(rows), np.int32)
    found = ResolvedPredictions("boxes", zeros, zeros, {"score": numbers[:, 4], **columns}, np.ones(3, np.bool_), {})
    folder = tmp_path_factory.mktemp("out")
    write_coco(folder / "out.json", found, truth)
    write_voc_server(folder / "out.tar", found, truth)
    unpacked(folder / "out.tar", folder / "in")
    for path in ("out.json", "in"):
        read = resolve(read_any(folder / path, truth, ["boxes"]), truth)
        np.testing.assert_allclose(read.box, found.box, rtol=0, atol=1e-12)
        assert read.score.tolist() == found.score.tolist()
