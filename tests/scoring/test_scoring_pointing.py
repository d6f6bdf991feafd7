"""The pointing game against a slow reference over pixels, hand-computed examples, and the known anchor."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as drawn_arrays
from pycocotools.mask import encode
from scoring_cases import CLASSES, HEIGHT, IDS, WIDTH, arrays, bound, judge, predicted, truth_of, truths

from bench.core.files import Places
from bench.data.datasets import open_dataset
from bench.data.ground_truth import GroundTruth
from bench.errors import RequestError

PIXELS = [(x, y) for x in range(WIDTH) for y in range(HEIGHT)]


def slow_hit(point: Any, boxes: list[Any], how: dict[str, Any]) -> bool:
    """Whether any pixel of any box is near enough."""
    for x1, y1, x2, y2 in boxes:
        edge = 0 if how["box_region"] == "pixels" else 1
        for x, y in ((x, y) for x in range(int(x1), int(x2) + edge) for y in range(int(y1), int(y2) + edge)):
            gaps = abs(point[0] - x), abs(point[1] - y)
            distance = math.hypot(*gaps) if how["tolerance_shape"] == "euclid" else max(gaps)
            if distance < how["tolerance"] or (distance == how["tolerance"] and how["tolerance_compare"] == "<="):
                return True
    return False


def slow_verdicts(
    truth: GroundTruth, points: dict[Any, Any], label: str, how: dict[str, Any]
) -> list[tuple[bool, bool]]:
    """Of each pair that counts: whether it hits, and whether it is in the difficult subset."""
    o, verdicts = truth.objects, []
    for image in truth.ids:
        here = [i for i in range(len(o)) if truth.ids[o.image[i]] == image]
        mine = [i for i in here if truth.classes[o.label[i]] == label]
        if not mine or (all(o.difficult[mine]) and how["difficult_only_pairs"] == "skip"):
            continue
        targets = [i for i in mine if how["difficult_boxes"] == "count" or not o.difficult[i]]
        others = [i for i in here if i not in mine and (how["subset_distractor"] == "any" or not o.difficult[i])]
        covered = {(x, y) for x, y in PIXELS for i in mine if _inside(x, y, o.box[i])}
        point = points.get((image, label))
        hit = point is not None and slow_hit(point, [o.box[i] for i in targets], how)
        verdicts.append((hit, bool(others) and len(covered) < len(PIXELS) * how["subset_area"]))
    return verdicts


def _inside(x: int, y: int, box: Any) -> bool:
    return box[0] <= x < box[2] and box[1] <= y < box[3]


POINTS = st.dictionaries(
    st.tuples(st.sampled_from(IDS), st.sampled_from(CLASSES)),
    st.tuples(st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1)),
)
SWITCHES = st.fixed_dictionaries(
    {
        "tolerance": st.sampled_from([0.0, 1.0, 2.0, 5.0]),
        "tolerance_compare": st.sampled_from(["<", "<="]),
        "tolerance_shape": st.sampled_from(["euclid", "square"]),
        "box_region": st.sampled_from(["pixels", "region"]),
        "difficult_boxes": st.sampled_from(["count", "ignore"]),
        "difficult_only_pairs": st.sampled_from(["skip", "count"]),
        "subset_area": st.sampled_from([0.05, 0.1, 0.25]),
        "subset_distractor": st.sampled_from(["non-difficult", "any"]),
    }
)


@given(truths(), POINTS, SWITCHES)
def test_equals_a_slow_reference_under_every_switch(truth: GroundTruth, points: Any, how: dict[str, Any]) -> None:
    rows = [(*pair, 1.0, *map(float, point)) for pair, point in points.items()]
    evaluation = judge(bound("voc07-point", **how), truth, predicted(truth, "points", rows)).per_class
    for label in CLASSES:
        verdicts = slow_verdicts(truth, points, label, how)
        difficult = [hit for hit, is_difficult in verdicts if is_difficult]
        assert evaluation["accuracy"][label] == _share([hit for hit, _ in verdicts])
        assert evaluation["accuracy_difficult"][label] == _share(difficult)


def _share(hits: list[bool]) -> Any:
    return pytest.approx(sum(hits) / len(hits)) if hits else None


@pytest.mark.parametrize(
    ("change", "hits"),
    [
        ({}, False),  # from pixel 19 to 34: exactly 15, not under 15
        ({"tolerance_compare": "<="}, True),
        ({"box_region": "region"}, True),  # to the edge at 20: 14
        ({"tolerance": 15.5}, True),
    ],
)
def test_fifteen_pixels_from_the_last_pixel_of_a_box(change: dict[str, Any], hits: bool) -> None:
    truth = truth_of([("a", "cat", (10, 10, 20, 20), False)], size=(100, 100))
    found = predicted(truth, "points", [("a", "cat", 1.0, 34, 15)])
    assert judge(bound("voc07-point", **change), truth, found).metrics["accuracy"] == float(hits)


def test_a_square_reaches_further_at_the_corners_than_a_circle() -> None:
    truth = truth_of([("a", "cat", (10, 10, 20, 20), False)], size=(100, 100))
    found = predicted(truth, "points", [("a", "cat", 1.0, 33, 33)])  # 14 and 14 away: 19.8 by Euclid
    assert judge(bound("voc07-point"), truth, found).metrics["accuracy"] == 0
    assert judge(bound("voc07-point", tolerance_shape="square"), truth, found).metrics["accuracy"] == 1


def test_a_pair_without_a_point_is_a_miss() -> None:
    truth = truth_of([("a", "cat", (0, 0, 4, 4), False), ("b", "cat", (0, 0, 4, 4), False)])
    evaluation = judge(bound("voc07-point"), truth, predicted(truth, "points", [("a", "cat", 1.0, 1, 1)]))
    assert evaluation.metrics["accuracy"] == 0.5
    assert evaluation.counts["pairs_without_point"] == 1


def test_the_difficult_subset_takes_the_union_of_boxes_and_another_clear_class() -> None:
    # Image of 120 pixels, a quarter is 30. Image a: boxes of 20 + 20 pixels, 24 together: under a quarter.
    # Image b: 20 + 20 side by side: not under it. Image c: small, but alone.
    overlapping = [("a", "cat", (0, 0, 5, 4), False), ("a", "cat", (1, 0, 6, 4), True)]
    apart = [("b", "cat", (0, 0, 5, 4), False), ("b", "cat", (5, 0, 10, 4), False)]
    alone = [("c", "cat", (0, 0, 1, 1), False), ("c", "dog", (0, 0, 9, 9), True)]
    dogs = [(image, "dog", (0, 0, 9, 9), False) for image in "ab"]
    truth = truth_of([*overlapping, *apart, *alone, *dogs])
    nowhere = predicted(truth, "points", [])
    assert judge(bound("voc07-point"), truth, nowhere).counts["pairs_difficult"] == 1
    assert judge(bound("voc07-point", subset_distractor="any"), truth, nowhere).counts["pairs_difficult"] == 2


def test_points_of_absent_classes_and_far_away_are_no_trouble() -> None:
    truth = truth_of([("a", "cat", (0, 0, 4, 4), False)])
    rows = [("a", "dog", 1.0, 1, 1), ("a", "cat", 1.0, 1e308, -1e308)]
    assert judge(bound("voc07-point"), truth, predicted(truth, "points", rows)).metrics["accuracy"] == 0


def with_masks(objects: list[tuple[str, Any]]) -> GroundTruth:
    """Cats with masks (HEIGHT, WIDTH), and boxes tight around them, a pixel short at the end."""
    boxes = [[x.min(), y.min(), x.max(), y.max()] for y, x in (np.nonzero(mask) for _, mask in objects)]
    truth = truth_of([(image, "cat", box, False) for (image, _), box in zip(objects, boxes, strict=True)])
    ordered = sorted(objects, key=lambda one: IDS.index(one[0]))
    segments = [encode(np.asfortranarray(mask, dtype=np.uint8))["counts"] for _, mask in ordered]
    return replace(truth, objects=replace(truth.objects, segment=tuple(map(bytes, segments))))


MASK = drawn_arrays(np.bool_, (HEIGHT, WIDTH), elements=st.sampled_from([False, False, False, True])).filter(np.any)
MASK_SWITCHES = st.fixed_dictionaries(
    {
        "tolerance": st.sampled_from([0.0, 1.0, 2.5]),
        "tolerance_compare": st.sampled_from(["<", "<="]),
        "tolerance_shape": st.sampled_from(["euclid", "square"]),
    }
)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(IDS), MASK), max_size=4), POINTS, MASK_SWITCHES)
def test_against_masks_it_equals_a_slow_reference_over_their_pixels(objects: Any, points: Any, how: Any) -> None:
    truth = with_masks(objects)
    rows = [(*pair, 1.0, *map(float, point)) for pair, point in points.items()]
    evaluation = judge(bound("coco14-point", **how), truth, predicted(truth, "points", rows)).per_class["accuracy"][
        "cat"
    ]
    hits = []
    for image in {image for image, _ in objects}:
        pixels = [(x, y, x + 1, y + 1) for name, mask in objects if name == image for y, x in np.argwhere(mask)]
        point = points.get((image, "cat"))
        hits.append(point is not None and slow_hit(point, pixels, {**how, "box_region": "pixels"}))
    assert evaluation == _share(hits)


def test_a_point_in_the_box_and_off_the_mask_misses_unless_near() -> None:
    corner = np.zeros((HEIGHT, WIDTH), dtype=bool)
    corner[0, 0] = corner[8, 8] = True
    truth = with_masks([("a", corner)])
    found = predicted(truth, "points", [("a", "cat", 1.0, 8, 0)])
    for change, hits in ({"tolerance": 8.0}, 0.0), ({"tolerance": 8.5}, 1.0), ({"box_region": "pixels"}, 1.0):
        assert judge(bound("coco14-point", **change), truth, found).metrics["accuracy"] == hits


def test_a_truth_without_masks_of_its_objects_is_refused() -> None:
    truth = truth_of([("a", "cat", (0, 0, 4, 4), False)])
    with pytest.raises(RequestError, match="toy has no masks of its objects"):
        judge(bound("coco14-point"), truth, predicted(truth, "points", []))


def test_a_map_points_where_it_is_highest_at_the_size_of_the_image() -> None:
    truth = truth_of([("a", "cat", (8, 0, 12, 4), False), ("b", "dog", (0, 0, 4, 4), False)])
    maps = [
        ("a", "cat", np.array([[0, 1], [0, 0]], np.float32)),
        ("b", "dog", np.array([[0, 1], [0, 0]], np.float32)),
    ]
    evaluation = judge(bound("voc07-point", tolerance=1.0), truth, arrays(truth, "maps", maps))
    assert evaluation.per_class["accuracy"] == {"cat": 1.0, "dog": 0.0, "eel": None}


@pytest.mark.voc2007
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, (0.6963, 0.4244, 7013, 2230)),
        ({"tolerance_compare": "<="}, (0.6989, 0.4322, 7013, 2230)),
        ({"tolerance_shape": "square"}, (0.6979, 0.4280, 7013, 2230)),
        ({"box_region": "region"}, (0.6981, 0.4278, 7013, 2230)),
        ({"difficult_boxes": "ignore"}, (0.6883, 0.4167, 7013, 2230)),
        ({"difficult_only_pairs": "count"}, (0.6702, 0.3832, 7632, 2716)),
        (
            {"tolerance_shape": "square", "tolerance_compare": "<=", "difficult_only_pairs": "count"},
            (0.6744, 0.3940, 7632, 2716),
        ),
        ({"tolerance": 0.0, "tolerance_compare": "<="}, (0.6337, 0.3329, 7013, 2230)),
    ],
)
def test_the_centre_of_every_voc07_image_scores_as_published_and_as_the_docs_say(
    change: dict[str, Any], expected: tuple[float, ...], data_root: Path, tmp_path: Path
) -> None:
    truth = open_dataset("voc2007", Places(tmp_path, data_root)).ground_truth("test")
    pairs = zip(*np.nonzero(truth.labels >= 0), strict=True)
    rows = [(truth.ids[image], truth.classes[label], 1.0, *(truth.size[image] / 2)) for image, label in pairs]
    evaluation = judge(bound("voc07-point", **change), truth, predicted(truth, "points", rows))
    found = tuple(round(value or 0, 4) for value in evaluation.metrics.values())
    assert (*found, evaluation.counts["pairs"], evaluation.counts["pairs_difficult"]) == expected
