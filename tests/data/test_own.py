"""Datasets of one's own: what is recognised, read, said of what is odd, and refused."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import own_cases
import pytest
from own_cases import CLASSES, CMYK, EMPTY, GREY, NAMES, SIDE, TEST, TRAIN, TURNED, objects
from PIL import Image

from bench.core.files import Places
from bench.core.toml import check_toml
from bench.data.dataset import Dataset
from bench.data.datasets import open_dataset
from bench.data.description import Description, format_description, read_description
from bench.data.label_table import read_label_rows
from bench.data.oddities import list_oddities
from bench.data.own import OwnDataset
from bench.data.recognise import describe_folder
from bench.errors import BadFileError, MissingDataError, RequestError, UnknownNameError

WRITERS = {"voc": own_cases.write_voc, "coco": own_cases.write_coco, "csv": own_cases.write_csv}


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.data.datasets.DESCRIPTIONS", {})


def describe(folder: Path, **more: str) -> Dataset:
    """Describe a folder in `mine.toml` beside it, with more keys, and open it."""
    file = folder.parent / "mine.toml"
    file.unlink(missing_ok=True)
    description = describe_folder(folder, file).description
    raw = description.model_dump(exclude_unset=True) | more
    file.write_text(format_description(check_toml(file, raw, Description)), encoding="utf-8")
    assert read_description(file).model_dump() == description.model_dump() | more
    return OwnDataset(file, read_description(file), folder.parent / "cache")


@pytest.mark.parametrize("layout", WRITERS)
def test_each_layout_is_recognised_and_has_the_same_ground_truth(layout: str, tmp_path: Path) -> None:
    dataset = describe(WRITERS[layout](tmp_path / "set"))
    assert (dataset.classes, dataset.splits()) == (CLASSES, ("train", "test"))
    for split, names in (("train", TRAIN), ("test", TEST)):
        truth = dataset.ground_truth(split)
        expected = [(names.index(name), label, *box) for name in names for label, box in objects(name)]
        found = zip(truth.objects.image, truth.objects.label, truth.objects.box.tolist(), strict=True)
        assert [(image, CLASSES[label], *box) for image, label, box in found] == expected
        assert [dataset.image_path(image).stem for image in truth.ids] == names
        assert truth.size.tolist() == [[SIDE, SIDE]] * len(names)
        assert truth.masks is not None
        assert truth.masks.indexed
        assert not dataset.list_missing_images(truth.ids)
    shown = dataset.ground_truth("train").labels[TRAIN.index(EMPTY)]
    assert shown.tolist() == [-1, -1]


def test_folders_of_classes_have_labels_and_boxes_from_a_table(tmp_path: Path) -> None:
    dataset = describe(own_cases.write_folders(tmp_path / "set"))
    truth = dataset.ground_truth("test")
    assert dataset.classes == CLASSES
    assert set(truth.ids) == {f"test/{CLASSES[NAMES.index(name) % 2]}/{name}.jpg" for name in TEST}
    assert (truth.labels == 1).sum(axis=1).tolist() == [1] * len(TEST)
    (name, *_) = (Path(image).stem for image in truth.ids)
    assert truth.objects.box[0].tolist() == list(objects(name, of_one_class=True)[0][1])
    assert len(describe(own_cases.write_folders(tmp_path / "labels", boxes=False)).ground_truth("test").objects) == 0


def test_a_folder_without_splits_is_divided_and_says_so(tmp_path: Path) -> None:
    for row, label in enumerate("abab" * 5):
        own_cases.write_photograph(tmp_path / "set" / label / f"{row}.jpg", NAMES[row % 12])
    description, notes, _ = describe_folder(tmp_path / "set", tmp_path / "mine.toml")
    dataset = OwnDataset(tmp_path / "mine.toml", description, tmp_path / "cache")
    assert {split: len(dataset.ground_truth(split).ids) for split in dataset.splits()} == {
        "all": 20, "train": 16, "test": 4
    }  # fmt: skip
    assert dataset.ground_truth("test").split == "test"
    assert "no splits found: every fifth image is in test, the others are in train" in notes


def test_splits_with_the_same_numbers_have_their_files_as_ids(tmp_path: Path) -> None:
    dataset = describe(own_cases.write_coco(tmp_path / "set", doubled=True))
    assert dataset.ground_truth("test").ids[0] == f"test/{TEST[0]}.jpg"
    file = tmp_path / "mine.toml"
    file.write_text(file.read_text(encoding="utf-8").replace('ids = "file"', 'ids = "number"'), encoding="utf-8")
    broken = OwnDataset(file, read_description(file), tmp_path / "cache")
    broken.ground_truth("train")
    with pytest.raises(BadFileError, match=r"id '0' also belongs to an image of another split \(set ids = \"file\"\)"):
        broken.ground_truth("test")


def test_what_is_odd_is_said_with_numbers(tmp_path: Path) -> None:
    folder = own_cases.write_csv(tmp_path / "set")
    photographs = folder / "images"
    (photographs / f"{TEST[0]}.jpg").write_bytes((photographs / f"{TRAIN[0]}.jpg").read_bytes())
    (photographs / f"{TEST[1]}.jpg").unlink()
    (photographs / f"{TEST[2]}.jpg").write_text("nothing")
    with (folder / "train.csv").open("a", encoding="utf-8") as file:
        file.write(f"\ndeep.png,{CLASSES[0]},1,1,99,9")
    Image.fromarray(np.full((9, 9), 999, np.uint16)).save(photographs / "deep.png")
    found = "\n".join(list_oddities(describe(folder)))
    for line in (
        f"1 image in greyscale (read as RGB): {GREY}.jpg",
        f"1 image in CMYK (read as RGB): {CMYK}.jpg",
        f"viewers rotate them): {TURNED}.jpg",
        "1 image in 16-bit greyscale (the upper 8 bits are read; convert images that use fewer): deep.png",
        f"1 image missing from disk: {TEST[1]}.jpg",
        f"1 image that cannot be read (not a JPEG or PNG image): {TEST[2]}.jpg",
        f"2 images are the same photograph: {TRAIN[0]}.jpg, {TEST[0]}.jpg (in train, test)",
        f"1 image in train without a class: {EMPTY}.jpg",
        "1 box in train beyond the edge of the image",
    ):
        assert line in found


DESCRIPTION = """
name = "mine"
layout = "csv"
images = "images"
classes = ["a", "b"]

[splits]
train = "train.csv"
part = "train:1of2"
"""


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "mine"', "", "mine.toml: name: Field required"),
        ('name = "mine"', 'name = "my set"', "mine.toml: name: String should match pattern"),
        (
            'layout = "csv"',
            'layout = "yolo"',
            "layout: Input should be 'voc', 'coco', 'folder' or 'csv', but got 'yolo'",
        ),
        ('"a", "b"', '"a", "a"', "classes: class 'a' is listed twice"),
        ('"a", "b"', '"a", "../b"', "classes: '../b' cannot be the name of a class"),
        ('"a", "b"', "", "classes: Tuple should have at least 1 item"),
        ('images = "images"', 'images = "../images"', "images: expected a path below the dataset's folder"),
        ('images = "images"', 'masks = "/etc"', "masks: expected a path below the dataset's folder, but got '/etc'"),
        ('images = "images"', 'ids = "file"', "ids: only layout coco has this key, and this one is csv"),
        ('images = "images"', 'imges = "images"', "mine.toml: Unknown key 'imges'. Did you mean: images"),
        ('"train.csv"', '"../train.csv"', "splits.train.file: expected a path below the dataset's folder"),
        ('"train:1of2"', '"all:1of2"', "splits.part: 'all:1of2' must be part of a split that is read from a file"),
        ("[splits]", "[splits", "mine.toml: not valid TOML"),
    ],
)
def test_a_description_that_breaks_a_rule_is_refused_by_key(tmp_path: Path, old: str, new: str, says: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(DESCRIPTION.replace(old, new))
    with pytest.raises(BadFileError) as error:
        read_description(file)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected a header with image and label"),
        ("image,label,x1\n", "expected the columns x1, y1, x2, y2 or none of them"),
        ("image,label\n1.jpg,c\n", "row 0: Unknown class 'c'. Available: a, b."),
        ("image,label\n../1.jpg,a\n", "row 0: expected the name of a file, but got '../1.jpg'"),
        ("image,label\n1.jpg,a,\n", "row 0: expected 2 fields, but got 3"),
        ("image,label,x1,y1,x2,y2\n1.jpg,a,5,5,1,9\n", "row 0: inverted box: x1, y1, x2, y2 are 5, 5, 1, 9"),
        ("image,label,x1,y1,x2,y2\n1.jpg,a,nan,5,1,9\n", "row 0: expected a number, but got 'nan'"),
        ("image,label,x1,y1,x2,y2\n1.jpg,a,,5,1,9\n", "row 0: a box needs a label, x1, y1, x2 and y2"),
        ("image,label,difficult\n1.jpg,a,yes\n", "row 0: difficult must be 0 or 1, but got 'yes'"),
        ('image,label\n"1.jpg,a\n', "not valid CSV"),
        ("image,label\n", "lists no images"),
    ],
)
def test_a_table_that_breaks_a_rule_is_refused_by_row(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "train.csv").write_text(text)
    (tmp_path / "mine.toml").write_text(DESCRIPTION)
    dataset = OwnDataset(tmp_path / "mine.toml", read_description(tmp_path / "mine.toml"), tmp_path / "cache")
    with pytest.raises(BadFileError) as error:
        dataset.ground_truth("train")
    assert says in str(error.value)


def test_a_class_that_is_only_difficult_is_neither_present_nor_absent(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("label,image,difficult\na,1.jpg,1\nb,1.jpg,1\nb,1.jpg,\na,2.jpg,0\n")
    (tmp_path / "mine.toml").write_text(DESCRIPTION)
    dataset = OwnDataset(tmp_path / "mine.toml", read_description(tmp_path / "mine.toml"), tmp_path / "cache")
    truth = dataset.ground_truth("train")
    assert truth.labels.tolist() == [[0, 1], [1, -1]]
    assert dataset.ground_truth("part").ids == ("1.jpg",)
    assert dataset.list_missing_images(truth.ids) == ["1.jpg", "2.jpg"]
    assert len(read_label_rows(tmp_path / "train.csv", ("a", "b"))) == 4
    with pytest.raises(UnknownNameError, match=r"split of mine 'trian'\. Did you mean: train"):
        dataset.ground_truth("trian")
    with pytest.raises(RequestError, match=r"has no image '3\.jpg'"):
        dataset.image_path("3.jpg")


def test_a_table_of_boxes_speaks_of_the_images_in_the_folders(tmp_path: Path) -> None:
    folder = own_cases.write_folders(tmp_path / "set")
    first = f"train/{CLASSES[0]}/{TRAIN[0]}.jpg"
    for line, says in (
        (f"gone.jpg,{CLASSES[0]},1,1,2,2", "there is no image 'gone.jpg'"),
        (f"{first},{CLASSES[1]},1,1,2,2", "is not the class of its folder"),
    ):
        (folder / "boxes.csv").write_text(f"image,label,x1,y1,x2,y2\n{line}\n", encoding="utf-8")
        with pytest.raises(BadFileError, match=says):
            describe(folder).ground_truth("train")


@pytest.mark.parametrize(
    ("files", "says"), [({}, "No dataset recognised"), ({"a.json": "[]", "b.csv": "x"}, "(folder).")]
)
def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path, files: dict[str, str], says: str) -> None:
    (tmp_path / "set").mkdir()
    for name, text in files.items():
        (tmp_path / "set" / name).write_text(text)
    with pytest.raises(RequestError) as error:
        describe(tmp_path / "set")
    assert says in str(error.value)


@pytest.mark.parametrize(("file", "says"), [("there.toml", "already exists"), ("voc2007.toml", "'voc2007' already")])
def test_init_overwrites_no_file_and_takes_no_name(tmp_path: Path, file: str, says: str) -> None:
    own_cases.write_csv(tmp_path / "set")
    (tmp_path / "there.toml").write_text("")
    with pytest.raises(RequestError, match=says):
        describe_folder(tmp_path / "set", tmp_path / file)


def test_a_described_dataset_is_opened_by_its_file_and_then_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(DESCRIPTION)
    places = Places(tmp_path / "runs")
    assert open_dataset(str(tmp_path / "mine.toml"), places).name == "mine"
    assert open_dataset("mine", places).splits() == ("train", "part")
    with pytest.raises(RequestError, match="Dataset mine takes no options, but got: size"):
        open_dataset("mine", places, {"size": 3})
    (tmp_path / "other.toml").write_text(DESCRIPTION)
    with pytest.raises(RequestError, match="a dataset 'mine' already exists"):
        open_dataset(str(tmp_path / "other.toml"), places)
    (tmp_path / "other.toml").write_text(DESCRIPTION.replace("mine", "shapes"))
    with pytest.raises(RequestError, match="a dataset 'shapes' already exists"):
        open_dataset(str(tmp_path / "other.toml"), places)
    with pytest.raises(MissingDataError, match="data init FOLDER writes one"):
        open_dataset("gone.toml", places)
    with pytest.raises(RequestError, match=r"--data NAME or --data FILE\.toml"):
        open_dataset(None, places)


def test_a_dataset_of_an_entry_point_is_opened_by_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_data.py").write_text(
        "from bench.data.own import open_own\n\n\n"
        "def open_dataset(name, data_root, cache):\n    return open_own(data_root / 'mine.toml', cache)\n"
    )
    (tmp_path / "mine.toml").write_text(DESCRIPTION)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("bench.data.datasets._entry_points", lambda: {"mine": "their_data"})
    assert open_dataset("mine", Places(tmp_path / "runs", tmp_path)).classes == ("a", "b")
    (tmp_path / "odd_data.py").write_text("def open_dataset(name, data_root, cache):\n    return nothing\n")
    monkeypatch.setattr("bench.data.datasets._entry_points", lambda: {"odd": "odd_data"})
    with pytest.raises(BadFileError, match=r"name 'nothing' is not defined \(odd_data.py, line 2\)\. Correct it"):
        open_dataset("odd", Places(tmp_path / "runs", tmp_path))


def test_a_missing_folder_says_which_file_names_it(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(f'folder = "gone"\n{DESCRIPTION}')
    with pytest.raises(MissingDataError, match=r"folder of mine not found.*Correct .*mine\.toml"):
        open_dataset(str(tmp_path / "mine.toml"), Places(tmp_path / "runs"))


def test_toml_as_it_is_written_is_read(tmp_path: Path) -> None:
    raw = tomllib.loads(DESCRIPTION) | {"recipe": {"epochs": 3, "lr": 0.1, "nested": {"a": True}}, "summary": 'a "b" ü'}
    raw["splits"]["Würfel 1"] = {"file": "w.csv", "images": "w"}
    description = check_toml(tmp_path / "mine.toml", raw, Description)
    again = check_toml(tmp_path / "mine.toml", tomllib.loads(format_description(description)), Description)
    assert again == description


@pytest.mark.parametrize("breaks", ["category", "annotation"])
def test_instances_of_other_classes_are_refused(tmp_path: Path, breaks: str) -> None:
    folder = own_cases.write_coco(tmp_path / "set")
    dataset = describe(folder)
    path = folder / "annotations" / "instances_train.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    if breaks == "category":
        document["categories"][0]["id"] = 8
    else:
        document["annotations"][0]["category_id"] = 9
    path.write_text(json.dumps(document))
    says = "an id of its own and a name" if breaks == "category" else "unknown category_id 9"
    with pytest.raises(BadFileError, match=says):
        dataset.ground_truth("train")


@pytest.mark.parametrize("layout", ["coco", "csv", "voc"])
def test_a_split_of_several_files_is_that_of_one(layout: str, tmp_path: Path) -> None:
    folder = WRITERS[layout](tmp_path / "set")
    described = describe(folder)
    assert isinstance(described, OwnDataset)
    description, whole = described.description, described.ground_truth("train")
    path = folder / description.splits["train"].file
    first, second = (path.with_name(f"{part}{path.suffix}") for part in ("one", "two"))
    if layout == "coco":
        document = json.loads(path.read_text("utf-8"))
        for part, images in ((first, document["images"][:3]), (second, document["images"][3:])):
            numbers = {image["id"] for image in images}
            kept = [one for one in document["annotations"] if one["image_id"] in numbers]
            part.write_text(json.dumps({**document, "images": images, "annotations": kept}), "utf-8")
    else:
        lines = path.read_text("utf-8").splitlines()
        head = lines[:1] if layout == "csv" else []
        first.write_text("\n".join(lines[:4]), "utf-8")
        second.write_text("\n".join([*head, *lines[4:]]), "utf-8")
    names = [str(part.relative_to(folder)) for part in (first, second)]
    raw = description.model_dump(exclude_unset=True)
    raw["splits"]["train"] = {**raw["splits"]["train"], "file": names}
    file = tmp_path / "parts.toml"
    file.write_text(format_description(check_toml(file, raw, Description)), encoding="utf-8")
    truth = OwnDataset(file, read_description(file), tmp_path / "cache").ground_truth("train")
    assert truth.ids == whole.ids
    assert truth.digest == whole.digest
    raw["splits"]["train"]["file"] = [names[0], names[0]]
    twice = OwnDataset(file, check_toml(file, raw, Description), tmp_path / "cache")
    with pytest.raises(BadFileError, match="is listed twice"):
        twice.ground_truth("train")
