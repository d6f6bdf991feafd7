"""COCO detection: all twelve numbers are pycocotools', over random sets, boxes and masks, and by hand."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scoring_cases import bound, judge, predicted, truth_of

from bench.core.boxes import to_coco
from bench.data.ground_truth import GroundTruth, Objects, derive_labels
from bench.errors import RequestError
from bench.predictions.table import About, Predictions, ResolvedPredictions, resolve
from protocols.scoring.coco_accumulation import accumulate_precision, accumulate_recall, count_positives

SIDE = 160
CLASSES = ("cat", "dog", "eel", "fox")


def rle(box: Any) -> bytes:
    """A mask of a box's pixels without its middle, as compressed run lengths."""
    x1, y1, x2, y2 = (round(corner) for corner in box)
    pixels = np.zeros((SIDE, SIDE), dtype=np.uint8, order="F")
    pixels[max(y1, 0) : y2, max(x1, 0) : x2] = 1
    pixels[(y1 + y2) // 2, (x1 + x2) // 2] = 0
    return bytes(mask.encode(pixels)["counts"])


def random_boxes(generator: np.random.Generator, rows: int) -> Any:
    """Boxes of all three sizes, whole corners."""
    side = generator.choice([6, 14, 40, 110], (rows, 1)) + generator.integers(0, 8, (rows, 2))
    start = generator.integers(0, SIDE - 120, (rows, 2))
    return np.concatenate([start, start + side], axis=1).astype(np.float64)


def random_case(seed: int, *, images: int = 6, most: int = 130) -> tuple[GroundTruth, dict[str, Any]]:
    """Crowds, empty images, classes without objects, ties, over 100 detections in an image, near and far boxes."""
    generator = np.random.default_rng(seed)
    rows = int(generator.integers(1, 40))
    image = np.sort(generator.integers(0, images - 1, rows)).astype(np.int32)
    label = generator.integers(0, 3, rows).astype(np.int32)
    box = random_boxes(generator, rows)
    objects = Objects(
        image,
        label,
        box,
        np.zeros(rows, dtype=np.bool_),
        crowd=generator.random(rows) < 0.2,
        area=(box[:, 2:] - box[:, :2]).prod(axis=1) * generator.choice([0.6, 1.0], rows),
        segment=tuple(rle(one) for one in box),
    )
    ids = tuple(str(number) for number in sorted(generator.choice(2000, images, replace=False)))
    size = np.full((images, 2), SIDE, dtype=np.int32)
    truth = GroundTruth("toy", "val", CLASSES, ids, size, derive_labels(images, len(CLASSES), objects), objects)
    count = int(generator.integers(1, 250))
    near = generator.integers(0, rows, count)
    where = np.where(
        generator.random((count, 1)) < 0.7,
        box[near] + generator.integers(-3, 4, (count, 4)),
        random_boxes(generator, count),
    )
    where[:, 2:] = np.maximum(where[:, 2:], where[:, :2] + 1)
    found = {
        "image": np.where(generator.random(count) < 0.5, image[near], generator.integers(0, 2, count)),
        "label": np.where(generator.random(count) < 0.6, label[near], generator.integers(0, 4, count)),
        "score": generator.choice([generator.integers(0, 12, count) / 8, generator.random(count)]),
        "box": where,
    }
    if generator.random() < 0.4:  # more than 100 of one image and class
        found |= {"image": np.full(count, image[0]), "label": np.full(count, label[0])}
    return truth, found


def given_to(truth: GroundTruth, found: dict[str, Any], kind: str, order: Any = None) -> dict[str, ResolvedPredictions]:
    order = np.arange(len(found["image"])) if order is None else order
    columns: dict[str, Any] = {
        "image": [truth.ids[row] for row in found["image"][order]],
        "label": [truth.classes[row] for row in found["label"][order]],
        "score": found["score"][order],
    }
    if kind == "boxes":
        columns |= {name: found["box"][order, side] for side, name in enumerate(("x1", "y1", "x2", "y2"))}
        return predicted(truth, kind, list(zip(*columns.values(), strict=True)))
    columns["segment"] = [rle(one).decode() for one in found["box"][order]]
    return {kind: resolve(Predictions(kind, pa.table(columns), About("x", ids=truth.ids), "p.parquet"), truth)}


def reference(truth: GroundTruth, found: dict[str, Any], kind: str) -> list[float]:
    """pycocotools' twelve numbers."""
    return [float(value) for value in evaluate(truth, found, kind).stats]


def evaluate(truth: GroundTruth, found: dict[str, Any], kind: str) -> Any:
    """pycocotools' evaluation."""
    o, sizes = truth.objects, {"height": SIDE, "width": SIDE}
    annotations = [
        {
            "id": row + 1,
            "image_id": int(truth.ids[o.image[row]]),
            "category_id": int(o.label[row]) + 1,
            "bbox": to_coco(o.box[row])[0].tolist(),
            "area": float(o.area[row]),  # type: ignore[index]
            "iscrowd": int(o.crowd[row]),  # type: ignore[index]
            "segmentation": {"size": [SIDE, SIDE], "counts": o.segment[row]},  # type: ignore[index]
        }
        for row in range(len(o))
    ]
    results = [
        {"image_id": int(truth.ids[image]), "category_id": int(label) + 1, "score": float(score)}
        | (
            {"bbox": to_coco(box)[0].tolist()}
            if kind == "boxes"
            else {"segmentation": {"size": [SIDE, SIDE], "counts": rle(box)}}
        )
        for image, label, score, box in zip(*found.values(), strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        objects = COCO()
        objects.dataset = {
            "images": [{"id": int(name), **sizes} for name in truth.ids],
            "annotations": annotations,
            "categories": [{"id": row + 1, "name": name} for row, name in enumerate(truth.classes)],
        }
        objects.createIndex()
        evaluation = COCOeval(objects, objects.loadRes(results), "bbox" if kind == "boxes" else "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pycocotools' own, under numpy 2
@pytest.mark.parametrize("kind", ["boxes", "segments"])
@pytest.mark.parametrize("seed", range(25))
def test_all_twelve_numbers_are_those_of_pycocotools(kind: str, seed: int) -> None:
    truth, found = random_case(seed)
    protocol = bound("coco14-det", region="box" if kind == "boxes" else "mask")
    evaluation = judge(protocol, truth, given_to(truth, found, kind))
    expected = [None if value < 0 else pytest.approx(value, abs=1e-12) for value in reference(truth, found, kind)]
    assert list(evaluation.metrics.values()) == expected


@pytest.mark.parametrize("seed", range(25, 35))
def test_precision_and_recall_are_those_of_pycocotools_to_the_last_bit(seed: int) -> None:
    truth, found = random_case(seed)
    protocol = bound("coco14-det")
    outcomes = protocol.family.score(truth, given_to(truth, found, "boxes"), protocol.conventions).outcomes
    positives = count_positives(outcomes, len(CLASSES))
    expected = evaluate(truth, found, "boxes").eval  # by IoU, (recall,) class, size, detections; -1 where undefined
    precision = np.nan_to_num(accumulate_precision(outcomes, positives), nan=-1)
    recall = np.nan_to_num(accumulate_recall(outcomes, positives, (1, 10, 100)), nan=-1)
    assert np.array_equal(precision, expected["precision"][..., -1].transpose(3, 0, 1, 2))
    assert np.array_equal(recall, expected["recall"].transpose(3, 2, 0, 1))


@pytest.mark.parametrize("kind", ["boxes", "segments"])
@pytest.mark.parametrize("seed", range(25))
def test_outcomes_give_by_class_what_the_whole_gives(kind: str, seed: int) -> None:
    truth, found = random_case(seed)
    protocol = bound("coco14-det", region="box" if kind == "boxes" else "mask")
    scored = protocol.family.score(truth, given_to(truth, found, kind), protocol.conventions)
    redone = protocol.family.summarise(scored.outcomes, CLASSES, protocol.conventions, np.ones((1, len(truth.ids))))
    assert scored.whole is not None
    for metric, values in scored.whole.items():
        assert redone[metric][0].tolist() == pytest.approx(values.tolist(), abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("seed", range(10))
def test_a_replicate_equals_scoring_a_split_that_holds_its_images_as_often(seed: int) -> None:
    truth, found = random_case(seed)
    found["score"] = (np.random.default_rng(seed).permutation(len(found["image"])) + 1) / 512  # without ties
    times = np.random.default_rng(seed).integers(0, 4, len(truth.ids))
    protocol = bound("coco14-det")
    scored = protocol.family.score(truth, given_to(truth, found, "boxes"), protocol.conventions)
    drawn = protocol.family.summarise(scored.outcomes, CLASSES, protocol.conventions, times[None].astype(np.float64))
    larger, copies = repeated(truth, found, times)
    expected = judge(protocol, larger, given_to(larger, copies, "boxes")).per_class
    for metric, values in expected.items():
        named = [np.nan if value is None else value for value in values.values()]
        assert drawn[metric][0].tolist() == pytest.approx(named, abs=1e-12, nan_ok=True)


def repeated(truth: GroundTruth, found: dict[str, Any], times: Any) -> tuple[GroundTruth, dict[str, Any]]:
    """Truth and detections with image i there `times[i]` times, its copies next to each other."""
    copies = [(image, copy) for image, count in enumerate(times) for copy in range(count)]
    o, of = truth.objects, np.array([image for image, _ in copies], dtype=np.int64)
    rows = [np.flatnonzero(o.image == image) for image in of]
    objects = replace(
        o.take(np.concatenate(rows).astype(np.int64)),
        image=np.repeat(np.arange(len(of)), list(map(len, rows))).astype(np.int32),
    )
    ids = tuple(f"{truth.ids[image]}{copy}" for image, copy in copies)
    labels = derive_labels(len(ids), len(CLASSES), objects)
    larger = replace(truth, ids=ids, size=truth.size[of], labels=labels, objects=objects)
    mine = [np.flatnonzero(found["image"] == image) for image in of]
    kept = {name: column[np.concatenate(mine).astype(np.int64)] for name, column in found.items()}
    return larger, {**kept, "image": np.repeat(np.arange(len(of)), list(map(len, mine)))}


def test_how_much_is_looked_at_in_one_go_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, found = random_case(1)
    given, protocol = given_to(truth, found, "boxes"), bound("coco14-det")
    whole = protocol.family.score(truth, given, protocol.conventions).outcomes
    monkeypatch.setattr("protocols.scoring.coco_matching._PAIRS", 1)
    parts = protocol.family.score(truth, given, protocol.conventions).outcomes
    assert parts.drop_columns("score").equals(whole.drop_columns("score"))


def test_every_defined_metric_has_an_interval() -> None:
    truth, found = random_case(3)
    evaluation = judge(bound("coco14-det"), truth, given_to(truth, found, "boxes"), replicates=100)
    for metric, value in evaluation.metrics.items():
        low, high = evaluation.intervals[metric]
        assert 0 <= low <= (value or 0) <= high <= 1


@pytest.mark.parametrize("seed", range(5))
def test_no_detections_at_all_are_a_far_false_one(seed: int) -> None:
    truth, found = random_case(seed)
    nothing = {name: column[:0] for name, column in found.items()}
    false = {
        "image": np.array([5]),
        "label": np.array([0]),
        "score": np.array([0.5]),
        "box": np.array([[0.0, 0.0, 9.0, 9.0]]),
    }
    assert not (truth.objects.image == 5).any()
    none, one = (judge(bound("coco14-det"), truth, given_to(truth, each, "boxes")) for each in (nothing, false))
    assert none.per_class == one.per_class
    assert set(none.metrics.values()) <= {0.0, None}


def test_one_object_found_and_one_missed_by_hand() -> None:
    # recall 1/2 at precision 1: recall points 0 ... .50 of 101, so AP = 51 / 101 at every IoU; one object is large.
    truth = truth_of([("a", "cat", (0, 0, 100, 100), False), ("b", "cat", (0, 0, 10, 10), False)], size=(200, 200))
    found = predicted(truth, "boxes", [("a", "cat", 0.9, 0, 0, 100, 100)])
    evaluation = judge(bound("coco14-det"), truth, found, replicates=10)
    assert evaluation.metrics["AP"] == evaluation.metrics["AP50"] == pytest.approx(51 / 101)
    assert (evaluation.metrics["AP_large"], evaluation.metrics["AP_small"], evaluation.metrics["AP_medium"]) == (
        pytest.approx(1.0),
        0.0,
        None,
    )
    assert evaluation.metrics["AR_100"] == 0.5
    assert evaluation.undefined["AP"] == ("dog", "eel")
    # A replicate that holds neither image is undefined, as is one without the large object.
    assert evaluation.intervals.keys() == evaluation.metrics.keys() - {"AP_medium", "AR_medium"}


def test_a_detection_of_a_crowd_is_ignored() -> None:
    # The first detection lies wholly in the crowd of image b; as an object it would be missed by it, and IoU is .31.
    truth = truth_of([("b", "cat", (0, 0, 9, 9), False), ("d", "cat", (0, 0, 9, 9), False)])
    crowded = replace(truth, objects=replace(truth.objects, crowd=np.array([True, False])))
    found = predicted(truth, "boxes", [("b", "cat", 0.9, 0, 0, 5, 5), ("d", "cat", 0.8, 0, 0, 9, 9)])
    assert judge(bound("coco14-det"), crowded, found).metrics["AP"] == pytest.approx(1.0)
    assert (judge(bound("coco14-det"), truth, found).metrics["AP"] or 0) < 0.5


def test_what_does_not_go_with_the_region_is_refused() -> None:
    truth = truth_of([("a", "cat", (0, 0, 9, 9), False)])
    found = predicted(truth, "boxes", [])
    with pytest.raises(RequestError, match=r"Expected segments \(region = mask\), but got boxes"):
        judge(bound("coco14-det", region="mask"), truth, found)


def test_broken_run_lengths_never_reach_the_engine() -> None:
    truth, found = random_case(0)
    given = given_to(truth, found, "segments")
    broken = replace(given["segments"], segments=(b"\x00\xff", *given["segments"].segments[1:]))
    with pytest.raises(RequestError, match=r"Row 0, a segment of image .*: not compressed run lengths"):
        judge(bound("coco14-det", region="mask"), truth, {"segments": broken})


def test_without_any_object_nothing_is_defined_and_odd_boxes_are_no_trouble() -> None:
    rows = [("a", "cat", 0.9, 4, 4, 0, 0), ("a", "cat", 0.8, -5, 0, 4, 1e308), ("b", "cat", 0.7, 0, 0, 4, 4)]
    empty = truth_of([])
    assert set(judge(bound("coco14-det"), empty, predicted(empty, "boxes", rows)).metrics.values()) == {None}
    # The inverted box is false. The endless one is of no size that COCO knows (up to 1e10), and is ignored as there.
    truth = truth_of([("b", "cat", (0, 0, 4, 4), False)])
    evaluation = judge(bound("coco14-det"), truth, predicted(truth, "boxes", rows))
    assert evaluation.metrics["AP"] == pytest.approx(1 / 2)
    assert evaluation.counts["inverted_boxes"] == 1
