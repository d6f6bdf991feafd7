"""Correct localization against a slow reference, hand-computed examples, and what must not move it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scoring_cases import CLASSES, IDS, bound, cases, judge, overlap, predicted, truth_of

from bench.core.files import Places
from bench.data.datasets import open_dataset
from bench.data.ground_truth import GroundTruth


def slow_hits(truth: GroundTruth, rows: list[Any], label: str, how: dict[str, Any]) -> list[bool]:
    """Hit or miss of each image that counts for a class."""
    o, hits = truth.objects, []
    for image in truth.ids:
        mine = [i for i in range(len(o)) if truth.ids[o.image[i]] == image and truth.classes[o.label[i]] == label]
        clear = [i for i in mine if not o.difficult[i]]
        if not (mine if how["difficult_only_images"] == "count" else clear):
            continue
        candidates = [row for row in rows if row[:2] == (image, label)]
        if how["boxes"] == "top":
            best = max((row[2] for row in candidates), default=None)
            candidates = [row for row in candidates if row[2] == best][:1]
        targets = mine if how["difficult_objects"] == "count" else clear
        values = [overlap(row[3:], o.box[i], how["plus_one"]) for row in candidates for i in targets]
        hits.append(any(v > Fraction(1, 2) or (v * 2 == 1 and how["iou_compare"] == ">=") for v in values))
    return hits


SWITCHES = st.fixed_dictionaries(
    {
        "iou_compare": st.sampled_from([">=", ">"]),
        "boxes": st.sampled_from(["top", "any"]),
        "difficult_objects": st.sampled_from(["count", "ignore"]),
        "difficult_only_images": st.sampled_from(["count", "skip"]),
        "plus_one": st.booleans(),
    }
)


@given(cases(), SWITCHES)
def test_equals_a_slow_reference_under_every_switch(case: Any, how: dict[str, Any]) -> None:
    truth, rows = case
    found = predicted(truth, "boxes", rows)
    by_class = judge(bound("voc07-corloc", **how), truth, found).per_class["CorLoc"]
    over_images = judge(bound("voc07-corloc", mean_over="images", **how), truth, found).metrics["CorLoc"]
    every: list[bool] = []
    for label in CLASSES:
        hits = slow_hits(truth, rows, label, how)
        every += hits
        assert by_class[label] == (pytest.approx(sum(hits) / len(hits)) if hits else None)
    assert over_images == (pytest.approx(sum(every) / len(every)) if every else None)


def test_only_the_top_box_of_a_present_class_is_judged() -> None:
    # cat: image a's top box misses although the second would hit, image b has no box: 0 of 2. dog: 1 of 1. Mean .5.
    truth = truth_of(
        [("a", "cat", (0, 0, 4, 4), False), ("b", "cat", (0, 0, 4, 4), False), ("c", "dog", (1, 1, 3, 3), False)]
    )
    rows = [
        ("a", "cat", 0.9, 6, 6, 9, 9),
        ("a", "cat", 0.8, 0, 0, 4, 4),
        ("c", "dog", 0.1, 1, 1, 3, 3),
        ("d", "eel", 1, 0, 0, 1, 1),
    ]
    found = predicted(truth, "boxes", rows)
    evaluation = judge(bound("voc07-corloc"), truth, found)
    assert evaluation.metrics == {"CorLoc": 0.5}
    assert evaluation.counts["pairs_without_box"] == 1
    assert judge(bound("voc07-corloc-any"), truth, found).metrics == {"CorLoc": 0.75}


def test_the_first_of_equally_scored_boxes_is_the_top_one() -> None:
    truth = truth_of([("a", "cat", (0, 0, 4, 4), False)])
    rows = [("a", "cat", 0.5, 0, 0, 4, 4), ("a", "cat", 0.5, 6, 6, 9, 9)]
    found = [
        judge(bound("voc07-corloc"), truth, predicted(truth, "boxes", each)).metrics for each in (rows, rows[::-1])
    ]
    assert found == [{"CorLoc": 1.0}, {"CorLoc": 0.0}]


@pytest.mark.voc2007
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, (0.2125, 7913)),
        ({"difficult_only_images": "skip"}, (0.2162, 7306)),
        ({"difficult_objects": "ignore"}, (0.2014, 7913)),
    ],
)
def test_the_whole_image_as_the_box_scores_on_voc07_what_the_docs_say(
    change: dict[str, str], expected: tuple[float, int], data_root: Path, tmp_path: Path
) -> None:
    truth = open_dataset("voc2007", Places(tmp_path, data_root)).ground_truth("trainval")
    shown = zip(*np.nonzero(truth.labels >= 0), strict=True)
    rows = [(truth.ids[image], truth.classes[label], 1.0, 0, 0, *truth.size[image]) for image, label in shown]
    evaluation = judge(bound("voc07-corloc", **change), truth, predicted(truth, "boxes", rows))
    assert (round(evaluation.metrics["CorLoc"] or 0, 4), evaluation.counts["pairs"]) == expected


def test_an_interval_encloses_the_share_and_is_repeatable() -> None:
    truth = truth_of([(image, "cat", (0, 0, 4, 4), False) for image in IDS])
    found = predicted(truth, "boxes", [("a", "cat", 1, 0, 0, 4, 4), ("b", "cat", 1, 0, 0, 4, 4)])
    first, second = (judge(bound("voc07-corloc"), truth, found, replicates=200, seed=3) for _ in range(2))
    low, high = first.intervals["CorLoc"]
    assert low < 0.5 < high
    assert first.intervals == second.intervals
