"""COCO's twelve numbers against pycocotools where it is easiest to differ: few scores, equal overlaps, odd sizes."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scoring_cases import bound, judge
from test_scoring_coco import CLASSES, SIDE, given_to, reference, rle

from bench.core.bootstrap import class_mean
from bench.core.boxes import from_coco
from bench.data.ground_truth import GroundTruth, Objects, derive_labels
from bench.scoring.score import summarise_outcomes

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pycocotools' own, under numpy 2


def on_a_grid(generator: np.random.Generator, rows: int) -> Any:
    """Boxes x, y, width, height of which many are equal, halves of each other, or exactly 32 or 96 a side."""
    step = generator.choice([4, 8, 16, 32])
    return np.concatenate([generator.integers(0, 3, (rows, 2)), generator.integers(1, 4, (rows, 2))], axis=1) * step


def hostile(seed: int) -> tuple[GroundTruth, dict[str, Any]]:
    """Up to 8 objects in up to 4 images, most detections on one of them; ids in no order, perhaps decimals."""
    generator = np.random.default_rng(seed)
    images, rows, count = (int(generator.integers(*ends)) for ends in ((1, 5), (0, 9), (1, 25)))
    shift = np.concatenate(
        [np.round(generator.random((1, 2)) * 30, int(generator.integers(0, 3))), np.zeros((1, 2))], 1
    )
    image = np.sort(generator.integers(0, images, rows)).astype(np.int32)
    label = generator.integers(0, 3, rows).astype(np.int32)
    box = on_a_grid(generator, rows) + shift
    odd = generator.choice([0.0, 1024.0, 9216.0, 1023.5], rows)
    corners = from_coco(box)
    objects = Objects(
        image,
        label,
        corners,
        np.zeros(rows, dtype=np.bool_),
        crowd=generator.random(rows) < generator.choice([0, 0.3, 0.9]),
        area=np.where(generator.random(rows) < 0.2, odd, box[:, 2:].prod(axis=1)),
        segment=tuple(map(rle, corners)),
    )
    ids = tuple(str(number) for number in generator.choice(30, images, replace=False))
    size = np.full((images, 2), SIDE, dtype=np.int32)
    truth = GroundTruth("toy", "val", CLASSES, ids, size, derive_labels(images, len(CLASSES), objects), objects)
    on_object, of = generator.random(count) < (0.7 if rows else 0), generator.integers(0, max(rows, 1), count)
    anywhere = on_a_grid(generator, count) + shift
    halved = box[of] / generator.choice([1, 1, 1, 2], (count, 1)) ** [0, 0, 1, 0] if rows else anywhere
    found = {
        "image": np.where(on_object, image[of] if rows else 0, generator.integers(0, images, count)),
        "label": np.where(on_object, label[of] if rows else 0, generator.integers(0, 4, count)),
        "score": generator.choice([-1.0, 0.0, 0.25, 0.5], count),
        "box": from_coco(np.where(on_object[:, None], halved, anywhere)),
    }
    return truth, found


@pytest.mark.parametrize("kind", ["boxes", "segments"])
@pytest.mark.parametrize("seed", range(60))
def test_all_twelve_numbers_are_those_of_pycocotools(kind: str, seed: int) -> None:
    truth, found = hostile(seed)
    protocol = bound("coco14-det", region="box" if kind == "boxes" else "mask")
    evaluation = judge(protocol, truth, given_to(truth, found, kind))
    expected = [None if value < 0 else pytest.approx(value, abs=1e-12) for value in reference(truth, found, kind)]
    assert list(evaluation.metrics.values()) == expected
    redone = summarise_outcomes(protocol, evaluation.outcomes, CLASSES, np.ones((1, len(truth.ids))))
    assert [
        None if np.isnan(value) else value for value in (class_mean(each)[0] for each in redone.values())
    ] == expected


@pytest.mark.parametrize("seed", range(10))
def test_without_any_detection_they_are_those_of_pycocotools_too(seed: int) -> None:
    truth, found = hostile(seed)
    nothing = {name: column[:0] for name, column in found.items()}
    o, number = truth.objects, [int(name) for name in truth.ids]
    rows = zip(o.image, o.label, o.area, o.crowd, strict=True)  # type: ignore[arg-type]
    annotations = [
        {"id": row, "image_id": number[i], "category_id": int(c), "bbox": [0, 0, 9, 9], "area": a, "iscrowd": int(many)}
        for row, (i, c, a, many) in enumerate(rows, start=1)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        objects, results = COCO(), COCO()
        for each, listed in ((objects, annotations), (results, [])):
            categories = [{"id": label, "name": name} for label, name in enumerate(CLASSES)]
            each.dataset = {"images": [{"id": one} for one in number], "categories": categories, "annotations": listed}
            each.createIndex()
        evaluation = COCOeval(objects, results, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    expected = [None if value < 0 else value for value in evaluation.stats]
    assert list(judge(bound("coco14-det"), truth, given_to(truth, nothing, "boxes")).metrics.values()) == expected


def test_halves_of_objects_at_decimals_count_where_pycocotools_counts_them() -> None:
    # 33.3 + 100.0 - 33.3 is 100.00000000000001: which halves have an IoU of .5 depends on how widths are rounded.
    xywh = np.array([[left / 10, 0.0, 100.0, 10.0] for left in range(300, 400)])
    none = np.zeros(100, dtype=np.int32)
    objects = Objects(
        np.arange(100, dtype=np.int32), none, from_coco(xywh), none > 0, none > 0, none + 1000.0, (b"",) * 100
    )
    ids = tuple(str(number) for number in range(100))
    size = np.full((100, 2), SIDE, dtype=np.int32)
    truth = GroundTruth("toy", "val", CLASSES, ids, size, derive_labels(100, len(CLASSES), objects), objects)
    halves = from_coco(xywh * [1, 1, 0.5, 1])
    found = {"image": np.arange(100), "label": none, "score": np.ones(100), "box": halves}
    expected = reference(truth, found, "boxes")[1]
    assert 0.5 < expected < 1
    assert judge(bound("coco14-det"), truth, given_to(truth, found, "boxes")).metrics["AP50"] == pytest.approx(
        expected, abs=1e-12
    )
