"""The CUB reader, on a small set in CUB's own layout."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from bench.core.files import Places
from bench.data.cub import CubDataset
from bench.data.datasets import open_dataset
from bench.errors import BadFileError, MissingDataError, UnknownNameError

IDS = (
    "001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg",
    "001.Black_footed_Albatross/Black_Footed_Albatross_0009_34.jpg",
    "002.Laysan_Albatross/Laysan_Albatross_0002_1027.jpg",
)
LISTS = {
    "classes.txt": "1 001.Black_footed_Albatross\n2 002.Laysan_Albatross\n",
    "images.txt": "".join(f"{row} {name}\n" for row, name in enumerate(IDS, 1)),
    "image_class_labels.txt": "1 1\n2 1\n3 2\n",
    "train_test_split.txt": "1 0\n2 1\n3 0\n",
    "bounding_boxes.txt": "1 60.0 27.0 325.0 304.0\n2 139.0 30.0 153.0 264.0\n3 144.5 40.0 333.0 165.0\n",
}
SIZES = {IDS[0]: (500, 335), IDS[1]: (500, 336), IDS[2]: (500, 300)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "CUB_200_2011"
    folder.mkdir()
    for name, text in LISTS.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def sizes(tmp_path: Path) -> Path:
    path = tmp_path / "lists" / "wsolevaluation" / "metadata" / "CUB" / "test" / "image_sizes.txt"
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"{name},{SIZES[name][0]},{SIZES[name][1]}\n" for name in (IDS[2], IDS[0])))
    return path


@pytest.fixture
def cub(folder: Path, tmp_path: Path, places: Places) -> CubDataset:
    opened = open_dataset("cub", Places(places.runs, tmp_path))
    assert isinstance(opened, CubDataset)
    return opened


def test_test_images_come_with_class_box_and_listed_size(cub: CubDataset, sizes: Path) -> None:
    truth = cub.ground_truth("test")
    assert cub.classes == ("001.Black_footed_Albatross", "002.Laysan_Albatross")
    assert truth.ids == (IDS[0], IDS[2])
    assert truth.size.tolist() == [[500, 335], [500, 300]]
    assert truth.labels.tolist() == [[1, -1], [-1, 1]]
    assert truth.objects.label.tolist() == [0, 1]
    assert truth.objects.box.tolist() == [[60, 27, 385, 331], [144.5, 40, 477.5, 205]]


def test_without_the_list_photographs_say_their_size(cub: CubDataset, folder: Path) -> None:
    photograph = folder / "images" / IDS[1]
    photograph.parent.mkdir(parents=True)
    Image.new("RGB", (50, 33)).save(photograph)
    truth = cub.ground_truth("train")
    assert truth.ids == (IDS[1],)
    assert truth.size.tolist() == [[50, 33]]


def test_without_either_it_says_which_of_the_two_is_wanted(cub: CubDataset) -> None:
    with pytest.raises(MissingDataError, match=r"image_sizes\.txt.*images \(2 are missing\)"):
        cub.ground_truth("test")


def test_wsolevaluations_splits_stand_beside_its_own(cub: CubDataset, sizes: Path) -> None:
    lists = {"image_ids": "{}", "class_labels": "{},1", "localization": "{},1,2,3,4", "image_sizes": "{},9,8"}
    for name, line in lists.items():
        (sizes.parent / f"{name}.txt").write_text(line.format(IDS[2]) + "\n")
    assert cub.splits() == ("test", "train", "wsolevaluation/test")
    truth = cub.ground_truth("wsolevaluation/test")
    assert truth.split == "wsolevaluation/test"
    assert truth.ids == (IDS[2],)
    assert truth.objects.box.tolist() == [[1, 2, 3, 4]]
    with pytest.raises(UnknownNameError, match="wsolevaluation/test"):
        cub.ground_truth("wsolevaluation/tset")


def test_cub_that_is_not_there_says_how_to_get_it(tmp_path: Path, places: Places) -> None:
    with pytest.raises(MissingDataError, match=r"CUB_200_2011\.tgz"):
        open_dataset("cub", Places(places.runs, tmp_path))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("images.txt", "1 a.jpg\n3 b.jpg\n4 c.jpg\n", "row 1: expected number 2, but got '3'"),
        ("images.txt", "1 a.jpg\n2 a.jpg\n3 c.jpg\n", "row 1: id 'a.jpg' is listed twice"),
        ("images.txt", "1 a.jpg\n2 ../../b.jpg\n3 c.jpg\n", "row 1: expected the name of a file"),
        ("images.txt", "1 a b.jpg\n", "row 0: expected 2 fields"),
        ("image_class_labels.txt", "1 1\n2 3\n3 1\n", "row 1: expected a whole number from 1 to 2"),
        ("image_class_labels.txt", "1 1\n2 1\n", "has 2 rows, but images.txt has 3"),
        ("train_test_split.txt", "1 1\n2 2\n3 0\n", "row 1: expected a whole number from 0 to 1"),
        ("bounding_boxes.txt", LISTS["bounding_boxes.txt"].replace("325.0", "-3"), "row 0: a box needs a width"),
        ("bounding_boxes.txt", LISTS["bounding_boxes.txt"].replace("153.0", "inf"), "row 1: expected a number"),
    ],
)
def test_a_list_that_breaks_a_rule_is_refused(
    cub: CubDataset, folder: Path, sizes: Path, name: str, text: str, message: str
) -> None:
    (folder / name).write_text(text)
    with pytest.raises(BadFileError) as caught:
        cub.ground_truth("test")
    assert str(caught.value).startswith(str(folder / name))
    assert message in str(caught.value)
