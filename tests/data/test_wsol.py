"""wsolevaluation's lists, written as it publishes them: boxes for ILSVRC and CUB, masks for OpenImages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.core.files import Places
from bench.data.datasets import Dataset, open_dataset
from bench.data.wsol import list_splits, read_ground_truth
from bench.errors import BadFileError, MissingDataError, UnknownNameError

CLASSES = ("001.Black_footed_Albatross", "002.Laysan_Albatross")
LISTS = {
    "image_ids.txt": "001.Black_footed_Albatross/a.jpg\n002.Laysan_Albatross/b.jpg\n001.Black_footed_Albatross/c.jpg\n",
    "class_labels.txt": (
        "001.Black_footed_Albatross/a.jpg,0\n002.Laysan_Albatross/b.jpg,1\n001.Black_footed_Albatross/c.jpg,0\n"
    ),
    "image_sizes.txt": (
        "001.Black_footed_Albatross/a.jpg,500,335\n002.Laysan_Albatross/b.jpg,480,500\n"
        "001.Black_footed_Albatross/c.jpg,300,200\n"
    ),
    "localization.txt": (
        "002.Laysan_Albatross/b.jpg,14,112,402,298\n001.Black_footed_Albatross/a.jpg,60,27,385,331\n"
        "001.Black_footed_Albatross/c.jpg,1,2,3,4\n002.Laysan_Albatross/b.jpg,0,0,499,288\n"
    ),
}
MASKS = {
    "image_ids.txt": "val/0bt_c3/1cd9ac0169ec7df0.jpg\nval/0by6g/490365f63135f3e0.jpg\n",
    "class_labels.txt": "val/0bt_c3/1cd9ac0169ec7df0.jpg,1\nval/0by6g/490365f63135f3e0.jpg,0\n",
    "localization.txt": (
        "val/0bt_c3/1cd9ac0169ec7df0.jpg,val/0bt_c3/1cd9_m0.png,val/0bt_c3/1cd9_ignore.png\n"
        "val/0bt_c3/1cd9ac0169ec7df0.jpg,val/0bt_c3/1cd9_m1.png,\n"
        "val/0by6g/490365f63135f3e0.jpg,val/0by6g/4903_m0.png,\n"
    ),
}


def write(folder: Path, lists: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in lists.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    return write(tmp_path / "metadata" / "CUB" / "test", LISTS)


@pytest.fixture
def openimages(tmp_path: Path, places: Places) -> Callable[[], Dataset]:
    write(tmp_path / "lists" / "wsolevaluation" / "metadata" / "OpenImages" / "val", MASKS)
    for name in ("0bt_c3/1cd9_m0", "0bt_c3/1cd9_m1", "0bt_c3/1cd9_ignore", "0by6g/4903_m0"):
        path = tmp_path / "OpenImages" / "val" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return lambda: open_dataset("openimages", Places(places.runs, tmp_path))


def test_boxes_stand_as_they_are_listed_with_each_image_in_its_place(boxes: Path, tmp_path: Path) -> None:
    truth = read_ground_truth("cub", "test", boxes, CLASSES, tmp_path)
    assert truth.ids[1] == "002.Laysan_Albatross/b.jpg"
    assert truth.size.tolist() == [[500, 335], [480, 500], [300, 200]]
    assert truth.labels.tolist() == [[1, -1], [-1, 1], [1, -1]]
    assert truth.objects.image.tolist() == [0, 1, 1, 2]
    assert truth.objects.label.tolist() == [0, 1, 1, 0]
    assert truth.objects.box.tolist() == [[60, 27, 385, 331], [14, 112, 402, 298], [0, 0, 499, 288], [1, 2, 3, 4]]
    assert truth.masks is None


def test_training_images_need_no_localization_but_others_do(boxes: Path, tmp_path: Path) -> None:
    (boxes / "localization.txt").unlink()
    with pytest.raises(MissingDataError, match="fetch wsolevaluation"):
        read_ground_truth("cub", "test", boxes, CLASSES, tmp_path)
    train = boxes.rename(boxes.with_name("train"))
    truth = read_ground_truth("cub", "train", train, CLASSES, tmp_path)
    assert len(truth.objects) == 0
    assert truth.labels[1].tolist() == [-1, 1]


def test_splits_are_the_folders_that_hold_ids(boxes: Path) -> None:
    (boxes.parent / "empty").mkdir()
    assert list_splits(boxes.parent) == ("test",)


def test_masks_and_what_they_ignore_are_found_beside_the_photographs(
    openimages: Callable[[], Dataset], tmp_path: Path
) -> None:
    dataset = openimages()
    truth = dataset.ground_truth("val")
    folder = tmp_path / "OpenImages" / "val"
    assert dataset.classes == ("0by6g", "0bt_c3")
    assert truth.masks is not None
    assert not truth.masks.indexed
    assert truth.masks.files == (
        (folder / "0bt_c3" / "1cd9_m0.png", folder / "0bt_c3" / "1cd9_m1.png"),
        (folder / "0by6g" / "4903_m0.png",),
    )
    assert truth.masks.ignore == (folder / "0bt_c3" / "1cd9_ignore.png", None)
    assert truth.labels.tolist() == [[-1, 1], [1, -1]]
    assert not truth.size.any()
    assert dataset.image_path(truth.ids[0]) == folder / "0bt_c3" / "1cd9ac0169ec7df0.jpg"


def test_a_mask_that_is_not_there_is_named(openimages: Callable[[], Dataset], tmp_path: Path) -> None:
    (tmp_path / "OpenImages" / "val" / "0bt_c3" / "1cd9_m1.png").unlink()
    with pytest.raises(MissingDataError, match=r"1cd9_m1\.png"):
        openimages().ground_truth("val")


def test_openimages_without_its_lists_says_where_they_belong(tmp_path: Path, places: Places) -> None:
    with pytest.raises(MissingDataError, match="lists/wsolevaluation/metadata/OpenImages"):
        open_dataset("openimages", Places(places.runs, tmp_path))


def test_an_unknown_split_is_refused(openimages: Callable[[], Dataset]) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean: val"):
        openimages().ground_truth("vall")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("image_ids.txt", "", "is empty"),
        ("image_ids.txt", "a/b.jpg\na/b.jpg\n", "row 1: id 'a/b.jpg' is listed twice"),
        ("image_ids.txt", "../b.jpg\n", "row 0: expected the name of a file"),
        ("image_ids.txt", "/b.jpg\n", "expected the name of a file"),
        ("image_ids.txt", "a//b.jpg\n", "expected the name of a file"),
        ("image_ids.txt", "a/..\n", "expected the name of a file"),
        ("class_labels.txt", LISTS["class_labels.txt"] + "x.jpg,0\n", "row 3: image 'x.jpg' is not in image_ids.txt"),
        ("class_labels.txt", "002.Laysan_Albatross/b.jpg,1\n", "lacks 2 images (first: 001.Black"),
        ("class_labels.txt", "002.Laysan_Albatross/b.jpg,2\n", "row 0: expected a whole number from 0 to 1"),
        ("class_labels.txt", "002.Laysan_Albatross/b.jpg\n", "row 0: expected 2 fields"),
        ("image_sizes.txt", "002.Laysan_Albatross/b.jpg,0,5\n", "expected a whole number from 1 to 65535"),
        ("image_sizes.txt", "002.Laysan_Albatross/b.jpg,5,1e9\n", "expected a whole number"),
        ("localization.txt", "002.Laysan_Albatross/b.jpg,5,5,4,9\n", "row 0: inverted box"),
        ("localization.txt", "002.Laysan_Albatross/b.jpg,5,nan,4,9\n", "row 0: expected a number, but got 'nan'"),
        ("localization.txt", "002.Laysan_Albatross/b.jpg,5,5,6,9\n", "lacks 2 images"),
        ("localization.txt", LISTS["localization.txt"] + "a,b,c\n", "row 4: expected 5 fields as in the first row"),
        ("localization.txt", "a,b,c,d\n", "row 0: expected 3 or 5 fields"),
    ],
)
def test_a_list_that_breaks_a_rule_is_refused(boxes: Path, name: str, text: str, message: str) -> None:
    (boxes / name).write_text(text)
    with pytest.raises(BadFileError) as caught:
        read_ground_truth("cub", "test", boxes, CLASSES, boxes)
    assert str(caught.value).startswith(str(boxes / name))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("class_labels.txt", "val/0bt_c3/a.jpg,0\nval/0by6g/b.jpg,0\n", "row 1: label 0 must have one folder"),
        ("class_labels.txt", "val/0bt_c3/a.jpg,1\n", "labels must count from 0"),
        ("class_labels.txt", "a.jpg,0\n", "must have one folder"),
        ("localization.txt", "val/0bt_c3/1cd9ac0169ec7df0.jpg,../../x.png,\n", "expected the name of a file"),
        (
            "localization.txt",
            "val/0by6g/490365f63135f3e0.jpg,,val/0bt_c3/1cd9_ignore.png\n",
            "row 0: expected a mask",
        ),
        (
            "localization.txt",
            "val/0by6g/490365f63135f3e0.jpg,val/0by6g/4903_m0.png,\n"
            "val/0by6g/490365f63135f3e0.jpg,val/0by6g/4903_m0.png,val/0bt_c3/1cd9_ignore.png\n",
            "row 1: expected a mask, and what to ignore with the first",
        ),
    ],
)
def test_a_list_of_masks_that_breaks_a_rule_is_refused(
    openimages: Callable[[], Dataset], tmp_path: Path, name: str, text: str, message: str
) -> None:
    path = tmp_path / "lists" / "wsolevaluation" / "metadata" / "OpenImages" / "val" / name
    path.write_text(text)
    with pytest.raises(BadFileError) as caught:
        openimages().ground_truth("val")
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_bytes_that_are_no_text_are_refused(boxes: Path) -> None:
    (boxes / "image_ids.txt").write_bytes(b"\xff\xfe" + np.arange(9, dtype=np.uint8).tobytes())
    with pytest.raises(BadFileError, match="not UTF-8 text"):
        read_ground_truth("cub", "test", boxes, CLASSES, boxes)
