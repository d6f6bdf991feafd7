"""Kinds of boxes that localize a class: as drawn, exclusive and exhaustive, and in agreement with the protocol."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from scoring_cases import bound, cases, judge, predicted, truth_of

from bench.core.bootstrap import class_mean
from bench.data.ground_truth import GroundTruth
from bench.scoring.box_errors import INSIDE, KINDS, SIZES, BoxErrors


def find_errors(protocol: str, truth: GroundTruth, rows: list[Any], **changes: Any) -> BoxErrors:
    chosen = bound(protocol, **changes)
    family: Any = chosen.family
    return BoxErrors(family.localize_classes(truth, predicted(truth, "boxes", rows), chosen.conventions))


def kinds_of(truth: GroundTruth, box: tuple[float, ...], protocol: str = "voc07-corloc") -> list[str]:
    errors = find_errors(protocol, truth, [("a", "cat", 0.5, *box)])
    return [KINDS[number] for number in errors.kind]


ONE = truth_of([("a", "cat", (20, 20, 60, 60), False)], size=(100, 100))
TWO = truth_of([("a", "cat", (10, 10, 30, 30), False), ("a", "cat", (40, 10, 60, 30), False)], size=(100, 100))


@pytest.mark.parametrize(
    ("kind", "truth", "box"),
    [
        ("correct", ONE, (20, 20, 60, 50)),
        ("part", ONE, (30, 30, 40, 40)),
        ("part", ONE, (53, 30, 63, 40)),  # .7 of it lies inside
        ("context", ONE, (0, 0, 90, 90)),
        ("context", ONE, (0, 32, 80, 100)),  # .7 of the object lies inside
        ("missed", ONE, (70, 70, 90, 90)),
        ("missed", ONE, (58, 58, 80, 80)),
        ("loose", ONE, (40, 20, 80, 60)),
        ("group", TWO, (10, 10, 60, 30)),
        ("part", TWO, (12, 12, 20, 20)),
        ("context", TWO, (5, 5, 34, 60)),
        ("correct", TWO, (10, 10, 30, 30)),
    ],
)
def test_each_kind_as_drawn(kind: str, truth: GroundTruth, box: tuple[float, ...]) -> None:
    assert kinds_of(truth, box) == [kind]


def test_without_a_box_or_with_a_box_of_another_class_the_class_is_missed() -> None:
    for rows in ([], [("a", "dog", 0.9, 20, 20, 60, 60)]):
        assert [KINDS[number] for number in find_errors("voc07-corloc", ONE, rows).kind] == ["missed"]


def test_a_wrong_class_comes_before_all_where_the_protocol_asks_for_the_class() -> None:
    rows = [("a", "dog", 0.9, 20, 20, 60, 60), ("a", "cat", 0.5, 30, 30, 40, 40)]
    assert [KINDS[number] for number in find_errors("loc", ONE, rows).kind] == ["wrong class"]
    assert [KINDS[number] for number in find_errors("loc", ONE, rows[1:]).kind] == ["part"]


def test_sizes_and_numbers_are_of_the_class_in_its_image() -> None:
    truth = truth_of(
        [
            ("a", "cat", (0, 0, 60, 70), False),
            ("a", "cat", (0, 0, 10, 10), False),
            ("a", "dog", (0, 0, 40, 30), False),
            ("b", "cat", (0, 0, 9, 11), False),
        ],
        ids=("a", "b"),
        size=(100, 100),
    )
    errors = find_errors("voc07-corloc", truth, [])
    pairs = zip(errors.localized.image.tolist(), errors.localized.label.tolist(), strict=True)
    found = dict(zip(pairs, zip(errors.size.tolist(), errors.objects.tolist(), strict=True), strict=True))
    names = list(SIZES)
    assert {pair: (names[size], number) for pair, (size, number) in found.items()} == {
        (0, 0): ("large", 2),
        (0, 1): ("medium", 1),
        (1, 0): ("small", 1),
    }


def slow_kind(truth: GroundTruth, image: int, label: int, box: Any, *, correct: bool) -> str:
    """The definition, object by object."""
    if correct:
        return "correct"
    if np.isnan(box).any():
        return "missed"
    o, own = truth.objects, max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
    in_object, in_box, overlaps = [], [], [0.0]
    for row in range(len(o)):
        if (o.image[row], o.label[row]) == (image, label):
            x1, y1, x2, y2 = o.box[row]
            width = max(0.0, min(box[2], x2) - max(box[0], x1))
            height = max(0.0, min(box[3], y2) - max(box[1], y1))
            shared, whole = width * height, (x2 - x1) * (y2 - y1)
            in_object.append(shared / own if own else 0.0)
            in_box.append(shared / whole)
            overlaps.append(shared / (own + whole - shared))
    if sum(share >= INSIDE for share in in_box) > 1:
        return "group"
    if any(share >= INSIDE for share in in_object):
        return "part"
    if any(share >= INSIDE for share in in_box):
        return "context"
    return "missed" if max(overlaps) < 0.1 else "loose"


@given(cases())
def test_kinds_are_those_of_the_definition_one_for_each_pair(case: Any) -> None:
    truth, rows = case
    for protocol, changes in (("voc07-corloc", {}), ("voc07-corloc", {"mean_over": "images"}), ("loc", {})):
        errors = find_errors(protocol, truth, rows, **changes)
        a = errors.localized
        for row, kind in enumerate(errors.kind.tolist()):
            if KINDS[kind] != "wrong class":
                pair = int(a.image[row]), int(a.label[row])
                assert KINDS[kind] == slow_kind(truth, *pair, a.box[row], correct=bool(a.correct[row]))


@given(cases(distinct=True))
def test_shares_add_up_to_one_and_the_correct_share_is_the_protocols_number(case: Any) -> None:
    truth, rows = case
    weights = np.random.default_rng(0).integers(0, 3, (4, len(truth.ids))).astype(float)
    for protocol, changes, metric, sign in (
        ("voc07-corloc", {}, "CorLoc", 1),
        ("voc07-corloc", {"mean_over": "images"}, "CorLoc", 1),
        ("loc", {}, "top1_loc_error", -1),
    ):
        errors = find_errors(protocol, truth, rows, **changes)
        total = sum(errors.compute_shares(weights).values(), np.zeros(1))
        assert np.isnan(total).tolist() == np.isnan(errors.compute_shares(weights)["part"]).tolist()
        np.testing.assert_allclose(total[np.isfinite(total)], 1)
        own = judge(bound(protocol, **changes), truth, predicted(truth, "boxes", rows)).metrics[metric]
        share = class_mean(errors.compute_shares(np.ones((1, len(truth.ids))))["correct"])[0]
        expected = np.nan if own is None else own if sign > 0 else 1 - own
        assert share == pytest.approx(expected, nan_ok=True)
