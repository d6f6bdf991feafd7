"""Maps in the shapes that people write: each comes out as the same maps of the same classes; and what is refused."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.data.ground_truth import GroundTruth, empty_objects
from bench.errors import BadFileError
from bench.predictions.formats import read_any
from bench.predictions.table import resolve

IDS, CLASSES = ("2007_01", "2007_02"), ("cat", "potted_plant", "eel")
MAPS = np.random.default_rng(0).random((2, 3, 4, 5)).astype(np.float32)
ALL = [(image, label, MAPS[image, label].tolist()) for image in range(2) for label in range(3)]


@pytest.fixture
def truth() -> GroundTruth:
    labels = np.array([[-1, 1, -1], [1, -1, 1]], np.int8)
    return GroundTruth("toy", "test", CLASSES, IDS, np.full((2, 2), 9, np.int32), labels, empty_objects())


def read(path: Path, truth: GroundTruth) -> list[Any]:
    """Image, class and content of each map."""
    found = resolve(read_any(path, truth, ["boxes", "maps"]), truth)
    rows = zip(found.image.tolist(), found.label.tolist(), found.arrays(), strict=True)
    content = sorted((image, label, one.tolist()) for image, label, one in rows)
    assert found.covered.all()
    return content


def each(write: Callable[[Path, np.ndarray], object]) -> Callable[[Path], Path]:
    """Writes something of the maps (C, h, w) of each image, at the image's name without suffix."""

    def make(folder: Path) -> Path:
        for name, maps in zip(IDS, MAPS, strict=True):
            write(folder / name, maps)
        return folder

    return make


def of_other_channels(folder: Path) -> Path:
    (folder / "classes.txt").write_text("background\neel\ncat\npotted_plant\n")
    return each(lambda path, maps: np.save(path, np.stack([maps[0] * 0, maps[2], maps[0], maps[1]])))(folder)


def save_each_class(path: Path, maps: np.ndarray) -> None:
    for name, one in zip(CLASSES, maps, strict=True):
        np.save(f"{path}_{name}.npy", one)


def archive(folder: Path) -> Path:
    np.savez(folder / "all.npz", **dict(zip(IDS, MAPS, strict=True)))
    return folder / "all.npz"


def archive_of_classes(folder: Path) -> Path:
    named = {f"{image}_{label}": MAPS[i, c] for i, image in enumerate(IDS) for c, label in enumerate(CLASSES)}
    np.savez_compressed(folder / "all.npz", **named)
    return folder / "all.npz"


KEYS = np.arange(3)
COARSE = np.zeros((3, 2, 2), np.float32)


@pytest.mark.parametrize(
    "make",
    [
        each(lambda path, maps: np.save(path, maps)),
        of_other_channels,
        each(save_each_class),
        each(lambda path, maps: np.save(path, {"keys": KEYS, "cam": COARSE, "high_res": maps, "name": "x"})),  # type: ignore[arg-type]
        each(
            lambda path, maps: np.save(
                path,
                {"keys": torch.arange(3), "cam": torch.from_numpy(maps)},  # type: ignore[arg-type]
            )
        ),
        each(lambda path, maps: np.save(path, {"keys": ["cat", "potted_plant", "eel"], "cam": maps})),  # type: ignore[arg-type]
        each(lambda path, maps: np.save(path, dict(enumerate(maps)))),  # type: ignore[arg-type]
        each(lambda path, maps: np.save(path, {np.int64(label): maps[label] for label in (2, 0, 1)})),  # type: ignore[arg-type]
        each(lambda path, maps: np.savez(path, maps)),
        each(lambda path, maps: np.savez_compressed(path, keys=KEYS, cam=maps)),
        each(lambda path, maps: np.savez(path, **dict(zip(CLASSES, maps, strict=True)))),
        archive,
        archive_of_classes,
    ],
    ids=[
        "channels", "classes.txt", "named files", "irn", "irn tensors", "named keys", "psa", "numpy keys", "npz",
        "npz keys", "npz names", "archive", "archive names",
    ],
)  # fmt: skip
def test_the_same_maps_come_out_of_every_shape(
    make: Callable[[Path], Path], tmp_path: Path, truth: GroundTruth
) -> None:
    assert read(make(tmp_path), truth) == ALL


def test_a_dict_may_have_some_classes_and_tensors_that_are_views(tmp_path: Path, truth: GroundTruth) -> None:
    np.save(tmp_path / IDS[0], {1: MAPS[0, 1]})  # type: ignore[arg-type]
    view = torch.from_numpy(np.concatenate([MAPS[1], MAPS[1]]).transpose(0, 2, 1).copy()).transpose(1, 2)[3:]
    np.save(tmp_path / IDS[1], {"keys": torch.nonzero(torch.tensor([1, 0, 1]))[:, 0], "cam": view[[0, 2]]})  # type: ignore[arg-type]
    assert read(tmp_path, truth) == [ALL[1], ALL[3], ALL[5]]
    np.save(tmp_path / IDS[1], {"keys": torch.zeros(0, dtype=torch.long), "high_res": np.zeros((0, 4, 5))})  # type: ignore[arg-type]
    assert read(tmp_path, truth) == [ALL[1]]  # the other image is there, and shows nothing


@pytest.mark.parametrize(
    ("stored", "rule"),
    [
        (MAPS[0][:2], r"expected \(3, h, w\), a map for each class of toy .*, but .* \(2, 4, 5\); .*classes.txt"),
        (MAPS, r"expected one array \(h, w\) or \(C, h, w\) of an image, but its shape is \(2, 3, 4, 5\)"),
        (MAPS[0].transpose(1, 2, 0), r"its shape is \(4, 5, 3\): save array.transpose\(2, 0, 1\)"),
        (MAPS[0, 0], r"an array \(h, w\) is of one class, but '2007_02' shows several .*2007_02_cat\.npy"),
        ({3: MAPS[0, 0]}, "Unknown class of toy '3'.* a number from 0 to 2"),
        ({"cow": MAPS[0, 0]}, "Unknown class of toy 'cow'"),
        ({-1: MAPS[0, 0], 1: MAPS[0, 0]}, "Unknown class of toy '-1'"),
        ({"keys": KEYS, "cam": MAPS[0][:2]}, r"expected keys \(n,\), and high_res or cam \(n, h, w\), but got"),
        ({"keys": KEYS, "x": MAPS[0]}, r"expected keys \(n,\), and high_res or cam"),
        ({0: MAPS[0, 0], 1: [[1, 2]]}, "expected an array of numbers, but 1 is none"),
        ({0: MAPS[0, 0], 1: MAPS[0, 0, 0]}, r"expected maps \(h, w\) of numbers, but got float32 \(5,\)"),
        ({0: np.full((2, 2), np.nan), 1: MAPS[0, 0]}, "a map must be finite"),
        ([MAPS[0], 1], "an array of objects is read if it is one dict of arrays"),
    ],
)  # fmt: skip
def test_what_is_no_maps_of_the_classes_is_refused_with_what_to_do(
    stored: Any, rule: str, tmp_path: Path, truth: GroundTruth
) -> None:
    array = stored
    if isinstance(stored, list):
        array = np.empty(2, dtype=object)
        array[:] = stored
    np.save(tmp_path / IDS[1], array)
    with pytest.raises(BadFileError, match=rule):
        read(tmp_path, truth)


@pytest.mark.parametrize("axes", [(None,), (None, None)])
def test_single_axes_before_the_classes_are_dropped(axes: tuple[None, ...], tmp_path: Path, truth: GroundTruth) -> None:
    assert read(each(lambda path, maps: np.save(path, maps[axes]))(tmp_path), truth) == ALL


@pytest.mark.parametrize("place", [(0,), (0, 1), (2,)])
def test_single_axes_of_one_map_are_dropped(place: tuple[int, ...], tmp_path: Path, truth: GroundTruth) -> None:
    np.save(tmp_path / IDS[0], np.expand_dims(MAPS[0, 1], place))
    np.save(tmp_path / f"{IDS[1]}_eel", np.expand_dims(MAPS[1, 2], place))
    assert read(tmp_path, truth) == [ALL[1], ALL[5]]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("cat\ncow\neel\n", "row 1: Unknown class of toy 'cow'"),
        ("cat\ncat\neel\n", "row 1: class 'cat' is there twice"),
        ("cat\neel\n", r"its shape is \(3, 4, 5\), but classes.txt names 2 channels: cat, eel"),
        ("cat\neel\nbackground\npotted_plant", r"classes.txt names 4 channels: cat, eel, background, potted_plant"),
    ],
)
def test_a_list_of_channels_that_is_wrong_is_refused(text: str, rule: str, tmp_path: Path, truth: GroundTruth) -> None:
    (tmp_path / "classes.txt").write_text(text)
    np.save(tmp_path / IDS[0], MAPS[0])
    with pytest.raises(BadFileError, match=rule):
        read(tmp_path, truth)


def test_classes_without_a_channel_are_noted(tmp_path: Path, truth: GroundTruth) -> None:
    each(lambda path, maps: np.save(path, maps[:2]))(tmp_path)
    (tmp_path / "classes.txt").write_text("eel\nbackground\n")
    found = read_any(tmp_path, truth, ["maps"])
    assert found.table["label"].to_pylist() == ["eel", "eel"]
    assert found.notes == ("classes.txt names 1 of 3 classes, not cat, potted_plant",)


def test_the_same_class_twice_and_files_of_no_image_are_noticed(tmp_path: Path, truth: GroundTruth) -> None:
    each(lambda path, maps: np.save(path, maps))(tmp_path)
    np.save(tmp_path / "2008_cat.npy", MAPS[0, 0])
    assert read_any(tmp_path, truth, ["maps"]).notes == ("1 file of no image of toy test, left unread",)
    np.save(tmp_path / f"{IDS[0]}_cat.npy", MAPS[0, 0])
    with pytest.raises(BadFileError, match="image '2007_01', class 'cat': a second row"):
        read(tmp_path, truth)
    other = tmp_path / "other"
    other.mkdir()
    np.save(other / "2008_cat.npy", MAPS[0, 0])
    with pytest.raises(BadFileError, match=r"no file is of an image of toy test; expected 2007_01\.npy, 2007_01_cat"):
        read(other, truth)


class Bomb:
    """Does something when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("executed",)


def nested(depth: int) -> bytes:
    """A pickle of a dict whose key is a tuple of tuples of tuples, each twice the one before: hashing it never ends."""
    return b"}(" + b")" + b"2\x86" * depth + b"K\x01u."


def header(shape: str, kind: str = "|O") -> bytes:
    body = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body


@pytest.mark.parametrize(
    "content",
    [
        header("()") + nested(60),
        header("()") + b"K\x01r\xff\xff\xff\xff.",
        header("()") + b"\x80\x04\x8e" + b"\xff" * 7 + b"\x0f.",
        header("()") + b"(" * 100_000 + b".",
        header("(99999, 99999)") + b"N.",
        header("(3, 99999, 99999)", "<f4"),
        header("(3, 4)", "<f4") + b"\0" * 40,
        header("(" * 5000, "<f4"),
        b"PK\x03\x04 no archive",
        b"",
    ],
    ids=["nested keys", "memo", "length", "marks", "objects", "claims", "short", "header", "zip", "empty"],
)
def test_a_bomb_is_a_message(content: bytes, tmp_path: Path, truth: GroundTruth) -> None:
    for name in (f"{IDS[0]}.npy", f"{IDS[0]}.npz"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadFileError):
            read(tmp_path, truth)
        (tmp_path / name).unlink()


def test_an_archive_that_claims_or_packs_too_much_is_refused(
    tmp_path: Path, truth: GroundTruth, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / f"{IDS[0]}.npz", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.npy", header("(3, 9999999999, 9999999999)", "<f4"))
    with pytest.raises(BadFileError, match=r"2007_01\.npz/a\.npy: its header claims float32 \(3, 9999999999, .* 1 KiB"):
        read(tmp_path, truth)
    np.savez_compressed(tmp_path / IDS[0], np.zeros((3, 400, 400)))
    monkeypatch.setattr("bench.predictions.map_files._MOST_BYTES", 1000)
    with pytest.raises(BadFileError, match="may unpack to 3 KiB at most"):
        read(tmp_path, truth)
    for name in IDS:
        np.savez(tmp_path / name, MAPS[0].repeat(9, 1).repeat(9, 2))  # as large on the disk as unpacked
    assert len(read(tmp_path, truth)) == 6


def test_nothing_is_executed(tmp_path: Path, truth: GroundTruth, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save(IDS[0], {0: Bomb()})  # type: ignore[arg-type]
    with pytest.raises(BadFileError, match=r"it asks for .*mkdir, which is not allowed"):
        read(tmp_path, truth)
    Path(f"{IDS[0]}.npy").unlink()
    np.savez(IDS[0], a=np.array([Bomb()], dtype=object))
    with pytest.raises(BadFileError, match=r"not a readable array"):
        read(tmp_path, truth)
    assert [path.name for path in tmp_path.iterdir()] == [f"{IDS[0]}.npz"]
