"""Object Energy against a slow reference over pixels, by hand, and what must not move it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as drawn_arrays
from scoring_cases import CLASSES, HEIGHT, IDS, WIDTH, arrays, bound, boxes, judge, predicted, truth_of, truths

from bench.data.ground_truth import GroundTruth
from bench.errors import RequestError

PIXELS = [(x, y) for x in range(WIDTH) for y in range(HEIGHT)]


def inside(x: int, y: int, box: Any) -> bool:
    return bool(box[0] <= x + 0.5 < box[2] and box[1] <= y + 0.5 < box[3])


def slow_energy(truth: GroundTruth, energy: Any, difficult: str) -> Fraction | None:
    """Mean over images with objects of the share of `energy(image, x, y)` on a box, in exact fractions."""
    o, shares = truth.objects, []
    for row, image in enumerate(truth.ids):
        mine = [o.box[i] for i in range(len(o)) if o.image[i] == row and not (o.difficult[i] and difficult == "ignore")]
        if not mine:
            continue
        values = {(x, y): energy(image, x, y) for x, y in PIXELS}
        on_object = sum(value for (x, y), value in values.items() if any(inside(x, y, box) for box in mine))
        total = sum(values.values())
        shares.append(Fraction(on_object) / total if total else Fraction(0))
    return sum(shares) / len(shares) if shares else None


def same(found: float | None, expected: Fraction | None) -> bool:
    return found is None if expected is None else found == pytest.approx(float(expected), abs=1e-6)


DIFFICULT = st.sampled_from(["count", "ignore"])
FULL = drawn_arrays(np.float32, (HEIGHT, WIDTH), elements=st.sampled_from([0.0, 0.25, 1.0, 5.0]))


@settings(max_examples=30)
@given(truths(), st.dictionaries(st.sampled_from(IDS), FULL), DIFFICULT, st.sampled_from([0.5, 8.0]))
def test_a_map_equals_a_slow_reference_and_no_factor_moves_it(
    truth: GroundTruth, maps: Any, difficult: str, factor: float
) -> None:
    found = arrays(truth, "objectness", [(image, None, one * np.float32(factor)) for image, one in maps.items()])
    evaluation = judge(bound("voc07-energy", difficult_objects=difficult), truth, found)
    expected = slow_energy(truth, lambda i, x, y: Fraction(float(maps[i][y, x])) if i in maps else 0, difficult)
    assert same(evaluation.metrics["object_energy"], expected)


ROWS = st.lists(
    st.tuples(
        st.sampled_from(IDS), st.sampled_from(CLASSES), st.sampled_from([0.0, 0.25, 1.0]), boxes(), st.booleans()
    ),
    max_size=12,
)


@settings(max_examples=30)
@given(truths(), ROWS, DIFFICULT, st.randoms(use_true_random=False))
def test_scored_boxes_equal_a_slow_reference_in_any_order(
    truth: GroundTruth, drawn: Any, difficult: str, random: Any
) -> None:
    rows = [(i, c, s, *(side + 0.25 * shifted for side in map(float, box))) for i, c, s, box, shifted in drawn]
    moved = truth.subset(random.sample(IDS, 4), split="test")
    found = predicted(moved, "boxes", random.sample(rows, len(rows)))
    evaluation = judge(bound("voc07-energy", difficult_objects=difficult), moved, found)

    def energy(image: str, x: int, y: int) -> Fraction:
        return Fraction(sum(row[2] for row in rows if row[0] == image and inside(x, y, row[3:])))

    assert same(evaluation.metrics["object_energy"], slow_energy(truth, energy, difficult))


def test_a_small_map_is_enlarged_before_it_is_summed() -> None:
    # Four quarters of 1, 0, 0, 0 over 8 x 8 pixels, bilinear: half of it by symmetry lies in the left upper 4 x 4 ...
    # ... plus what leaks: weights along an axis are 1, 1, .875, .625 | .375, .125, 0, 0: (3.5 / 4) ** 2 = .765625.
    truth = truth_of([("a", "cat", (0, 0, 4, 4), False)], ids=("a",), size=(8, 8))
    found = arrays(truth, "objectness", [("a", None, np.array([[1, 0], [0, 0]], np.float32))])
    assert judge(bound("voc07-energy"), truth, found).metrics["object_energy"] == pytest.approx(0.765625)


def test_two_boxes_by_hand_and_an_image_without_an_answer() -> None:
    # Box of score 3 on the object's 16 pixels, box of score 1 on 16 others: 48 of 64. Image b has no boxes: 0.
    truth = truth_of([("a", "cat", (0, 0, 4, 4), False), ("b", "cat", (0, 0, 4, 4), True)])
    rows = [("a", "dog", 3, 0, 0, 4, 4), ("a", "cat", 1, 6, 6, 10, 10), ("a", "cat", 9, 20, 20, 30, 30)]
    found = predicted(truth, "boxes", rows)
    assert judge(bound("voc07-energy"), truth, found).metrics["object_energy"] == pytest.approx(0.375)
    assert judge(bound("voc07-energy", difficult_objects="ignore"), truth, found).metrics["object_energy"] == 0.75


def test_huge_scores_are_no_trouble_and_negative_energy_is_refused() -> None:
    truth = truth_of([("a", "cat", (0, 0, 4, 4), False)])
    huge = predicted(truth, "boxes", [("a", "cat", 1.7e308, 0, 0, 4, 4)] * 3)
    assert judge(bound("voc07-energy"), truth, huge).metrics["object_energy"] == 1.0
    below = predicted(truth, "boxes", [("a", "cat", -1, 0, 0, 4, 4)])
    with pytest.raises(RequestError, match="Energy must not be below 0, but image 'a' has -1"):
        judge(bound("voc07-energy"), truth, below)
