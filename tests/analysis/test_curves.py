"""Curves against a number of the protocol: what a loop says, and at the protocol's own number the recorded metrics."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring_cases import CLASSES, HEIGHT, IDS, WIDTH, arrays, bound, cases, judge, overlap, predicted, truth_of, truths

from bench.analysis.curves import SWITCHES, Curve, evaluate_outcomes, evaluate_predictions, find_switch
from bench.data.ground_truth import GroundTruth
from bench.errors import RequestError
from bench.records.outcomes import Outcomes
from bench.records.result import Result
from bench.scoring.score import make_result


def evaluate(protocol: str, truth: GroundTruth, found: Any, **changes: Any) -> tuple[Result, Curve]:
    """Record predictions under a protocol, and evaluate the curve of the record."""
    chosen = bound(protocol, **changes)
    evaluation = judge(chosen, truth, found)
    result = make_result(chosen, truth, evaluation, method="m", predictions="p")
    switch = find_switch(result)
    assert switch is not None
    if switch.of_outcomes:
        return result, evaluate_outcomes(result, switch, Outcomes(evaluation.outcomes, truth.classes))
    return result, evaluate_predictions(result, switch, truth, found)


def read(curve: Curve, value: float) -> dict[str, float | None]:
    return {name: line[curve.values.index(value)] for name, line in curve.metrics.items()}


def mean(shares: list[list[bool]]) -> Any:
    known = [sum(hits) / len(hits) for hits in shares if hits]
    return pytest.approx(sum(known) / len(known)) if known else None


@settings(max_examples=15, deadline=None)
@given(cases(), st.sampled_from([">=", ">"]), st.sampled_from([0.5, 0.37]))
def test_corloc_against_overlap_is_what_a_loop_over_thresholds_says(case: Any, compare: str, own: float) -> None:
    truth, rows = case
    found = predicted(truth, "boxes", rows)
    result, curve = evaluate("voc07-corloc", truth, found, iou_compare=compare, iou_threshold=own)
    assert (curve.own, read(curve, own)) == (own, result.metrics)
    o = truth.objects
    for value in curve.values:
        shares = []
        for label, name in enumerate(CLASSES):
            hits = []
            for image in np.flatnonzero(truth.labels[:, label] >= 0).tolist():
                mine = [row for row in rows if row[:2] == (truth.ids[image], name)]
                best = max(mine, key=lambda row: row[2])[3:] if mine else None
                there = [box for box, *of in zip(o.box, o.image, o.label, strict=True) if of == [image, label]]
                most = max((float(overlap(best, box, plus_one=True)) for box in there if best), default=-1.0)
                hits.append(most >= value if compare == ">=" else most > value)
            shares.append(hits)
        assert read(curve, value)["CorLoc"] == mean(shares)


POINTS = st.dictionaries(
    st.tuples(st.sampled_from(IDS), st.sampled_from(CLASSES)),
    st.tuples(st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1)),
)


@settings(max_examples=15, deadline=None)
@given(truths(), POINTS, st.sampled_from([15.0, 2.5]))
def test_pointing_against_tolerance_is_what_a_loop_over_pixels_says(
    truth: GroundTruth, points: Any, own: float
) -> None:
    found = predicted(truth, "points", [(*pair, 0.5, *point) for pair, point in points.items()])
    result, curve = evaluate("voc07-point", truth, found, tolerance=own)
    assert (curve.own, read(curve, own)) == (own, result.metrics)
    o = truth.objects
    for value in curve.values:
        shares = []
        for label, name in enumerate(CLASSES):
            hits = []
            for image in np.flatnonzero(truth.labels[:, label] > 0).tolist():
                x, y = points.get((truth.ids[image], name), (math.inf, math.inf))
                pixels = [
                    (column, row)
                    for (x1, y1, x2, y2), *of in zip(o.box.astype(int), o.image, o.label, strict=True)
                    if of == [image, label]
                    for column in range(x1, x2)
                    for row in range(y1, y2)
                ]
                hits.append(any(math.hypot(x - column, y - row) < value for column, row in pixels))
            shares.append(hits)
        assert read(curve, value)["accuracy"] == mean(shares)


@settings(max_examples=15, deadline=None)
@given(cases(distinct=True), st.sampled_from(["loc", "det"]))
def test_other_metrics_of_boxes_are_what_scoring_once_more_says(case: Any, protocol: str) -> None:
    truth, rows = case
    found = predicted(truth, "boxes", rows)
    result, curve = evaluate(protocol, truth, found)
    assert read(curve, 0.5) == result.metrics
    for value in (0.05, 0.7):
        assert read(curve, value) == judge(bound(protocol, iou_threshold=value), truth, found).metrics
    assert "top1_cls_error" not in curve.moved


def test_box_accuracy_against_the_threshold_of_maps_comes_from_outcomes() -> None:
    generator = np.random.default_rng(0)
    objects = [(image, "cat", (40, 30, 160, 150), False) for image in IDS]
    truth = truth_of(objects, size=(300, 200))
    object_ = np.zeros((20, 30), np.float32)
    object_[4:14, 5:15] = 0.2
    maps = [cv2.GaussianBlur(generator.random((20, 30)).astype(np.float32), (9, 9), 0) + object_ for _ in IDS]
    found = arrays(truth, "maps", [(image, "cat", map) for image, map in zip(IDS, maps, strict=True)])
    result, curve = evaluate("maxbox", truth, found, fixed_threshold=0.25)
    assert read(curve, 0.25) == result.metrics
    assert curve.moved == ["BoxAccV2", "BoxAcc"]
    for value in (0.1, 0.5, 0.9):
        assert read(curve, value) == judge(bound("maxbox", fixed_threshold=value), truth, found).metrics
    switch, outcomes = find_switch(result), judge(bound("maxbox"), truth, found).outcomes
    assert switch is not None
    for changed in (outcomes.drop_columns("hits"), outcomes.set_column(0, "image", outcomes["image"][::-1])):
        with pytest.raises(RequestError, match="score"):
            evaluate_outcomes(result.model_copy(update={"metrics": {"BoxAcc": 0.123}}), switch, Outcomes(changed, ()))
    best = result.metrics["MaxBoxAcc"]
    assert best is not None
    assert all(value is not None and value <= best for value in curve.metrics["BoxAcc"])


def test_a_metric_without_a_number_of_its_own_has_no_curve() -> None:
    truth = truth_of([("a", "cat", (0, 0, 5, 5), False)])
    found = predicted(truth, "scores", [(image, name, 0.5) for image in IDS for name in CLASSES])
    chosen = bound("voc07-cls")
    result = make_result(chosen, truth, judge(chosen, truth, found), method="m", predictions="p")
    assert find_switch(result) is None


def test_values_of_a_switch_are_those_that_its_conventions_accept() -> None:
    families = {"iou_threshold": "voc07-corloc", "tolerance": "voc07-point", "fixed_threshold": "maxbox"}
    for switch in SWITCHES:
        for value in switch.values:
            assert bound(families[switch.name], **{switch.name: value}).conventions
