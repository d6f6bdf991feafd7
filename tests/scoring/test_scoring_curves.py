"""Precision-recall curves: the area under each is the average precision that its family found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from scoring_cases import CLASSES, IDS, bound, cases, judge, predicted
from test_scoring_coco import given_to, random_case

from bench.data.ground_truth import GroundTruth
from bench.scoring.average_precision import RankedHits, precision_recall

MADE = [
    ("voc07-det", "boxes", {}, "mAP_area"),
    ("voc12-point-pred", "points", {"ap": "area"}, "mAP"),
    ("voc07-cls", "scores", {"ap": "area"}, "mAP"),
]


def areas(ranked: RankedHits) -> list[float | None]:
    """Under the envelope of each curve, by a sum over hits; None where there is nothing to find."""
    found: list[float | None] = []
    for (recall, precision), positives in zip(precision_recall(ranked), ranked.positives, strict=True):
        steps = zip(np.diff(recall, prepend=0), (precision[k:].max() for k in range(len(precision))), strict=True)
        found.append(sum(width * best for width, best in steps) if positives else None)
    return found


@pytest.mark.parametrize(("name", "kind", "changes", "metric"), MADE, ids=[name for name, *_ in MADE])
@given(case=cases(distinct=True))
def test_the_area_under_a_curve_is_the_average_precision(
    name: str, kind: str, changes: dict[str, str], metric: str, case: tuple[GroundTruth, list]
) -> None:
    truth, rows = case
    if kind == "points":
        rows = list({row[:2]: row[:5] for row in rows}.values())
    if kind == "scores":
        rows = [(image, label, (7 * place % 12) / 12) for place, (image, label) in enumerate(pairs())]
    protocol = bound(name, **changes)
    evaluation = judge(protocol, truth, predicted(truth, kind, rows))
    expected = [value and pytest.approx(value) for value in evaluation.per_class[metric].values()]
    assert areas(protocol.family.rank_hits(evaluation.outcomes, len(truth.classes))) == expected  # type: ignore[attr-defined]


def pairs() -> list[tuple[str, str]]:
    return [(image, label) for image in IDS for label in CLASSES]


@pytest.mark.parametrize("seed", range(10))
def test_cocos_curve_at_one_half_gives_ap50_at_its_recall_points(seed: int) -> None:
    truth, found = random_case(seed)
    protocol = bound("coco14-det")
    evaluation = judge(protocol, truth, given_to(truth, found, "boxes"))
    ranked = protocol.family.rank_hits(evaluation.outcomes, len(truth.classes))  # type: ignore[attr-defined]
    for (recall, precision), expected in zip(
        precision_recall(ranked), evaluation.per_class["AP50"].values(), strict=True
    ):
        best = [precision[recall >= point].max(initial=0) for point in np.linspace(0, 1, 101)]
        assert expected is None or np.mean(best) == pytest.approx(expected, abs=0.011)  # a point at a hit may round


def test_a_curve_by_hand() -> None:
    """Hits at places 1 and 3 of four, three to find; nothing to find of the second class, nothing ranked of a third."""
    ranked = RankedHits(np.array([0, 0, 0, 0, 1]), np.array([1, 0, 1, 0, 0], dtype=bool), np.array([3, 0, 2]))
    (recall, precision), *others = precision_recall(ranked)
    assert recall.tolist() == pytest.approx([1 / 3, 2 / 3])
    assert precision.tolist() == pytest.approx([1, 2 / 3])
    assert [len(recall) for recall, _ in others] == [0, 0]
