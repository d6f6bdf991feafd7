"""Predictions that are folders: maps as `.npy` files and as shards, read one at a time; and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.data.ground_truth import GroundTruth, empty_objects, encode_labels
from bench.errors import BadFileError
from bench.predictions.arrays import read_folder, write_shard
from bench.predictions.formats import read_any
from bench.predictions.map_files import read_map
from bench.predictions.table import About, ResolvedPredictions, resolve

IDS = ("val2/1/0.jpeg", "000002", "000001")
MAPS = [np.array([[0.5, 0.25]], np.float32), np.eye(3, dtype=np.float32), np.array([[-2.0], [4.0]], np.float32)]


@pytest.fixture
def truth() -> GroundTruth:
    labels = encode_labels(np.array([0, 1, 1]), 2)
    return GroundTruth("toy", "test", ("cat", "dog"), IDS, np.full((3, 2), 9, np.int32), labels, empty_objects())


def npy_folder(folder: Path) -> Path:
    for image, one in zip(IDS, MAPS, strict=True):
        (folder / f"{image}.npy").parent.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{image}.npy", one)
    return folder


def content(found: ResolvedPredictions) -> list[Any]:
    return [
        (i, c, m.tolist()) for i, c, m in zip(found.image.tolist(), found.label.tolist(), found.arrays(), strict=True)
    ]


EXPECTED = [(0, 0, MAPS[0].tolist()), (1, 1, MAPS[1].tolist()), (2, 1, MAPS[2].tolist())]


def test_npy_files_are_maps_of_the_class_that_their_image_shows(tmp_path: Path, truth: GroundTruth) -> None:
    found = read_any(npy_folder(tmp_path), truth, ["maps"])
    resolved = resolve(found, truth)
    assert content(resolved) == content(resolved) == EXPECTED
    assert resolved.covered.all()
    before = found.digest
    np.save(tmp_path / f"{IDS[0]}.npy", MAPS[1])
    assert read_any(tmp_path, truth, ["maps"]).digest != before


def test_npy_files_are_objectness_where_that_is_asked_for(tmp_path: Path, truth: GroundTruth) -> None:
    resolved = resolve(read_any(npy_folder(tmp_path), truth, ["objectness", "boxes"]), truth)
    assert resolved.kind == "objectness"
    assert content(resolved) == [(image, -1, one) for image, _, one in EXPECTED]


@pytest.mark.parametrize("half", [False, True])
def test_shards_come_back_as_they_were_written(half: bool, tmp_path: Path, truth: GroundTruth) -> None:
    about = About("cam", "toy", "test")
    write_shard(tmp_path / "1.parquet", "maps", IDS[:2], MAPS[:2], about, ["cat", "dog"], half=half)
    write_shard(tmp_path / "2.parquet", "maps", IDS[2:], MAPS[2:], about, ["dog"], half=half)
    found = read_any(tmp_path, truth, ["points", "maps"])
    assert (found.about.made_by, found.about.dataset) == ("cam", "toy")
    assert content(resolve(found, truth)) == EXPECTED


def test_one_shard_is_read_as_a_folder_of_it_is(tmp_path: Path, truth: GroundTruth) -> None:
    write_shard(tmp_path / "1.parquet", "maps", IDS, MAPS, About("cam", "toy", "test"), ["cat", "dog", "dog"])
    assert content(resolve(read_any(tmp_path / "1.parquet", truth, ["points", "maps"]), truth)) == EXPECTED
    with pytest.raises(BadFileError, match="holds maps; expected boxes"):
        read_any(tmp_path / "1.parquet", truth, ["boxes"])


def test_shards_of_objectness_have_no_classes(tmp_path: Path, truth: GroundTruth) -> None:
    write_shard(tmp_path / "1.parquet", "objectness", IDS[:1], MAPS[:1], About("spn"))
    resolved = resolve(read_any(tmp_path, truth, ["objectness"]), truth)
    assert content(resolved) == [(0, -1, MAPS[0].tolist())]
    assert resolved.covered.tolist() == [True, False, False]


def test_an_image_twice_is_refused(tmp_path: Path, truth: GroundTruth) -> None:
    for name in ("1", "2"):
        write_shard(tmp_path / f"{name}.parquet", "objectness", IDS[:1], MAPS[:1], About("spn"))
    with pytest.raises(BadFileError, match=r"row 1: image 'val2/1/0\.jpeg': a second row for the same image"):
        resolve(read_any(tmp_path, truth, ["objectness"]), truth)


def test_a_folder_of_another_kind_or_another_split_is_refused(tmp_path: Path, truth: GroundTruth) -> None:
    npy_folder(tmp_path)
    with pytest.raises(BadFileError, match=r"holds \.npy files, that is maps or objectness; expected masks"):
        read_folder(tmp_path, truth, ["masks"])
    other = GroundTruth("toy", "val", ("cat", "dog"), ("x",), truth.size[:1], truth.labels[:1], empty_objects())
    with pytest.raises(BadFileError, match=r"no file is of an image of toy val; expected x\.npy"):
        read_folder(tmp_path, other, ["maps"])


def test_a_map_of_an_image_that_shows_two_classes_says_which_it_is_of(tmp_path: Path, truth: GroundTruth) -> None:
    truth.labels[1] = 1
    with pytest.raises(BadFileError, match=r"'000002' shows several or none: name its class \(000002_cat\.npy\)"):
        read_folder(npy_folder(tmp_path), truth, ["maps"])


@pytest.mark.parametrize(
    ("array", "rule"),
    [
        (np.zeros((2, 2, 2)), r"expected one array \(h, w\) of numbers"),
        (np.zeros((2, 2), dtype=complex), "expected one array"),
        (np.zeros((0, 5)), "not a readable .npy file|a map must have 1 to"),
        (np.array([[1.0, np.nan]]), "a map must be finite"),
        (np.array([[1e300]]), "a map must be finite in float32"),
    ],
)
def test_an_array_that_is_no_map_is_refused(array: Any, rule: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(BadFileError, match=rule):
        read_map(tmp_path / "a.npy")


def test_a_map_stored_in_double_precision_keeps_it(tmp_path: Path) -> None:
    stored = np.array([[0.1, 0.2]])
    np.save(tmp_path / "a.npy", stored)
    assert read_map(tmp_path / "a.npy").tolist() == stored.tolist()


class Bomb:
    """Does something when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_nothing_is_unpickled_and_nothing_large_is_believed(tmp_path: Path) -> None:
    np.save(tmp_path / "object.npy", np.array([Bomb(tmp_path / "executed")], dtype=object), allow_pickle=True)
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps(Bomb(tmp_path / "executed")))
    np.savez(tmp_path / "zip.npz", MAPS[0])
    (tmp_path / "zip.npz").rename(tmp_path / "zip.npy")
    np.save(tmp_path / "whole.npy", MAPS[1])
    whole = (tmp_path / "whole.npy").read_bytes()
    (tmp_path / "huge.npy").write_bytes(whole.replace(b"(3, 3)", b"(90000, 90000)", 1))
    (tmp_path / "short.npy").write_bytes(whole[:-8])
    (tmp_path / "empty.npy").write_bytes(b"")
    for name in ("object", "pickle", "zip", "huge", "short", "empty", "none"):
        with pytest.raises(BadFileError):
            read_map(tmp_path / f"{name}.npy")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("columns", "rule"),
    [
        ({"map": [[1.0]]}, "a shard needs the columns height and width"),
        ({"height": [1], "width": [1], "map": [["a"]]}, "column 'map' must hold lists of floats"),
        ({"height": [2], "width": [1], "map": [[1.0]]}, "row 0: expected 2 x 1 numbers"),
        ({"height": [1], "width": [1], "map": pa.array([[None]], pa.list_(pa.float32()))}, "row 0: expected 1 x 1"),
        ({"height": [1], "width": [1], "map": [[float("inf")]]}, "row 0: a map must be finite"),
        ({"height": [-1], "width": [-1], "map": [[1.0]]}, "row 0: expected -1 x -1 numbers"),
    ],
)
def test_a_shard_that_breaks_a_rule_is_refused(columns: Any, rule: str, tmp_path: Path, truth: GroundTruth) -> None:
    pq.write_table(pa.table({"image": [IDS[0]], **columns}), tmp_path / "s.parquet")
    with pytest.raises(BadFileError, match=rule):
        list(resolve(read_any(tmp_path, truth, ["objectness"]), truth).arrays())


def test_maps_of_5000_images_and_20_classes_in_half_precision_take_under_a_gibibyte(tmp_path: Path) -> None:
    """As a net of stride 8 gives of 512 pixels, and of noise, which nothing compresses."""
    maps = np.random.default_rng(0).random((3 * 20, 64, 64), dtype=np.float32)
    images = [image for image in IDS for _ in range(20)]
    write_shard(tmp_path / "1.parquet", "maps", images, list(maps), About("cam"), ["cat"] * 60, half=True)
    assert (tmp_path / "1.parquet").stat().st_size * 5000 / 3 < 1 << 30


def test_what_does_not_belong_to_a_folder_is_not_read_for_its_digest(tmp_path: Path, truth: GroundTruth) -> None:
    found = read_any(npy_folder(tmp_path), truth, ["maps"])
    with (tmp_path / "disk.img").open("wb") as sparse:
        sparse.truncate(1 << 40)
    (tmp_path / ".DS_Store").write_bytes(b"x")
    assert read_any(tmp_path, truth, ["maps"]).digest == found.digest
    with (tmp_path / "stray.npy").open("wb") as sparse:
        sparse.truncate(1 << 40)
    with pytest.raises(BadFileError, match=r"stray.npy: larger than any file of predictions \(64.0 GiB\)"):
        _ = read_any(tmp_path, truth, ["maps"]).digest
