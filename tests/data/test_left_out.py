"""What `data init` and `data check` do not read is named with the reason and what to do, whatever the layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import own_cases
import pytest
from own_cases import CLASSES, NAMES, TEST, TRAIN
from PIL import Image

from bench.data.dataset import Dataset
from bench.data.left_out import LeftOut, count_files
from bench.data.own import OwnDataset
from bench.data.recognise import Described, describe_folder
from bench.errors import BadFileError, RequestError

if TYPE_CHECKING:
    from conftest import Answer

WRITERS = {
    "voc": own_cases.write_voc,
    "coco": own_cases.write_coco,
    "csv": own_cases.write_csv,
    "folder": own_cases.write_folders,
}


def describe(folder: Path) -> tuple[Described, Dataset]:
    file = folder.parent / "mine.toml"
    described = describe_folder(folder, file)
    return described, OwnDataset(file, described.description, folder.parent / "cache")


def name_left_out(folder: Path) -> list[str]:
    described, dataset = describe(folder)
    return [one.describe() for one in (*described.left_out, *dataset.find_left_out())]


@pytest.mark.parametrize("layout", WRITERS)
def test_a_set_that_is_read_whole_leaves_nothing_out(layout: str, tmp_path: Path) -> None:
    assert name_left_out(WRITERS[layout](tmp_path / "set")) == []


@pytest.mark.parametrize("layout", WRITERS)
def test_images_of_no_split_and_in_other_formats_are_named(layout: str, tmp_path: Path) -> None:
    folder = WRITERS[layout](tmp_path / "set")
    for name in ("extra/1.jpg", "extra/2.PNG", "b.webp", "c.WEBP", "d.tif", "e.bmp", "f.gif", "g.avif", "t.text"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"any")
    found = name_left_out(folder)
    assert "2 files left out (.webp; only JPEG and PNG are read): b.webp, c.WEBP. Convert them to JPEG or PNG." in found
    for name in ("d.tif", "e.bmp", "f.gif", "g.avif"):
        assert any(f"1 file left out ({name[1:]}; only JPEG and PNG are read): {name}. " in one for one in found)
    (unlisted,) = (one for one in found if "not in any split" in one)
    assert unlisted.startswith("2 files left out (not in any split): extra/1.jpg, extra/2.PNG. ")
    assert len(found) == 6


@pytest.mark.parametrize(
    ("layout", "file", "text", "says"),
    [
        (
            "csv",
            "train.csv",
            "image,label\na.jpg,b,c\n",
            "(row 0: expected 2 fields, but got 3): train.csv. If it",
        ),
        ("csv", "any.csv", "name,class\n", "image and label, each once, but got 'name,class')"),
        (
            "csv",
            "val.csv",
            "name;class\n",
            "expected a header with image and label, but it is separated by ';': use commas)",
        ),
        ("csv", "boxes.csv", "", "(boxes are read from the tables of splits): boxes.csv. Add the columns"),
        ("coco", "annotations/instances_train.json", "{", "not valid JSON"),
        ("coco", "captions.json", '{"images": []}', "expected a list 'annotations', but got NoneType): captions.json."),
        ("voc", "Annotations/readme.xml", "<readme/>", "expected an <annotation>, but got <readme>; move other"),
        ("voc", "Annotations/more.xml", "<annotation/>", "(not in any list of ImageSets/Main): Annotations/more.xml."),
        ("voc", "train.txt", "\n".join(TRAIN), "(lists are read from ImageSets/Main): train.txt. Move it there"),
        ("voc", "ImageSets/Segmentation/val.txt", "gone", "(1 of 1 mask missing, first: gone.png): ImageSets/"),
    ],
)
def test_a_file_that_is_no_split_is_named(layout: str, file: str, text: str, says: str, tmp_path: Path) -> None:
    folder = WRITERS[layout](tmp_path / "set")
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(text, encoding="utf-8")
    (found,) = [text for one in describe(folder)[0].left_out if says in (text := one.describe())]
    assert found.startswith("1 file left out (")


def test_the_verbs_count_what_is_left_out(here: Callable[..., Answer], tmp_path: Path) -> None:
    folder = own_cases.write_csv(tmp_path / "set")
    (folder / "train.csv").write_text("image,label\na.jpg,b,c\n")
    (folder / "images" / "b.webp").touch()
    answer = here("data", "init", folder)
    unlisted = (
        "8 files left out (not in any split): images/a 01.jpg, images/a 02.jpg, images/a 04.jpg and 5 more. Add a row"
    )
    assert f"note: {unlisted} for each to the table of a split, or move it elsewhere.\n" in answer.out
    assert "note: no split is called train: name one with --train-split" in answer.out
    assert answer.out.endswith("10 files left out: see the notes\nWrote set.toml\n")
    assert "9 files left out: see the notes\n" in here("data", "check", "set.toml", "--images", 0).out
    document = here("data", "init", folder, "--out", "again.toml", "--json").json()
    assert document["dataset"]["left_out"][0]["files"] == ["train.csv"]


def test_a_folder_that_is_not_recognised_names_its_broken_tables(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.csv").write_text("image,label\na.jpg\n")
    with pytest.raises(RequestError, match=r"Note: 1 file left out \(row 0: expected 2 fields, but got 1\): train"):
        describe_folder(tmp_path / "set", tmp_path / "mine.toml")


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        (
            "labels.csv",
            "image,label\na.jpg,Würfel\n".encode("latin-1"),
            "is not UTF-8 text): save it as CSV in UTF-8",
        ),
        ("labels.csv", b"image;label\na.jpg;dog\n", "but it is separated by ';': use commas"),
        ("labels.csv", b"image\tlabel\na.jpg\tdog\n", "but it is separated by '\\t': use commas"),
        ("labels.json", b"{", "not valid JSON"),
        ("labels/train.csv", b"image,label\na.jpg,dog\n", "tables are CSV files directly in the folder"),
    ],
)
@pytest.mark.parametrize("images", ["images", "JPEGImages", "train/photos"])
def test_folders_of_images_are_no_classes_where_labels_are_lost(
    images: str, file: str, text: bytes, says: str, tmp_path: Path
) -> None:
    own_cases.write_photograph(tmp_path / "set" / images / "a.jpg", NAMES[0])
    (tmp_path / "set" / file).parent.mkdir(exist_ok=True)
    (tmp_path / "set" / file).write_bytes(text)
    with pytest.raises(RequestError) as error:
        describe_folder(tmp_path / "set", tmp_path / "mine.toml")
    assert f"would give the classes {Path(images).name}, but files that may hold the labels are not read." in str(
        error.value
    )
    assert f"{file}. " in str(error.value)
    assert says in str(error.value)
    (tmp_path / "set" / file).unlink()
    assert describe_folder(tmp_path / "set", tmp_path / "mine.toml").description.classes == (Path(images).name,)


def test_a_folder_of_images_in_another_format_says_so(tmp_path: Path) -> None:
    folder = own_cases.write_folders(tmp_path / "set", boxes=False)
    for path in [*folder.rglob("*.jpg")]:
        path.rename(path.with_suffix(".webp"))
    with pytest.raises(RequestError, match=r"Note: 12 files left out \(.webp; only JPEG and PNG are read\): test/"):
        describe_folder(folder, tmp_path / "mine.toml")


def test_a_set_too_small_to_divide_is_described_and_says_so(here: Callable[..., Answer], tmp_path: Path) -> None:
    for name in NAMES[:2]:
        own_cases.write_photograph(tmp_path / "set" / CLASSES[0] / f"{name}.jpg", name)
    answer = here("data", "init", tmp_path / "set")
    assert "Split all:5of5 is empty: all has 2 images." in answer.out
    assert answer.out.endswith("Wrote set.toml\n")


@pytest.mark.parametrize(("layout", "file"), [("csv", "train-more.csv"), ("coco", "train-more.json")])
def test_two_files_of_one_split_are_two_splits(layout: str, file: str, tmp_path: Path) -> None:
    folder = WRITERS[layout](tmp_path / "set")
    source = folder / ("train.csv" if layout == "csv" else "annotations/instances_train.json")
    source.rename(source.with_name(file))
    other = source.with_name(file.replace("more", "last"))
    other.write_bytes(source.with_name(file).read_bytes())
    description = describe_folder(folder, tmp_path / "mine.toml").description
    below = "annotations-" * (layout == "coco")
    assert list(description.splits) == ["test", f"{below}train-last", f"{below}train-more"]


def test_folders_of_one_split_are_two_splits_and_hidden_ones_no_class(tmp_path: Path) -> None:
    folder = own_cases.write_folders(tmp_path / "set", boxes=False)
    (folder / "train").rename(folder / "val")
    own_cases.write_photograph(folder / "valid" / CLASSES[0] / "x.jpg", NAMES[0])
    own_cases.write_photograph(folder / "test" / ".ipynb_checkpoints" / "x.jpg", NAMES[0])
    described, dataset = describe(folder)
    assert (dataset.splits(), dataset.classes) == (("val", "test", "valid"), CLASSES)
    (hidden,) = dataset.find_left_out()
    assert hidden.files == ("test/.ipynb_checkpoints/x.jpg",)
    assert described.left_out == ()


def test_another_xml_file_makes_no_voc(tmp_path: Path) -> None:
    folder = own_cases.write_csv(tmp_path / "set")
    (folder / "readme.xml").write_text("<readme/>")
    described, _ = describe(folder)
    assert described.description.layout == "csv"
    assert described.left_out[0].files == ("readme.xml",)


def test_a_comment_in_an_annotation_hides_no_class(tmp_path: Path) -> None:
    folder = own_cases.write_voc(tmp_path / "set")
    for path in (folder / "Annotations").iterdir():
        path.write_text(path.read_text(encoding="utf-8").replace("<size>", "<!-- mine --><size>"), encoding="utf-8")
    assert describe(folder)[1].classes == CLASSES


def test_masks_that_are_not_all_there_are_named(tmp_path: Path) -> None:
    folder = own_cases.write_csv(tmp_path / "set")
    (folder / "masks" / f"{TEST[0]}.png").unlink()
    described, dataset = describe(folder)
    assert dataset.ground_truth("test").masks is None
    assert described.left_out == (
        LeftOut(
            ("masks",),
            f"1 of 12 masks missing, first: {TEST[0]}.png",
            "Add them, and run data init again",
        ),
    )
    assert count_files(described.left_out) == 1


def write_binary(folder: Path, mode: str) -> None:
    """Rewrite masks as 0 and 255."""
    for path in (folder / "masks").iterdir():
        Image.fromarray(np.where(np.array(Image.open(path)) > 0, 255, 0).astype(np.uint8)).convert(mode).save(path)


@pytest.mark.parametrize("mode", ["L", "1", "RGB"])
def test_masks_of_0_and_255_are_those_of_objects(mode: str, tmp_path: Path) -> None:
    folder = own_cases.write_csv(tmp_path / "set")
    write_binary(folder, mode)
    described, dataset = describe(folder)
    assert described.description.masks_of == "objects"
    assert any("masks hold only 0 and 255, so 255 is taken as the object" in note for note in described.notes)
    masks = dataset.ground_truth("test").masks
    assert masks is not None
    assert not masks.indexed
    of_classes = described.description.model_copy(update={"masks_of": "classes"})
    dataset = OwnDataset(tmp_path / "mine.toml", of_classes, tmp_path / "cache")
    with pytest.raises(BadFileError, match=r"mine\.toml: the masks of test in masks hold only 0 and 255, and 255"):
        dataset.ground_truth("test")


def test_a_folder_whose_path_is_no_text_is_refused(tmp_path: Path) -> None:
    folder = own_cases.write_csv(tmp_path / "\udce4")
    with pytest.raises(BadFileError, match="the path of the folder is not UTF-8 text: rename it"):
        describe(folder)


@pytest.mark.parametrize("layout", ["folder", "csv"])
def test_names_that_cannot_be_read_say_why(layout: str, tmp_path: Path) -> None:
    folder = WRITERS[layout](tmp_path / "set")
    below = folder / "train" / CLASSES[0] if layout == "folder" else folder / "images"
    for name, says in (
        ("12:30.jpg", "contains ':', which not"),
        ("a\udce4.jpg", "is not UTF-8 text: rename"),
    ):
        own_cases.write_photograph(below / name, NAMES[0])
        if layout == "folder":
            with pytest.raises(BadFileError, match=says):
                describe(folder)[1].ground_truth("train")
        else:
            assert any("(not in any split): images/" in one and one.isprintable() for one in name_left_out(folder))
        (below / name).unlink()


JUNK = b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(60)
"""What macOS writes beside files on foreign disks."""


@pytest.mark.parametrize("layout", WRITERS)
def test_what_macos_leaves_beside_files_is_no_data(layout: str, tmp_path: Path) -> None:
    folder = WRITERS[layout](tmp_path / "set")
    _, before = describe(folder)
    ids = [before.ground_truth(split).ids for split in before.splits()]
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(JUNK)
    described, after = describe(folder)
    assert [after.ground_truth(split).ids for split in after.splits()] == ids
    assert not described.left_out
    assert not list(after.find_left_out())


def test_masks_may_end_in_capital_letters(tmp_path: Path) -> None:
    folder = own_cases.write_csv(tmp_path / "set")
    for path in (folder / "masks").iterdir():
        path.rename(path.with_suffix(".PNG"))
    _, dataset = describe(folder)
    assert dataset.ground_truth("test").masks is not None
    assert not list(dataset.find_left_out())


def test_annotations_in_capital_letters_are_named(tmp_path: Path) -> None:
    folder = own_cases.write_voc(tmp_path / "set")
    for path in (folder / "Annotations").iterdir():
        path.rename(path.with_suffix(".XML"))
    with pytest.raises(RequestError, match=r"12 files left out \(annotations end in \.xml in small letters\): Annot"):
        describe(folder)


def test_a_table_may_name_photographs_without_suffix(tmp_path: Path) -> None:
    folder = own_cases.write_csv(tmp_path / "set")
    for path in [*(folder / "images").iterdir(), *(folder / "masks").iterdir()]:
        path.rename(path.with_name(f"{path.stem}.v2{path.suffix}"))
    for path in folder.glob("*.csv"):
        path.write_text(path.read_text("utf-8").replace(".jpg", ".v2"), "utf-8")
    _, dataset = describe(folder)
    truth = dataset.ground_truth("test")
    assert not dataset.list_missing_images(truth.ids)
    assert truth.size.min() > 0
    assert truth.masks is not None
