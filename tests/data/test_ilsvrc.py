"""The ILSVRC readers, CLS-LOC and DET, on small sets in the layout that Kaggle and the devkit unpack to."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.core.files import Places
from bench.data.datasets import Dataset, open_dataset
from bench.errors import BadFileError, MissingDataError, RequestError, UnknownNameError

VAL = ("ILSVRC2012_val_00000003", "ILSVRC2012_val_00000001")


def annotation(*boxes: tuple[str, int, int, int, int]) -> str:
    items = "".join(
        f"<object><name>{name}</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult><bndbox>"
        f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for name, x1, y1, x2, y2 in boxes
    )
    size = "<size><width>500</width><height>375</height><depth>3</depth></size>"
    return f"<annotation><folder>val</folder>{size}<segmented>0</segmented>{items}</annotation>"


def put(root: Path, **texts: str) -> None:
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files = {
        "LOC_synset_mapping.txt": "n01751748 sea snake\nn01440764 tench, Tinca tinca\n",
        "ILSVRC/ImageSets/CLS-LOC/train_cls.txt": "n01751748/n01751748_7 1\nn01440764/n01440764_18 2\n",
        "ILSVRC/ImageSets/CLS-LOC/val.txt": f"{VAL[0]} 3\n{VAL[1]} 1\n",
        f"ILSVRC/Annotations/CLS-LOC/val/{VAL[0]}.xml": annotation(
            ("n01751748", 0, 0, 499, 374), ("n01751748", 111, 108, 441, 193)
        ),
        f"ILSVRC/Annotations/CLS-LOC/val/{VAL[1]}.xml": annotation(("n01440764", 5, 5, 5, 5)),
        "lists/ilsvrc2012/ILSVRC2014_clsloc_validation_blacklist.txt": "3\n9\n",
        "ILSVRC/devkit/data/map_det.txt": "n02672831 1 accordion\nn02691156 2 airplane\nn00007846 124 person\n",
        "ILSVRC/ImageSets/DET/val.txt": "ILSVRC2012_val_00000018 1\nILSVRC2013_val_00000565 2\n",
        "lists/ilsvrc2013-det/val1.txt": "ILSVRC2013_val_00000565\n",
        "ILSVRC/Annotations/DET/val/ILSVRC2012_val_00000018.xml": annotation(),
        "ILSVRC/Annotations/DET/val/ILSVRC2013_val_00000565.xml": annotation(
            ("n02691156", 0, 10, 20, 30), ("n00007846", 1, 1, 2, 2)
        ),
    }
    put(tmp_path, **files)
    return tmp_path


def opened(root: Path, places: Places, name: str = "ilsvrc2012", **options: str) -> Dataset:
    return open_dataset(name, Places(places.runs, root), options)


def read_all(root: Path, places: Places) -> None:
    for split in ("train", "val"):
        opened(root, places).ground_truth(split)


def test_classes_are_wordnet_ids_in_order_and_training_images_have_that_of_their_folder(
    root: Path, places: Places
) -> None:
    dataset = opened(root, places)
    truth = dataset.ground_truth("train")
    assert dataset.classes == ("n01440764", "n01751748")
    assert truth.ids == ("n01751748/n01751748_7", "n01440764/n01440764_18")
    assert truth.labels.tolist() == [[-1, 1], [1, -1]]
    assert len(truth.objects) == 0


def test_boxes_count_pixels_from_zero_and_hold_their_last(root: Path, places: Places) -> None:
    truth = opened(root, places).ground_truth("val")
    assert truth.ids == VAL
    assert truth.size.tolist() == [[500, 375]] * 2
    assert truth.labels.tolist() == [[-1, 1], [1, -1]]
    assert truth.objects.box.tolist() == [[0, 0, 500, 375], [111, 108, 442, 194], [5, 5, 6, 6]]


def test_the_blacklist_goes_by_the_number_in_the_id(root: Path, places: Places) -> None:
    listed, free = opened(root, places).ground_truth("val"), opened(root, places, blacklist="none").ground_truth("val")
    assert listed.blacklist is not None
    assert listed.blacklist.tolist() == [True, False]
    assert free.blacklist is None
    assert free.digest != listed.digest


def test_a_blacklist_that_is_not_there_is_named_with_the_way_around_it(root: Path, places: Places) -> None:
    dataset = opened(root, places, blacklist="2013")
    with pytest.raises(MissingDataError, match=r"ILSVRC2013_clsloc_validation_blacklist\.txt.*blacklist=none"):
        dataset.ground_truth("val")
    assert dataset.ground_truth("train").blacklist is None


def test_options_that_nobody_has_are_refused(root: Path, places: Places) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean: blacklist"):
        opened(root, places, blaklist="2014")
    with pytest.raises(RequestError, match="must be 2014, 2013, none, but got '2012'"):
        opened(root, places, blacklist="2012")


def test_photographs_are_found_by_every_kind_of_id(root: Path, places: Places) -> None:
    dataset, data = opened(root, places), root / "ILSVRC" / "Data" / "CLS-LOC"
    assert dataset.image_path("n01751748/n01751748_7") == data / "train" / "n01751748" / "n01751748_7.JPEG"
    assert dataset.image_path(VAL[0]) == data / "val" / f"{VAL[0]}.JPEG"
    assert dataset.image_path(f"val/{VAL[0]}.JPEG") == data / "val" / f"{VAL[0]}.JPEG"
    assert dataset.image_path("val2/995/0.jpeg") == data / "val2" / "995" / "0.jpeg"


def test_wsolevaluations_lists_are_splits_of_their_own(root: Path, places: Places) -> None:
    folder = root / "lists" / "wsolevaluation" / "metadata" / "ILSVRC" / "test"
    image = f"val/{VAL[1]}.JPEG"
    lists = {"image_ids": "", "class_labels": ",1", "image_sizes": ",500,375", "localization": ",111,108,441,193"}
    put(folder, **{f"{name}.txt": f"{image}{rest}\n" for name, rest in lists.items()})
    dataset = opened(root, places)
    assert dataset.splits() == ("train", "val", "wsolevaluation/test")
    truth = dataset.ground_truth("wsolevaluation/test")
    assert truth.labels.tolist() == [[-1, 1]]
    assert truth.objects.box.tolist() == [[111, 108, 441, 193]]


def test_det_has_the_lists_of_others_as_splits(root: Path, places: Places) -> None:
    dataset = opened(root, places, "ilsvrc2013-det")
    assert dataset.classes == ("n00007846", "n02672831", "n02691156")
    assert dataset.splits() == ("val", "val1")
    whole, half = dataset.ground_truth("val"), dataset.ground_truth("val1")
    assert whole.labels.tolist() == [[-1, -1, -1], [1, -1, 1]]
    assert half.ids == ("ILSVRC2013_val_00000565",)
    assert half.objects.label.tolist() == [2, 0]
    assert half.objects.box[0].tolist() == [0, 10, 21, 31]


def test_data_that_is_not_there_is_named(root: Path, places: Places, tmp_path: Path) -> None:
    (root / "ILSVRC/devkit/data/map_det.txt").unlink()
    with pytest.raises(MissingDataError, match=r"map_det\.txt"):
        opened(root, places, "ilsvrc2013-det")
    (root / f"ILSVRC/Annotations/CLS-LOC/val/{VAL[1]}.xml").unlink()
    with pytest.raises(MissingDataError, match=VAL[1]):
        opened(root, places).ground_truth("val")
    with pytest.raises(UnknownNameError, match="Available: train, val"):
        opened(root, places).ground_truth("test")
    with pytest.raises(MissingDataError, match=r"image-net\.org"):
        opened(tmp_path / "far" / "away" / "from" / "it", places)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "LOC_synset_mapping.txt",
            "n01440764 tench\nn01440764 tench\n",
            "row 1: expected a WordNet id that is not repeated",
        ),
        ("LOC_synset_mapping.txt", "tench\n", "row 0: expected a WordNet id"),
        ("ILSVRC/ImageSets/CLS-LOC/train_cls.txt", "n99999999/n99999999_1 1\n", "row 0: expected class/name"),
        ("ILSVRC/ImageSets/CLS-LOC/train_cls.txt", "n01440764/../../x 1\n", "row 0: expected the name of a file"),
        ("ILSVRC/ImageSets/CLS-LOC/train_cls.txt", "n01440764/a 1 2\n", "row 0: expected 1 or 2 fields"),
        (
            f"ILSVRC/Annotations/CLS-LOC/val/{VAL[0]}.xml",
            annotation(("n01440764", 0, 0, 1, 1), ("n01751748", 0, 0, 1, 1)),
            "expected objects of exactly one class",
        ),
        (f"ILSVRC/Annotations/CLS-LOC/val/{VAL[0]}.xml", annotation(), "expected objects of exactly one class"),
        (f"ILSVRC/Annotations/CLS-LOC/val/{VAL[0]}.xml", annotation(("n0175174", 0, 0, 1, 1)), "Did you mean"),
        (f"ILSVRC/Annotations/CLS-LOC/val/{VAL[0]}.xml", annotation(("n01751748", 5, 0, 4, 1)), "inverted box"),
        ("lists/ilsvrc2012/ILSVRC2014_clsloc_validation_blacklist.txt", "3\nx\n", "row 1: expected a whole number"),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused(root: Path, places: Places, name: str, text: str, message: str) -> None:
    (root / name).write_text(text)
    with pytest.raises(BadFileError) as caught:
        read_all(root, places)
    assert str(caught.value).startswith(str(root / name))
    assert message in str(caught.value)


def test_an_id_without_a_number_cannot_be_held_against_the_blacklist(root: Path, places: Places) -> None:
    put(root, **{"ILSVRC/ImageSets/CLS-LOC/val.txt": "photo\n"})
    put(root, **{"ILSVRC/Annotations/CLS-LOC/val/photo.xml": annotation(("n01751748", 0, 0, 1, 1))})
    with pytest.raises(BadFileError, match=r"val\.txt.*photo"):
        opened(root, places).ground_truth("val")
