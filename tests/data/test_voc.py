from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.boxes import from_voc, to_voc
from bench.core.files import Places
from bench.data.check import check_dataset
from bench.data.datasets import open_dataset
from bench.data.voc import CLASSES, VocDataset, parse_annotations, read_annotation, read_ids
from bench.errors import BadFileError, MissingDataError, UnknownNameError

CORNERS = ("xmin", "ymin", "xmax", "ymax")
INDEX = {name: row for row, name in enumerate(CLASSES)}


def item(name: str = "dog", corners: tuple[object, ...] = (10, 20, 30, 40), extra: str = "") -> str:
    sides = "".join(f"<{side}>{value}</{side}>" for side, value in zip(CORNERS, corners, strict=False))
    return f"<object><name>{name}</name>{extra}<bndbox>{sides}</bndbox></object>"


def annotation(*items: str, size: str = "<width>100</width><height>80</height>") -> str:
    return f"<annotation><size>{size}</size>{''.join(items)}</annotation>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny VOC: three images, of which the second has no object and the third a difficult one only."""
    root = tmp_path / "data" / "VOCdevkit" / "VOC2007"
    for name in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (root / name).mkdir(parents=True)
    texts = {
        "000001": annotation(item("dog"), item("cat", (1, 1, 100, 80))),
        "000002": annotation(),
        "000003": annotation(item("dog", extra="<difficult>1</difficult>")),
    }
    for image, text in texts.items():
        (root / "Annotations" / f"{image}.xml").write_text(text)
    (root / "ImageSets" / "Main" / "train.txt").write_text("000003\n000001\n000002\n")
    (root / "ImageSets" / "Main" / "dog_train.txt").write_text("000003  0\n000001  1\n000002 -1\n")
    return root


@pytest.fixture
def voc(folder: Path, places: Places) -> VocDataset:
    return VocDataset("voc2007", folder, places.cache)


def test_the_truth_of_a_split_follows_its_list(voc: VocDataset) -> None:
    truth = voc.ground_truth("train")
    assert truth.ids == ("000003", "000001", "000002")
    assert truth.size.tolist() == [[100, 80]] * 3
    assert truth.objects.image.tolist() == [0, 1, 1]
    assert [CLASSES[label] for label in truth.objects.label] == ["dog", "dog", "cat"]
    assert truth.objects.box.tolist() == [[9, 19, 30, 40], [9, 19, 30, 40], [0, 0, 100, 80]]
    assert truth.labels[:, INDEX["dog"]].tolist() == [0, 1, -1]


def test_a_list_of_one_class_gives_its_ids_and_is_no_split(voc: VocDataset) -> None:
    assert voc.ground_truth("dog_train").ids == voc.ground_truth("train").ids
    assert voc.splits() == ("train",)


def test_a_split_that_begins_like_the_class_train_is_a_split(voc: VocDataset, folder: Path) -> None:
    for name in ("val", "train_val", "train_subset"):
        (folder / "ImageSets" / "Main" / f"{name}.txt").write_text("000001\n")
    assert voc.splits() == ("train", "train_subset", "val")


@given(st.lists(st.tuples(*[st.integers(1, 500)] * 4), min_size=1))
def test_coordinates_of_voc_survive_the_way_there_and_back(corners: list[tuple[int, int, int, int]]) -> None:
    there = from_voc(corners)
    assert to_voc(there).tolist() == [list(map(float, box)) for box in corners]
    inclusive = np.array(corners)
    assert (there[:, 2] - there[:, 0] == inclusive[:, 2] - inclusive[:, 0] + 1).all()


def test_a_box_of_one_pixel_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(annotation(item(corners=(5, 5, 5, 5))))
    assert read_annotation(path, INDEX).box == [[5, 5, 5, 5]]


@pytest.mark.parametrize(
    ("text", "where", "rule"),
    [
        ("<annotation><size>", "a.xml", "malformed XML"),
        ("<other/>", "a.xml", "expected an <annotation>"),
        ("\xff\xfe", "a.xml", "malformed XML"),
        ("", "a.xml", "malformed XML"),
        (annotation(size=""), "a.xml", "<size/width> must be a number, but got None"),
        (annotation(size="<width>0</width><height>5</height>"), "a.xml", "says 0x5"),
        (annotation(size="<width>1e300</width><height>5</height>"), "a.xml", "1 to 1000000 pixels"),
        (annotation(item(), item("dgo")), "row 1", "Did you mean: dog"),
        (
            annotation(item(corners=(30, 20, 10, 40))),
            "row 0",
            "inverted box: xmin, ymin, xmax, ymax are 30, 20, 10, 40",
        ),
        (annotation(item(corners=("nan", 20, 10, 40))), "row 0", "<bndbox/xmin> must be a number, but got 'nan'"),
        (annotation(item(corners=(1, 2, 3))), "row 0", "<bndbox/ymax> must be a number, but got None"),
        (annotation(item(extra="<difficult>2</difficult>")), "row 0", "<difficult> must be 0 or 1, but got '2'"),
    ],
)
def test_an_annotation_that_breaks_a_rule_is_named(tmp_path: Path, text: str, where: str, rule: str) -> None:
    path = tmp_path / "a.xml"
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(BadFileError) as caught:
        read_annotation(path, INDEX)
    assert where in str(caught.value)
    assert rule in str(caught.value)


LAUGHS = '<!DOCTYPE a [<!ENTITY l "ha"><!ENTITY m "&l;&l;&l;">]>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp037"])
def test_entities_are_refused_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.xml"
    body = LAUGHS + annotation(item("&m;"))
    path.write_bytes(f'<?xml version="1.0" encoding="{encoding}"?>'.encode("ascii") + body.encode(encoding))
    with pytest.raises(BadFileError):
        read_annotation(path, INDEX)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "lists no image"),
        ("000001\n000002\n000001\n", "row 2: id 000001 is listed twice"),
        ("000001 2\n", "row 0: expected an id"),
        ("000001 1 1\n", "row 0: expected an id"),
        ("../../etc/passwd\n", "row 0: expected an id"),
        ("000001\n.hidden\n", "row 1: expected an id"),
    ],
)
def test_a_list_that_breaks_a_rule_is_named(tmp_path: Path, text: str, rule: str) -> None:
    path = tmp_path / "train.txt"
    path.write_text(text)
    with pytest.raises(BadFileError, match=rule):
        read_ids(path)


def test_a_list_may_have_blank_lines_and_marks(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_bytes(b"\xef\xbb\xbf2008_000001 -1\r\n\r\n 2008_000002  1\n2008_000003 +1\n2008_000004\t0")
    assert read_ids(path) == ("2008_000001", "2008_000002", "2008_000003", "2008_000004")


def test_a_missing_annotation_is_named(voc: VocDataset, folder: Path) -> None:
    (folder / "Annotations" / "000002.xml").unlink()
    with pytest.raises(MissingDataError, match=r"000002\.xml of voc2007 not found"):
        voc.ground_truth("train")


@pytest.mark.parametrize("split", ["tain", "../../secret", "dog_tain"])
def test_an_unknown_split_is_named(voc: VocDataset, split: str) -> None:
    with pytest.raises(UnknownNameError, match="Available: train"):
        voc.ground_truth(split)


def test_a_missing_year_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"VOC2012\. Unpack VOCtrainval_11-May-2012\.tar"):
        open_dataset("voc2012", Places(tmp_path, tmp_path))


def test_missing_images_are_counted_and_the_first_is_named(voc: VocDataset) -> None:
    voc.image_path("000001").write_bytes(b"x")
    assert voc.list_missing_images(["000001", "000002", "000003"]) == ["000002", "000003"]
    with pytest.raises(MissingDataError, match=r"2 of 3 images of voc2007 \(first: 000002\) not found"):
        voc.require_images(["000001", "000002", "000003"])


def edit(path: Path) -> None:
    path.write_text(annotation(item("cow")))


def edit_without_changing_the_size(path: Path) -> None:
    path.write_text(path.read_text().replace("dog", "cow"))
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))


@pytest.mark.parametrize("change", [edit, edit_without_changing_the_size])
@pytest.mark.parametrize("again", [True, False], ids=["same process", "from the file"])
def test_an_edited_annotation_is_noticed(
    voc: VocDataset, folder: Path, places: Places, change: Callable[[Path], None], again: bool
) -> None:
    before = voc.ground_truth("train")
    change(folder / "Annotations" / "000001.xml")
    reader = voc if again else VocDataset("voc2007", folder, places.cache)
    assert reader.ground_truth("train").labels[1, INDEX["cow"]] == 1
    assert reader.ground_truth("train").digest != before.digest


def test_an_edited_list_is_noticed(voc: VocDataset, folder: Path) -> None:
    voc.ground_truth("train")
    (folder / "ImageSets" / "Main" / "train.txt").write_text("000001\n")
    assert voc.ground_truth("train").ids == ("000001",)


def test_a_removed_and_a_returned_annotation_are_noticed(voc: VocDataset, folder: Path) -> None:
    path = folder / "Annotations" / "000001.xml"
    before, text = voc.ground_truth("train"), path.read_text()
    path.unlink()
    with pytest.raises(MissingDataError):
        voc.ground_truth("train")
    path.write_text(text)
    assert voc.ground_truth("train").digest == before.digest


def test_a_damaged_cache_is_made_again(voc: VocDataset, folder: Path, places: Places) -> None:
    before = voc.ground_truth("train")
    for path in (places.cache / "truth").iterdir():
        path.write_bytes(b"PAR1 half")
    assert VocDataset("voc2007", folder, places.cache).ground_truth("train").digest == before.digest


def test_what_is_cached_equals_what_is_parsed(voc: VocDataset, folder: Path, places: Places) -> None:
    assert voc.ground_truth("train").digest == VocDataset("voc2007", folder, places.cache).ground_truth("train").digest
    names = [path.name for path in (folder / "Annotations").iterdir()]
    assert parse_annotations(folder / "Annotations", names, CLASSES).num_rows == 3


@pytest.mark.voc2007
@pytest.mark.parametrize(
    ("split", "counts"), [("trainval", (5011, 15662, 12608, 7913, 607)), ("test", (4952, 14976, 12032, 7632, 619))]
)
def test_the_counts_of_voc2007_are_the_published_ones(
    data_root: Path, places: Places, split: str, counts: tuple[int, ...]
) -> None:
    truth = open_dataset("voc2007", Places(places.runs, data_root)).ground_truth(split)
    clear = int((~truth.objects.difficult).sum())
    pairs, only_difficult = int((truth.labels >= 0).sum()), int((truth.labels == 0).sum())
    assert (len(truth.ids), len(truth.objects), clear, pairs, only_difficult) == counts


def test_a_list_without_annotations_has_its_images_with_the_sizes_of_the_photographs(
    voc: VocDataset, folder: Path
) -> None:
    from PIL import Image

    Image.new("RGB", (30, 20)).save(folder / "JPEGImages" / "000001.jpg")
    for path in (folder / "Annotations").iterdir():
        path.unlink()
    images = voc.unscored_ground_truth("train")
    assert images.ids == ("000003", "000001", "000002")
    assert images.size.tolist() == [[0, 0], [30, 20], [0, 0]]
    assert (images.labels == -1).all()
    assert len(images.objects) == 0


def test_a_photograph_under_another_suffix_is_named(voc: VocDataset, folder: Path) -> None:
    (folder / "JPEGImages").mkdir(exist_ok=True)
    (folder / "JPEGImages" / "000001.JPG").touch()
    with pytest.raises(MissingDataError, match=r"000001\.JPG is there instead: rename it, .* to \*\.jpg\."):
        voc.require_images(["000001"])


def test_a_bad_annotation_ends_the_check_of_no_other_dataset(tmp_path: Path) -> None:
    devkit = tmp_path / "VOCdevkit" / "VOC2007"
    for name in ("Annotations", "ImageSets/Main"):
        (devkit / name).mkdir(parents=True)
    (devkit / "ImageSets" / "Main" / "test.txt").write_text("000001\n")
    (devkit / "Annotations" / "000001.xml").write_text("<annotation>")
    check = check_dataset("voc2007", Places(tmp_path / "runs", tmp_path))
    assert not check.ok
    assert "malformed XML" in check.splits[0].problem
