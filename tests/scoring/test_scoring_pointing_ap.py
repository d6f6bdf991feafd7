"""Pointing with prediction against a slow reference, by hand, and what must not move it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring_cases import CLASSES, HEIGHT, IDS, WIDTH, bound, judge, predicted, truth_of, truths

from bench.data.ground_truth import GroundTruth

POINTS = st.dictionaries(
    st.tuples(st.sampled_from(IDS), st.sampled_from(CLASSES)),
    st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1)),
)
SWITCHES = st.fixed_dictionaries(
    {
        "tolerance": st.sampled_from([0.0, 2.0]),
        "difficult_only": st.sampled_from(["ignore", "negative", "positive"]),
        "difficult_boxes": st.sampled_from(["count", "ignore"]),
    }
)


def slow_average_precision(
    truth: GroundTruth, points: dict[Any, Any], label: str, how: dict[str, Any]
) -> Fraction | None:
    """Area under the envelope of one class, from the definition: a point hits within a box grown on every side."""
    o, grow = truth.objects, how["tolerance"]
    kind: dict[str, str] = {}
    targets: dict[str, list[Any]] = {image: [] for image in IDS}
    for row in range(len(o)):
        if truth.classes[o.label[row]] != label:
            continue
        image = truth.ids[o.image[row]]
        if not o.difficult[row]:
            kind[image] = "positive"
        kind.setdefault(image, how["difficult_only"])
        if how["difficult_boxes"] == "count" or not o.difficult[row]:
            targets[image].append(o.box[row])
    verdicts = []
    mine = [(image, *point) for (image, c), point in points.items() if c == label]
    for image, _, x, y in sorted(mine, key=lambda row: (-row[1], row[0])):
        if kind.get(image) == "ignore":
            continue
        inside = any(
            b[0] - grow <= x <= b[2] - 1 + grow and b[1] - grow <= y <= b[3] - 1 + grow for b in targets[image]
        )
        verdicts.append(inside and kind.get(image) == "positive")
    positives = sum(value == "positive" for value in kind.values())
    curve = [(sum(verdicts[: n + 1]), Fraction(sum(verdicts[: n + 1]), n + 1)) for n in range(len(verdicts))]
    best = [max((p for found, p in curve if found >= n), default=Fraction(0)) for n in range(1, positives + 1)]
    return Fraction(sum(best)) / positives if positives else None


@settings(max_examples=60)
@given(truths(), POINTS, SWITCHES, st.randoms(use_true_random=False))
def test_equals_a_slow_reference_under_every_switch_in_any_order(
    truth: GroundTruth, points: Any, how: Any, random: Any
) -> None:
    rows = random.sample([(*pair, *map(float, point)) for pair, point in points.items()], len(points))
    moved = truth.subset(random.sample(IDS, 4), split="test")
    evaluation = judge(bound("voc12-point-pred", **how), moved, predicted(moved, "points", rows)).per_class["mAP"]
    for label in CLASSES:
        expected = slow_average_precision(truth, points, label, how)
        assert evaluation[label] == (None if expected is None else pytest.approx(float(expected), abs=1e-12))


def test_a_confident_point_beside_a_grown_box_costs_precision() -> None:
    # best first: false (19 pixels left of the first pixel), true (18): precision 1/2 at recall 1/2. AP = 1/4.
    truth = truth_of([(image, "cat", (40, 40, 60, 60), False) for image in "ab"], size=(100, 100))
    rows = [("a", "cat", 0.9, 21, 50), ("b", "cat", 0.8, 22, 50)]
    assert judge(bound("voc12-point-pred"), truth, predicted(truth, "points", rows)).metrics == {"mAP": 0.25}


def test_a_box_of_a_class_that_is_absent_is_false() -> None:
    truth = truth_of([("a", "cat", (0, 0, 9, 9), False)])
    rows = [("b", "cat", 0.9, 3, 3), ("a", "cat", 0.8, 3, 3)]
    assert judge(bound("coco14-point-pred"), truth, predicted(truth, "points", rows)).metrics == {"mAP": 0.5}
