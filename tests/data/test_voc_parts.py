"""Lists that a track names and a publisher does not have are made from the publisher's."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.core.files import Places
from bench.data.dataset import Dataset
from bench.data.datasets import open_dataset
from bench.data.voc import read_ids
from bench.data.voc_parts import RARE, RULES
from bench.errors import BadFileError, UnknownNameError

LISTS = {
    "trainval": (*(f"{number:06}" for number in range(1, 41)), "005042"),
    "train": tuple(f"{number:06}" for number in range(1, 41, 2)),
    "val": (*(f"{number:06}" for number in range(2, 41, 2)), "005042"),
    "Segmentation/val": ("000001", "009623"),
}


@pytest.mark.parametrize(
    ("split", "ids"),
    [
        ("val_have", LISTS["val"][:-1]),
        ("Segmentation/val_have", ("000001",)),
        ("trainval_subset", tuple(f"{number:06}" for number in range(1, 41, 5))),
        ("train_subset", ("000001", "000011", "000021", "000031")),
        ("val_subset", ("000006", "000016", "000026", "000036")),
        ("val_500", ("000002", "000012", "000022", "000032")),
    ],
)
def test_a_list_is_made_by_its_rule(split: str, ids: tuple[str, ...]) -> None:
    assert RULES[split](LISTS.__getitem__) == ids


def test_of_the_first_500_fifths_none_is_rare() -> None:
    many = {"val": (*sorted(RARE), *(f"1{number:05}" for number in range(5000)))}
    ids = RULES["val_500"](many.__getitem__)
    assert ids == tuple(f"1{number:05}" for number in range(0, 2500, 5))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A VOC without objects: two images of val, one of them rare."""
    root = tmp_path / "VOCdevkit" / "VOC2007"
    for name in ("Annotations", "ImageSets/Main"):
        (root / name).mkdir(parents=True)
    for image in ("000001", "005042"):
        text = "<annotation><size><width>9</width><height>9</height></size></annotation>"
        (root / "Annotations" / f"{image}.xml").write_text(text)
    (root / "ImageSets" / "Main" / "val.txt").write_text("000001\n005042\n")
    return root


def open_voc(dataset: str, root: Path) -> Dataset:
    return open_dataset(dataset, Places(root / "runs", root))


def test_a_dataset_has_the_list_with_or_without_a_file_of_it(tmp_path: Path, folder: Path) -> None:
    voc = open_voc("voc2007", tmp_path)
    assert voc.ground_truth("val_have").ids == ("000001",)
    for split in ("train_have", "val_400", "Segmentation/val_have"):
        with pytest.raises(UnknownNameError, match=f"'{split}'"):
            voc.ground_truth(split)
    folder.with_name("VOC2010").symlink_to(folder)
    with pytest.raises(UnknownNameError):
        open_voc("voc2010", tmp_path).ground_truth("val_have")


def test_a_file_of_a_list_has_the_images_of_its_rule(tmp_path: Path, folder: Path) -> None:
    file = folder / "ImageSets" / "Main" / "val_have.txt"
    file.write_text("000001\n")
    assert open_voc("voc2007", tmp_path).ground_truth("val_have").ids == ("000001",)
    file.write_text("005042\n")
    with pytest.raises(BadFileError, match=r"val_have\.txt.*not the images that val_have of voc2007 has"):
        open_voc("voc2007", tmp_path).ground_truth("val_have")


@pytest.mark.voc2007
def test_the_lists_of_the_published_results_are_those_of_the_rules(data_root: Path) -> None:
    sets = data_root / "VOCdevkit" / "VOC2007" / "ImageSets"

    def read(split: str) -> tuple[str, ...]:
        return read_ids(sets / (f"{split}.txt" if "/" in split else f"Main/{split}.txt"))

    for name, rule in RULES.items():
        assert rule(read) == read(name), name
