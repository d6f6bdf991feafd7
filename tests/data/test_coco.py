"""The COCO reader, on a small set written as COCO writes its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from bench.core.files import Places
from bench.data import coco as reader
from bench.data.coco import CATEGORY_IDS, CLASSES, CocoDataset
from bench.data.datasets import open_dataset
from bench.data.ground_truth import ABSENT, PRESENT
from bench.data.rle import to_mask
from bench.errors import BadFileError, MissingDataError, RequestError, UnknownNameError

Document = dict[str, Any]


def document() -> Document:
    """Three images, ids out of order, one without objects; a polygon, two polygons, and a crowd as run lengths."""
    return {
        "info": {"description": "COCO 2014 Dataset"},
        "licenses": [],
        "categories": [
            {"supercategory": "any", "id": number, "name": name}
            for number, name in zip(CATEGORY_IDS, CLASSES, strict=True)
        ],
        "images": [
            {"id": 139, "file_name": "COCO_val2014_000000000139.jpg", "width": 10, "height": 8, "license": 2},
            {"id": 42, "file_name": "COCO_val2014_000000000042.jpg", "width": 6, "height": 5, "license": 3},
            {"id": 73, "file_name": "COCO_val2014_000000000073.jpg", "width": 7, "height": 7, "license": 1},
        ],
        "annotations": [
            annotation(5, 139, 18, [1, 1, 4, 2], [[1, 1, 5, 1, 5, 3, 1, 3]]),
            annotation(3, 42, 1, [0, 0, 6, 5], {"size": [5, 6], "counts": [0, 30]}, crowd=1),
            annotation(9, 139, 90, [0.5, 0.25, 7, 6], [[0, 0, 2, 0, 2, 2, 0, 2], [5, 5, 7, 5, 7, 7, 5, 7]]),
            annotation(1, 139, 18, [2, 2, 0, 3], [[2, 2, 2, 5, 2, 2]]),
        ],
    }


def annotation(number: int, image: int, category: int, box: list[float], segmentation: Any, crowd: int = 0) -> Document:
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": box,
        "area": 8.5,
        "iscrowd": crowd,
        "segmentation": segmentation,
    }


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], Path]:
    def write(content: Any) -> Path:
        path = tmp_path / "coco" / "annotations" / "instances_val2014.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


@pytest.fixture
def coco(tmp_path: Path, write: Callable[[Any], Path], places: Places) -> CocoDataset:
    write(document())
    opened = open_dataset("coco2014", Places(places.runs, tmp_path))
    assert isinstance(opened, CocoDataset)
    return opened


def test_there_are_80_classes_and_a_few_known_category_ids() -> None:
    number = dict(zip(CLASSES, CATEGORY_IDS, strict=True))
    assert len(CLASSES) == len(set(CLASSES)) == 80
    known = {"person": 1, "stop sign": 13, "dog": 18, "backpack": 27, "bottle": 44, "toilet": 70, "toothbrush": 90}
    assert {name: number[name] for name in known} == known


def test_images_come_by_id_and_objects_in_the_order_of_the_file(coco: CocoDataset) -> None:
    truth = coco.ground_truth("val")
    assert truth.ids == ("42", "73", "139")
    assert truth.size.tolist() == [[6, 5], [7, 7], [10, 8]]
    assert truth.objects.image.tolist() == [0, 2, 2, 2]
    assert [CLASSES[label] for label in truth.objects.label] == ["person", "dog", "toothbrush", "dog"]
    assert truth.objects.box.tolist() == [[0, 0, 6, 5], [1, 1, 5, 3], [0.5, 0.25, 7.5, 6.25], [2, 2, 2, 5]]


def test_areas_and_crowds_are_kept_and_nothing_is_difficult(coco: CocoDataset) -> None:
    objects = coco.ground_truth("val").objects
    assert objects.crowd is not None
    assert objects.area is not None
    assert objects.crowd.tolist() == [True, False, False, False]
    assert objects.area.tolist() == [8.5] * 4
    assert not objects.difficult.any()


def test_a_crowd_alone_makes_its_class_present(coco: CocoDataset) -> None:
    labels = coco.ground_truth("val").labels
    assert labels[0, CLASSES.index("person")] == PRESENT
    assert (labels[1] == ABSENT).all()
    assert (labels == PRESENT).sum() == 3


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_segments_decode_to_what_pycocotools_makes_of_the_file(coco: CocoDataset, write: Callable[[Any], Path]) -> None:
    reference, truth = COCO(str(write(document()))), coco.ground_truth("val")
    assert truth.objects.segment is not None
    for number, row in ((3, 0), (5, 1), (9, 2), (1, 3)):
        width, height = truth.size[truth.objects.image[row]].tolist()
        ours = to_mask(truth.objects.segment[row], width, height)
        assert np.array_equal(ours, reference.annToMask(reference.anns[number]))


def test_a_photograph_is_found_under_its_own_name(coco: CocoDataset, tmp_path: Path) -> None:
    assert coco.image_path("42") == tmp_path / "coco" / "val2014" / "COCO_val2014_000000000042.jpg"
    with pytest.raises(RequestError, match="coco2014 has no image '43'"):
        coco.image_path("43")


def test_the_file_is_parsed_once(coco: CocoDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    first = coco.ground_truth("val")
    monkeypatch.setattr(reader, "parse_instances", lambda path: pytest.fail("parsed again"))
    again = CocoDataset("coco2014", coco.folder, coco._cache).ground_truth("val")
    assert again.digest == first.digest


def test_coco_2017_is_read_from_its_own_names(tmp_path: Path, places: Places) -> None:
    path = tmp_path / "coco" / "annotations" / "instances_train2017.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document()))
    opened = open_dataset("coco2017", Places(places.runs, tmp_path))
    assert opened.splits() == ("train",)
    assert opened.image_path("73").parent == tmp_path / "coco" / "train2017"
    with pytest.raises(MissingDataError, match="instances_val2017"):
        opened.ground_truth("val")
    with pytest.raises(UnknownNameError, match="trian"):
        opened.ground_truth("trian")


def test_coco_that_is_not_there_says_how_to_get_it(tmp_path: Path, places: Places) -> None:
    with pytest.raises(MissingDataError, match=r"annotations_trainval2014\.zip"):
        open_dataset("coco2014", Places(places.runs, tmp_path))


def changed(change: Callable[[Document], Any]) -> Document:
    found = document()
    change(found)
    return found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"images": [' + "1" * 5000 + "]}", "not valid JSON"),
        ("[]", "expected an object with images"),
        ("{}", "expected a list 'categories'"),
        (changed(lambda d: d.pop("images")), "expected a list 'images', but got NoneType"),
        (changed(lambda d: d["images"].append(3)), "row 3 of images: expected an object, but got int"),
        (changed(lambda d: d["categories"].pop()), "category 90 must be 'toothbrush'"),
        (changed(lambda d: d["categories"].append({"id": 91, "name": "hair brush"})), "80 categories, but got 81"),
        (changed(lambda d: d["images"][0].update(id="139")), "row 0 of images: id must be a whole number"),
        (changed(lambda d: d["images"][0].update(id=True)), "id must be a whole number"),
        (changed(lambda d: d["images"][1].update(id=139)), "row 1 of images: image id 139 is listed twice"),
        (changed(lambda d: d["images"][0].update(width=0)), "width must be a whole number from 1"),
        (changed(lambda d: d["images"][0].update(height=10**9)), "height must be a whole number"),
        (changed(lambda d: d["images"][0].update(file_name="../x.jpg")), "file_name must be the name of a file"),
        (changed(lambda d: d["images"][0].update(file_name="..")), "expected the name of a file"),
        (changed(lambda d: d["annotations"][1].update(id=5)), "row 1 of annotations: annotation id 5 is listed twice"),
        (changed(lambda d: d["annotations"][1].update(image_id=7)), "row 1 of annotations: unknown image_id 7"),
        (changed(lambda d: d["annotations"][1].update(category_id=12)), "unknown category_id 12"),
        (changed(lambda d: d["annotations"][1].update(iscrowd=2)), "iscrowd must be a whole number from 0 to 1"),
        (changed(lambda d: d["annotations"][1].update(area=float("nan"))), "area must be"),
        (changed(lambda d: d["annotations"][1].update(area=-1)), "area must be"),
        (changed(lambda d: d["annotations"][1].update(bbox=[0, 0, 1])), "bbox must be 4"),
        (changed(lambda d: d["annotations"][1].update(bbox=[0, 0, -1, 1])), "bbox must be 4"),
        (changed(lambda d: d["annotations"][1].update(bbox="0011")), "bbox must be 4"),
        (changed(lambda d: d["annotations"][1].update(bbox=[0, 0, 10**400, 1])), "bbox must be 4"),
        (changed(lambda d: d["annotations"][0].update(segmentation=[[1, 2]])), "row 0 of annotations: segmentation: a"),
        (changed(lambda d: d["annotations"][1]["segmentation"].update(counts=[0, 31])), "make 31 pixels"),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused_by_name_row_and_rule(
    coco: CocoDataset, write: Callable[[Any], Path], content: Any, message: str
) -> None:
    path = write(content)
    with pytest.raises(BadFileError) as caught:
        coco.ground_truth("val")
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
