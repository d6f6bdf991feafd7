"""VOC's segmentation lists: truth with class masks; and lists that VOC does not bring."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.core.files import Places
from bench.data.datasets import Dataset, open_dataset
from bench.data.voc import VocDataset
from bench.errors import MissingDataError, UnknownNameError

ANNOTATION = (
    "<annotation><size><width>4</width><height>3</height></size><object><name>cat</name><bndbox><xmin>1</xmin>"
    "<ymin>1</ymin><xmax>4</xmax><ymax>3</ymax></bndbox></object></annotation>"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "VOCdevkit" / "VOC2012"
    texts = {
        "ImageSets/Main/val.txt": "2007_000033\n2007_000042\n",
        "ImageSets/Segmentation/val.txt": "2007_000042\n",
        "ImageSets/Segmentation/train.txt": "2007_000033\n",
        "Annotations/2007_000033.xml": ANNOTATION,
        "Annotations/2007_000042.xml": ANNOTATION,
        "SegmentationClass/2007_000042.png": "a mask",
    }
    texts = {f"VOCdevkit/VOC2012/{name}": text for name, text in texts.items()}
    for name, text in {**texts, "lists/voc2012/train_aug.txt": "2007_000042\n2007_000033\n"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return folder


@pytest.fixture
def voc(folder: Path, tmp_path: Path, places: Places) -> Dataset:
    return open_dataset("voc2012", Places(places.runs, tmp_path))


def test_segmentation_lists_bring_one_class_mask_an_image(voc: Dataset, folder: Path) -> None:
    truth = voc.ground_truth("Segmentation/val")
    assert truth.split == "Segmentation/val"
    assert truth.ids == ("2007_000042",)
    assert len(truth.objects) == 1
    assert truth.masks is not None
    assert truth.masks.indexed
    assert truth.masks.files == ((folder / "SegmentationClass" / "2007_000042.png",),)
    assert truth.masks.ignore == (None,)


def test_the_same_name_elsewhere_is_another_split_without_masks(voc: Dataset) -> None:
    assert voc.splits() == ("Segmentation/train", "Segmentation/val", "train_aug", "val")
    assert voc.ground_truth("val").masks is None
    assert voc.ground_truth("val").ids == ("2007_000033", "2007_000042")
    assert voc.ground_truth("train_aug").ids == ("2007_000042", "2007_000033")


def test_a_mask_that_is_not_there_is_named(voc: Dataset) -> None:
    with pytest.raises(MissingDataError, match=r"class mask 2007_000033 .*SegmentationClass"):
        voc.ground_truth("Segmentation/train")


@pytest.mark.parametrize("split", ["Segmentation/tarin", "Segmentation/", "Segmentation/../Main/val", "../Main/val"])
def test_no_other_file_is_a_split(voc: Dataset, split: str) -> None:
    with pytest.raises(UnknownNameError, match="Segmentation/train"):
        voc.ground_truth(split)


@pytest.mark.voc2007
def test_the_632_masks_of_voc_2007_are_those_of_trainval_and_test(data_root: Path, places: Places) -> None:
    voc = open_dataset("voc2007", Places(places.runs, data_root))
    assert isinstance(voc, VocDataset)
    trainval, test = voc.ground_truth("Segmentation/trainval"), voc.ground_truth("Segmentation/test")
    assert (len(trainval.ids), len(test.ids)) == (422, 210)
    assert trainval.digest != test.digest
