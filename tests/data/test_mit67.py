"""The MIT Indoor 67 reader, on two small lists in its layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.core.files import Places
from bench.data.datasets import open_dataset
from bench.errors import BadFileError, MissingDataError, UnknownNameError


@pytest.fixture
def root(tmp_path: Path, places: Places) -> Places:
    (tmp_path / "MIT67").mkdir()
    (tmp_path / "MIT67" / "TrainImages.txt").write_text("kitchen/int474.jpg\nairport_inside/a b (1).jpg\n")
    (tmp_path / "MIT67" / "TestImages.txt").write_text("bakery/x.jpg\n\nkitchen/y.jpg")
    return Places(places.runs, tmp_path)


def test_the_class_is_the_folder_and_classes_are_sorted(root: Places, tmp_path: Path) -> None:
    dataset = open_dataset("mit67", root)
    train, test = dataset.ground_truth("train"), dataset.ground_truth("test")
    assert dataset.classes == ("airport_inside", "bakery", "kitchen")
    assert train.ids == ("kitchen/int474.jpg", "airport_inside/a b (1).jpg")
    assert train.labels.tolist() == [[-1, -1, 1], [1, -1, -1]]
    assert test.labels.tolist() == [[-1, 1, -1], [-1, -1, 1]]
    assert len(test.objects) == 0
    assert dataset.image_path("bakery/x.jpg") == tmp_path / "MIT67" / "Images" / "bakery" / "x.jpg"


def test_what_is_not_there_is_said(root: Places, tmp_path: Path, places: Places) -> None:
    with pytest.raises(UnknownNameError, match="Available: test, train"):
        open_dataset("mit67", root).ground_truth("val")
    (tmp_path / "MIT67" / "TestImages.txt").unlink()
    with pytest.raises(MissingDataError, match=r"TestImages\.txt of mit67 not found"):
        open_dataset("mit67", root)
    with pytest.raises(MissingDataError, match=r"indoorCVPR_09\.tar"):
        open_dataset("mit67", Places(places.runs, tmp_path / "far" / "away" / "from" / "it"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("kitchen.jpg\n", "row 0: expected class/name, but got 'kitchen.jpg'"),
        ("kitchen/a.jpg\nkitchen/a.jpg\n", "row 1: id 'kitchen/a.jpg' is listed twice"),
        ("kitchen/../a.jpg\n", "row 0: expected the name of a file"),
    ],
)
def test_a_list_that_breaks_a_rule_is_refused(root: Places, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "MIT67" / "TestImages.txt").write_text(text)
    with pytest.raises(BadFileError, match=r"TestImages\.txt") as caught:
        open_dataset("mit67", root)
    assert message in str(caught.value)
