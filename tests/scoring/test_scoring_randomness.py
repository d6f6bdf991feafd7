"""Localization randomness against a slow reference, by hand, and what must not move it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring_cases import CLASSES, IDS, bound, cases, judge, overlap, predicted, truth_of

from bench.data.ground_truth import GroundTruth
from bench.errors import RequestError

SWITCHES = st.fixed_dictionaries(
    {
        "mean_over": st.sampled_from(["pairs", "images", "objects"]),
        "difficult_objects": st.sampled_from(["count", "ignore"]),
        "difficult_only_pairs": st.sampled_from(["count", "skip"]),
        "plus_one": st.booleans(),
    }
)


def slow_means(truth: GroundTruth, rows: list[Any], how: dict[str, Any]) -> tuple[Fraction | None, Fraction | None]:
    """Both means from the definition; a pair without probability has accuracy 0 and no variance."""
    o, found = truth.objects, []
    for image in truth.ids:
        pairs = []
        for label in CLASSES:
            mine = [i for i in range(len(o)) if truth.ids[o.image[i]] == image and truth.classes[o.label[i]] == label]
            clear = [i for i in mine if not o.difficult[i]]
            if not (mine if how["difficult_only_pairs"] == "count" else clear):
                continue
            targets = mine if how["difficult_objects"] == "count" else clear
            chances = [
                (
                    Fraction(row[6]),
                    max((overlap(row[2:6], o.box[i], how["plus_one"]) for i in targets), default=Fraction(0)),
                )
                for row in rows
                if row[:2] == (image, label)
            ]
            mass = sum(p for p, _ in chances)
            accuracy = sum(p * value for p, value in chances) / mass if mass else Fraction(0)
            variance = sum(p * (value - accuracy) ** 2 for p, value in chances) / mass if mass else None
            pairs.append((accuracy, variance, Fraction(len(targets) if how["mean_over"] == "objects" else 1)))
        share = Fraction(len(pairs)) if how["mean_over"] == "images" else Fraction(1)
        found += [(accuracy, variance, weight / share) for accuracy, variance, weight in pairs]
    means = []
    for part in (0, 1):
        defined = [(row[part], row[2]) for row in found if row[part] is not None]
        total = sum(weight for _, weight in defined)
        means.append(sum(value * weight for value, weight in defined) / total if total else None)
    return means[0], means[1]


@settings(max_examples=60)
@given(cases(), SWITCHES, st.sampled_from([0.25, 1.0, 3.0]), st.randoms(use_true_random=False))
def test_equals_a_slow_reference_under_every_switch_order_and_factor(
    case: Any, how: Any, factor: float, random: Any
) -> None:
    truth, boxes = case
    rows = [(image, label, *box, score) for image, label, score, *box in boxes]
    moved = truth.subset(random.sample(IDS, 4), split="test")
    scaled = [(*row[:6], row[6] * factor) for row in random.sample(rows, len(rows))]
    evaluation = judge(bound("voc07-randomness", **how), moved, predicted(moved, "proposals", scaled)).metrics
    for name, expected in zip(evaluation, slow_means(truth, rows, how), strict=True):
        assert evaluation[name] == (None if expected is None else pytest.approx(float(expected), abs=1e-12))


def test_two_proposals_by_hand() -> None:
    # IoU 1 with probability 3/4, IoU 0 with 1/4: accuracy .75, variance .75 * .0625 + .25 * .5625 = .1875
    truth = truth_of([("a", "cat", (0, 0, 4, 4), False)])
    rows = [("a", "cat", 0, 0, 4, 4, 0.3), ("a", "cat", 6, 6, 9, 9, 0.1)]
    evaluation = judge(bound("voc07-randomness"), truth, predicted(truth, "proposals", rows))
    assert evaluation.metrics == {
        "localization_accuracy": pytest.approx(0.75),
        "localization_variance": pytest.approx(0.1875),
    }


def test_huge_probabilities_are_no_trouble_and_negative_ones_are_refused() -> None:
    truth = truth_of([("a", "cat", (0, 0, 4, 4), False)])
    rows = [("a", "cat", 0, 0, 4, 4, 1e308), ("a", "cat", 0, 0, 4, 4, 1e308)]
    assert judge(bound("voc07-randomness"), truth, predicted(truth, "proposals", rows)).metrics == {
        "localization_accuracy": 1.0,
        "localization_variance": 0.0,
    }
    with pytest.raises(RequestError, match=r"must not be below 0, but row 0 has -0\.5"):
        judge(bound("voc07-randomness"), truth, predicted(truth, "proposals", [("a", "cat", 0, 0, 4, 4, -0.5)]))
