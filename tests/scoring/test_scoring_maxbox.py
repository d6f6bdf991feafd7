"""MaxBoxAcc against two references: components found by scipy, and a plain loop over all thousand thresholds."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from scipy import ndimage
from scoring_cases import arrays, bound, judge, truth_of

from bench.data.ground_truth import GroundTruth
from bench.errors import RequestError
from protocols.scoring.maxbox import SIDE, TAUS, scale_map

IDS = ("b", "a")
SIZE = (400, 300)
BOTH_ENDS = ("tight", "wsolevaluation")


def made(seed: int, *, grain: int) -> tuple[GroundTruth, dict[str, Any]]:
    """Two images with a box or two, and maps with blobs, holes and a flat floor."""
    generator = np.random.default_rng(seed)
    objects, maps = [], {}
    for image in IDS:
        for _ in range(generator.integers(1, 3)):
            x, y = generator.integers(0, 200), generator.integers(0, 150)
            objects.append(
                (image, "cat", (x, y, x + generator.integers(30, 199), y + generator.integers(30, 149)), False)
            )
        coarse = generator.random((grain, grain)) ** generator.integers(1, 4)
        large = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC).astype(np.float32)
        maps[image] = np.maximum(large, generator.choice([-9.0, 0.3])).astype(np.float32)
    return truth_of(objects, ids=IDS, size=SIZE), maps


def truth_boxes(truth: GroundTruth, row: int) -> list[list[int]]:
    boxes = truth.objects.box[truth.objects.image == row]
    return [[int(corner * SIDE / side) for corner, side in zip(box, SIZE * 2, strict=True)] for box in boxes]


def slow_iou(a: Any, b: Any, ends: str) -> float:
    """On integers; under wsolevaluation's ends the last pixel is in the box."""
    more = 1 if ends == "wsolevaluation" else 0
    shared = [max(0, min(a[i + 2], b[i + 2]) - max(a[i], b[i]) + more) for i in (0, 1)]
    areas = [(box[2] - box[0] + more) * (box[3] - box[1] + more) for box in (a, b)]
    union = sum(areas) - shared[0] * shared[1]
    return float(shared[0] * shared[1] / union) if union > 0 else 0.0


def contour_boxes(foreground: Any, ends: str) -> list[list[int]]:
    """The box of each component (8-connected), and of each hole with the foreground around it (holes: 4-connected)."""
    boxes = []
    for y, x in ndimage.find_objects(ndimage.label(foreground, np.ones((3, 3)))[0]):
        boxes.append([x.start, y.start, x.stop, y.stop])
    background, _ = ndimage.label(np.pad(~foreground, 1, constant_values=True))
    for number, (y, x) in enumerate(ndimage.find_objects(background), start=1):
        if number != background[0, 0]:
            boxes.append([x.start - 2, y.start - 2, x.stop, y.stop])
    if ends == "wsolevaluation":
        boxes = [[x1, y1, min(x2, SIDE - 1), min(y2, SIDE - 1)] for x1, y1, x2, y2 in boxes]
    return boxes or [[0, 0, 0, 0]]


def slow_v2(truth: GroundTruth, maps: dict[str, Any], ends: str) -> float:
    """The mean over IoU .3, .5, .7 of the best share over thresholds, over every different foreground."""
    shares = {least: np.zeros(len(TAUS)) for least in (0.3, 0.5, 0.7)}
    for row, image in enumerate(truth.ids):
        grey = (maps[image] * 255).astype(np.uint8)
        seen: dict[int, float] = {}
        for at, tau in enumerate(TAUS):
            level = int(tau * grey.max())
            if level not in seen:
                pairs = [(a, b) for a in contour_boxes(grey > level, ends) for b in truth_boxes(truth, row)]
                seen[level] = max(slow_iou(a, b, ends) for a, b in pairs)
            for least, hits in shares.items():
                hits[at] += seen[level] >= least
    return float(np.mean([hits.max() / len(truth.ids) for hits in shares.values()]))


def loop_v1(truth: GroundTruth, maps: dict[str, Any], ends: str) -> float:
    """The best share over all thousand thresholds of the largest contour's box at IoU .5."""
    hits = np.zeros(len(TAUS))
    for row, image in enumerate(truth.ids):
        grey = (maps[image] * 255).astype(np.uint8)
        for at, tau in enumerate(TAUS):
            _, black = cv2.threshold(grey, int(tau * grey.max()), 255, cv2.THRESH_BINARY)
            contours, _ = cv2.findContours(black, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
            box = [0, 0, 0, 0]
            if contours:
                x, y, w, h = cv2.boundingRect(max(contours, key=cv2.contourArea))
                last = SIDE - 1 if ends == "wsolevaluation" else SIDE
                box = [x, y, min(x + w, last), min(y + h, last)]
            hits[at] += max(slow_iou(box, one, ends) for one in truth_boxes(truth, row)) >= 0.5
    return float(hits.max() / len(truth.ids))


def released(small: Any) -> Any:
    """A map as the released evaluation prepares it, in double precision: enlarged by cubics, then spanning 0 ... 1."""
    large = cv2.resize(small.astype(np.float64), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    large -= large.min()
    return large / large.max()


def maps_of(truth: GroundTruth, maps: dict[str, Any]) -> Any:
    return arrays(truth, "maps", [(image, "cat", one) for image, one in maps.items()])


@pytest.mark.parametrize("ends", BOTH_ENDS)
@pytest.mark.parametrize(("seed", "grain"), [(0, 4), (1, 6), (2, 9), (3, 5), (4, 14), (5, 3)])
def test_both_versions_equal_their_references(seed: int, grain: int, ends: str) -> None:
    truth, maps = made(seed, grain=grain)
    scaled = {image: released(one) for image, one in maps.items()}
    evaluation = judge(bound("cub-maxbox", box_ends=ends), truth, maps_of(truth, maps)).metrics
    assert evaluation["MaxBoxAccV2"] == pytest.approx(slow_v2(truth, scaled, ends), abs=1e-6)
    assert evaluation["MaxBoxAcc"] == pytest.approx(loop_v1(truth, scaled, ends), abs=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_a_small_map_gives_the_grey_levels_of_the_released_evaluation(seed: int) -> None:
    small = np.random.default_rng(seed).random((14, 14)).astype(np.float32)
    np.testing.assert_array_equal(np.uint8(scale_map(small) * 255), np.uint8(released(small) * 255))


@pytest.mark.parametrize("value", [0.1, 0.3, 0.7])
def test_a_constant_small_map_is_nothing_however_its_enlarging_is_rounded(value: float) -> None:
    assert not scale_map(np.full((7, 7), value, np.float32)).any()


def test_a_large_map_whose_only_peak_is_between_the_samples_is_nothing() -> None:
    large = np.zeros((1000, 1000), np.float32)
    large[4, 4] = 1
    assert not scale_map(large).any()


def square(x1: int, y1: int, x2: int, y2: int) -> Any:
    found = np.zeros((SIDE, SIDE), np.float32)
    found[y1:y2, x1:x2] = 1
    return found


def one_box(box: tuple[int, ...]) -> GroundTruth:
    return truth_of([("a", "cat", box, False)], ids=("a",), size=(SIDE, SIDE))


@pytest.mark.parametrize(("ends", "hits"), [("tight", 1.0), ("wsolevaluation", 2 / 3)])
def test_the_ends_of_a_box_by_hand(ends: str, hits: float) -> None:
    # Foreground 10 x 10, truth 10 x 7 in it: IoU .7 exactly. wsolevaluation: 11 * 8 / (11 * 11) = .727 ... the truth
    # grows too; of a truth 7 x 10 that ends with the map, only the truth does: 8 * 11 / ... by the clip at 223.
    truth = one_box((0, 0, 10, 7))
    evaluation = judge(bound("cub-maxbox", box_ends=ends), truth, maps_of(truth, {"a": square(0, 0, 10, 10)})).metrics
    assert evaluation["MaxBoxAccV2"] == 1.0
    last = one_box((SIDE - 2, 0, SIDE, 200))
    found = maps_of(last, {"a": square(SIDE - 2, 0, SIDE, 200)})
    assert judge(bound("cub-maxbox", box_ends=ends), last, found).metrics["MaxBoxAccV2"] == pytest.approx(hits)


def test_a_hole_is_a_contour_of_its_own_and_the_largest_is_around_it() -> None:
    ring = square(50, 50, 150, 150)
    ring[81:109, 81:109] = 0
    truth = one_box((80, 80, 110, 110))
    evaluation = judge(bound("cub-maxbox"), truth, maps_of(truth, {"a": ring})).metrics
    assert (evaluation["MaxBoxAcc"], evaluation["MaxBoxAccV2"]) == (0.0, 1.0)


def test_the_best_threshold_is_one_for_all_images_and_a_fixed_one_is_beside_it() -> None:
    # Image b is right only over .5, image a only under it: the best common threshold gets one of two.
    low, high = square(0, 0, 40, 40), square(0, 0, 100, 100) * 0.5
    both = np.maximum(low, high).astype(np.float32)
    truth = truth_of(
        [("b", "cat", (0, 0, 40, 40), False), ("a", "cat", (0, 0, 100, 100), False)], ids=IDS, size=(SIDE, SIDE)
    )
    evaluation = judge(bound("cub-maxbox", fixed_threshold=0.7), truth, maps_of(truth, {"a": both, "b": both})).metrics
    assert evaluation == {"MaxBoxAccV2": 0.5, "MaxBoxAcc": 0.5, "BoxAccV2": 0.5, "BoxAcc": 0.5}


def test_a_fixed_threshold_is_the_tau_of_that_name() -> None:
    # 350 * .001 is a little more than .35. Its level is int(.35 * 255) = 89, that of .349 is 88; around the box is 89.
    found = np.maximum(square(0, 0, 40, 40), square(0, 0, 100, 100) * np.float32(89.5 / 255))
    truth = one_box((0, 0, 40, 40))
    for fixed, hits in ((0.35, 1.0), (0.349, 0.0)):
        protocol = bound("cub-maxbox", fixed_threshold=fixed)
        assert judge(protocol, truth, maps_of(truth, {"a": found})).metrics["BoxAcc"] == hits


def test_the_best_thresholds_are_said_so_that_those_of_another_split_can_be_fixed() -> None:
    # Right at IoU .3 while the outer 60 x 60 are foreground, (40 / 60) ** 2 = .44, at .5 and .7 only over its level.
    found = np.maximum(square(0, 0, 40, 40), square(0, 0, 60, 60) * np.float32(89.5 / 255))
    truth = one_box((0, 0, 40, 40))
    (note,) = judge(bound("cub-maxbox"), truth, maps_of(truth, {"a": found})).notes
    assert note == "the best thresholds are .350 of MaxBoxAcc, and .000, .350, .350 of MaxBoxAccV2 at IoU .3, .5, .7"


def test_a_flat_map_a_map_of_another_class_and_none_are_misses() -> None:
    truth = truth_of([(image, "cat", (0, 0, 99, 99), False) for image in "bad"], ids=("b", "a", "d"), size=SIZE)
    rows = [("b", "cat", np.full((7, 7), 3.0, np.float32)), ("a", "dog", square(0, 0, 50, 70))]
    evaluation = judge(bound("cub-maxbox"), truth, arrays(truth, "maps", rows), replicates=10)
    assert evaluation.metrics["MaxBoxAccV2"] == 0
    assert evaluation.counts["images_without_map"] == 1
    assert evaluation.intervals["MaxBoxAcc"] == (0.0, 0.0)


@pytest.mark.parametrize("name", ["cub-maxbox", "ilsvrc-maxbox"])
def test_its_records_say_that_the_threshold_was_chosen_on_the_evaluated_images(name: str) -> None:
    assert bound(name).record.tuned_on == "test-oracle"


def test_images_of_unknown_size_are_refused() -> None:
    truth = truth_of([("a", "cat", (0, 0, 9, 9), False)], size=(0, 0))
    with pytest.raises(RequestError, match="sizes of toy test are not known"):
        judge(bound("cub-maxbox"), truth, maps_of(truth, {}))
