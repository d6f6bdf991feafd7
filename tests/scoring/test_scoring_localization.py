"""Localization error against a slow reference written from the definition, hand-computed examples, and properties."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring_cases import CLASSES, IDS, bound, boxes, judge, overlap, predicted, truth_of

from bench.data.ground_truth import GroundTruth
from bench.errors import RequestError


def slow_errors(
    truth: GroundTruth, rows: list[Any], scores: dict[Any, float] | None, how: dict[str, Any]
) -> dict[str, Any]:
    """Each error from its definition, image by image."""
    misses: dict[str, list[bool]] = {f"{name}_error": [] for name in ("top1_loc", "top5_loc", "gt_known_loc")}
    misses |= {"top1_cls_error": [], "top5_cls_error": []}
    for row, image in enumerate(truth.ids):
        label = CLASSES[int(truth.labels[row].argmax())]
        objects = truth.objects.box[truth.objects.image == row]
        mine = sorted((each for each in rows if each[0] == image), key=lambda each: (-each[2], each[1]))

        def on_object(box: Any, objects: Any = objects) -> bool:
            best = max((overlap(box, one, how["plus_one"]) for one in objects), default=Fraction(0))
            return best > Fraction(1, 2) or (best * 2 == 1 and how["iou_compare"] == ">=")

        pairs = [(each[1], each[3:]) for each in mine]
        if scores is not None:
            ranked = sorted((c for c in CLASSES if (image, c) in scores), key=lambda c: (-scores[image, c], c))
            pairs = [(c, next((each[3:] for each in mine if each[1] == c), None)) for c in ranked]
        given_class = next((each[3:] for each in mine if each[1] == label), None)
        for k in (1, 5):
            misses[f"top{k}_cls_error"].append(label not in [c for c, _ in pairs[:k]])
        if truth.blacklist is not None and truth.blacklist[row] and how["blacklist"] == "skip":
            continue
        for k in (1, 5):
            misses[f"top{k}_loc_error"].append(not any(c == label and b and on_object(b) for c, b in pairs[:k]))
        misses["gt_known_loc_error"].append(not (given_class and on_object(given_class)))
    return {name: sum(each) / len(each) if each else None for name, each in misses.items()}


@st.composite
def single(draw: st.DrawFn) -> tuple[GroundTruth, list[Any], Any]:
    """One class an image, boxes of any class near its objects, perhaps class scores, perhaps a blacklist."""
    shown = [draw(st.sampled_from(CLASSES)) for _ in IDS]
    objects = [
        (i, c, draw(boxes()), False) for i, c in zip(IDS, shown, strict=True) for _ in range(draw(st.integers(1, 2)))
    ]
    truth = truth_of(objects)
    listed = draw(st.none() | st.lists(st.booleans(), min_size=4, max_size=4))
    truth = truth if listed is None else replace(truth, blacklist=np.array(listed))
    places = st.one_of(boxes(), st.sampled_from([box for *_, box, _ in objects]))
    count = draw(st.integers(0, 14))
    values = draw(st.lists(st.integers(0, 999), min_size=count, max_size=count, unique=True))
    rows = [
        (draw(st.sampled_from(IDS)), draw(st.sampled_from(CLASSES)), value / 1024, *map(float, draw(places)))
        for value in values
    ]
    pairs = st.tuples(st.sampled_from(IDS), st.sampled_from(CLASSES))
    scores = draw(st.none() | st.dictionaries(pairs, st.sampled_from([0.0, 0.5, 1.0])))
    return truth, rows, scores


def given_to(truth: GroundTruth, rows: Any, scores: Any) -> dict[str, Any]:
    found = predicted(truth, "boxes", rows)
    if scores is not None:
        found |= predicted(truth, "scores", [(*pair, value) for pair, value in scores.items()])
    return found


SWITCHES = st.fixed_dictionaries(
    {
        "iou_compare": st.sampled_from([">=", ">"]),
        "blacklist": st.sampled_from(["skip", "count"]),
        "plus_one": st.booleans(),
    }
)


@settings(max_examples=60)
@given(single(), SWITCHES)
def test_equals_a_slow_reference_under_every_switch(case: Any, how: dict[str, Any]) -> None:
    truth, rows, scores = case
    evaluation = judge(bound("ilsvrc-loc", **how), truth, given_to(truth, rows, scores))
    expected = slow_errors(truth, rows, scores, how)
    assert evaluation.metrics == {name: pytest.approx(expected[name]) for name in evaluation.metrics}


def example() -> tuple[GroundTruth, list[Any]]:
    # a: the right class is second, its box right. b: right class first, box wrong. c: all right. d: no answer.
    truth = truth_of([(image, "cat", (0, 0, 4, 4), False) for image in IDS])
    rows = [
        ("a", "dog", 0.9, 0, 0, 4, 4),
        ("a", "cat", 0.1, 0, 0, 4, 4),
        ("b", "cat", 0.9, 6, 6, 9, 9),
        ("c", "cat", 0.5, 0, 0, 4, 4),
    ]
    return truth, rows


def test_four_images_by_hand() -> None:
    truth, rows = example()
    assert judge(bound("cub-loc"), truth, predicted(truth, "boxes", rows)).metrics == {
        "top1_loc_error": 0.75,
        "top5_loc_error": 0.5,
        "gt_known_loc_error": 0.5,
        "top1_cls_error": 0.5,
        "top5_cls_error": 0.25,
    }


def test_class_scores_of_a_second_file_choose_the_class_and_keep_the_boxes() -> None:
    truth, rows = example()
    found = predicted(truth, "boxes", rows) | predicted(truth, "scores", [("a", "cat", 0.9), ("a", "dog", 0.2)])
    evaluation = judge(bound("cub-loc"), truth, found).metrics
    assert (evaluation["top1_loc_error"], evaluation["top1_cls_error"], evaluation["gt_known_loc_error"]) == (
        0.75,
        0.75,
        0.5,
    )


def test_blacklisted_images_leave_localization_and_not_classification() -> None:
    truth, rows = example()
    truth = replace(truth, blacklist=np.array([image == "d" for image in IDS]))
    evaluation = judge(bound("ilsvrc-loc"), truth, predicted(truth, "boxes", rows))
    assert evaluation.metrics["top1_loc_error"] == pytest.approx(2 / 3)
    assert evaluation.metrics["top1_cls_error"] == 0.5
    assert (evaluation.counts["judged"], evaluation.counts["blacklisted"]) == (3, 1)


def test_two_boxes_of_one_class_take_two_of_the_five_places() -> None:
    truth = truth_of([("a", "cat", (0, 0, 4, 4), False)], ids=("a",))
    rows = [("a", "dog", 1 - n / 10, 6, 6, 9, 9) for n in range(5)] + [("a", "cat", 0.1, 0, 0, 4, 4)]
    evaluation = judge(bound("cub-loc"), truth, predicted(truth, "boxes", rows)).metrics
    assert (evaluation["top5_loc_error"], evaluation["gt_known_loc_error"]) == (1.0, 0.0)


def test_class_scores_alone_are_refused() -> None:
    truth, _ = example()
    with pytest.raises(RequestError, match="cub-loc takes boxes, but got scores"):
        judge(bound("cub-loc"), truth, predicted(truth, "scores", []))


def test_an_interval_encloses_the_error() -> None:
    truth, rows = example()
    evaluation = judge(bound("cub-loc"), truth, predicted(truth, "boxes", rows), replicates=100)
    assert all(low <= (evaluation.metrics[name] or 0) <= high for name, (low, high) in evaluation.intervals.items())
    assert len(evaluation.intervals) == 5
