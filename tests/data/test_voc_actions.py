"""VOC 2012's action task: persons, or images, on a small set in VOC's own layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.core.files import Places
from bench.data.datasets import Dataset, open_dataset
from bench.data.voc_actions import ACTIONS
from bench.errors import BadFileError, MissingDataError, UnknownNameError

PERSONS = (("2010_006215", 1), ("2011_000003", 1), ("2010_006215", 3))
SHOWN = {"jumping": (1, -1, -1), "reading": (1, -1, 1), "walking": (-1, 0, -1)}


def annotation(*objects: tuple[str, int]) -> str:
    items = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{left}</xmin><ymin>1</ymin><xmax>{left + 9}.5</xmax><ymax>20</ymax>"
        f"</bndbox><actions><jumping>0</jumping></actions></object>"
        for name, left in objects
    )
    size = "<size><width>100</width><height>50</height><depth>3</depth></size>"
    return f"<annotation>{size}{items}</annotation>"


def write_lists(folder: Path, persons: tuple[tuple[str, int], ...] = PERSONS) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for action in ACTIONS:
        values = SHOWN.get(action, (-1, -1, -1))
        lines = [f"{image}  {number} {value:2d}\n" for (image, number), value in zip(persons, values, strict=False)]
        (folder / f"{action}_val.txt").write_text("".join(lines))


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    folder = tmp_path / "VOCdevkit" / "VOC2012"
    (folder / "Annotations").mkdir(parents=True)
    first = annotation(("person", 11), ("horse", 31), ("person", 51))
    (folder / "Annotations" / "2010_006215.xml").write_text(first)
    (folder / "Annotations" / "2011_000003.xml").write_text(annotation(("person", 1)))
    write_lists(folder / "ImageSets" / "Action")
    return folder / "ImageSets" / "Action"


@pytest.fixture
def actions(sets: Path, tmp_path: Path, places: Places) -> Dataset:
    return open_dataset("voc2012-actions", Places(places.runs, tmp_path))


def test_a_row_is_a_person_with_its_own_box(actions: Dataset) -> None:
    truth = actions.ground_truth("val")
    assert truth.ids == ("2010_006215_1", "2011_000003_1", "2010_006215_3")
    assert truth.size.tolist() == [[100, 50]] * 3
    assert truth.objects.image.tolist() == [0, 0, 2]
    assert [ACTIONS[label] for label in truth.objects.label] == ["jumping", "reading", "reading"]
    assert truth.objects.box.tolist() == [[10, 0, 20.5, 20], [10, 0, 20.5, 20], [50, 0, 60.5, 20]]
    assert truth.labels[:, ACTIONS.index("jumping")].tolist() == [1, -1, -1]
    assert truth.labels[:, ACTIONS.index("walking")].tolist() == [-1, 0, -1]


def test_a_row_of_the_image_splits_shows_what_any_of_its_persons_does(actions: Dataset) -> None:
    truth = actions.ground_truth("images/val")
    assert actions.splits() == ("val", "images/val")
    assert truth.ids == ("2010_006215", "2011_000003")
    assert truth.labels[:, ACTIONS.index("reading")].tolist() == [1, -1]
    assert truth.labels[:, ACTIONS.index("walking")].tolist() == [-1, 0]
    assert truth.objects.image.tolist() == [0, 0, 0]
    assert truth.objects.box[:, 0].tolist() == [10, 10, 50]


def test_persons_of_an_image_share_its_photograph(actions: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "VOCdevkit" / "VOC2012" / "JPEGImages" / "2010_006215.jpg"
    assert actions.image_path("2010_006215_3") == actions.image_path("2010_006215") == path


def test_what_is_not_there_is_said(actions: Dataset, sets: Path, tmp_path: Path, places: Places) -> None:
    with pytest.raises(UnknownNameError, match="images/val, val"):
        actions.ground_truth("train")
    (sets / "walking_val.txt").unlink()
    with pytest.raises(MissingDataError, match=r"walking_val\.txt"):
        actions.ground_truth("val")
    with pytest.raises(MissingDataError, match="ImageSets/Action"):
        open_dataset("voc2012-actions", Places(places.runs, tmp_path / "elsewhere"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2010_006215 1 1\n", "lists other persons than that of jumping"),
        ("2010_006215 1 1\n2010_006215 1 1\n", "row 1: person 1 of 2010_006215 is listed twice"),
        ("2010_006215 0 1\n", "row 0: expected a whole number from 1"),
        ("2010_006215 1 2\n", "row 0: expected a whole number from -1 to 1"),
        ("2010_006215 1\n", "row 0: expected 3 fields"),
        ("../2010_006215 1 1\n", "row 0: expected the name of a file"),
    ],
)
def test_a_list_that_breaks_a_rule_is_refused(actions: Dataset, sets: Path, text: str, message: str) -> None:
    (sets / "reading_val.txt").write_text(text)
    with pytest.raises(BadFileError, match=r"reading_val\.txt") as caught:
        actions.ground_truth("val")
    assert message in str(caught.value)


@pytest.mark.parametrize("number", [2, 4])
def test_a_number_that_is_no_person_of_the_annotation_is_refused(actions: Dataset, sets: Path, number: int) -> None:
    write_lists(sets, (*PERSONS[:2], ("2010_006215", number)))
    with pytest.raises(BadFileError, match=rf"2010_006215\.xml: .* object {number}, but that is no person"):
        actions.ground_truth("val")
