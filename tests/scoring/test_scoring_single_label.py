"""Single-label classification against a slow reference, by hand, and what must not move it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring_cases import IDS, bound, judge, predicted

from bench.data.ground_truth import GroundTruth, empty_objects, encode_labels

CLASSES = tuple("pqrstuvw")


def truth_of(labels: list[int]) -> GroundTruth:
    size = np.zeros((len(labels), 2), np.int32)
    return GroundTruth(
        "toy", "test", CLASSES, IDS, size, encode_labels(np.array(labels), len(CLASSES)), empty_objects()
    )


PAIRS = st.tuples(st.sampled_from(IDS), st.sampled_from(CLASSES))
CASES = st.tuples(
    st.lists(st.integers(0, 7), min_size=4, max_size=4),
    st.dictionaries(PAIRS, st.sampled_from([-1.0, 0.0, 0.5, 1.0]), max_size=30),
)


def slow_place(scores: dict[Any, float], image: str, label: str) -> float:
    ranked = sorted((c for c in CLASSES if (image, c) in scores), key=lambda c: (-scores[image, c], c))
    return ranked.index(label) if label in ranked else float("inf")


@settings(max_examples=60)
@given(CASES, st.sampled_from(["images", "classes"]), st.randoms(use_true_random=False))
def test_equals_a_slow_reference_in_any_order_of_rows(case: Any, mean_over: str, random: Any) -> None:
    labels, scores = case
    truth = truth_of(labels)
    rows = random.sample([(*pair, value) for pair, value in scores.items()], len(scores))
    evaluation = judge(bound("ilsvrc-cls", mean_over=mean_over), truth, predicted(truth, "scores", rows))
    place = {image: slow_place(scores, image, CLASSES[label]) for image, label in zip(IDS, labels, strict=True)}
    for k in (1, 5):
        wrong = [place[image] >= k for image in IDS]
        by_class = [np.mean([w for w, c in zip(wrong, labels, strict=True) if c == one]) for one in set(labels)]
        expected = np.mean(wrong) if mean_over == "images" else np.mean(by_class)
        assert evaluation.metrics[f"top{k}_cls_error"] == pytest.approx(expected)


def test_accuracy_over_images_and_over_classes_by_hand() -> None:
    # three images of p, one right; one of q, right: 2 of 4 images, (1/3 + 1) / 2 of classes.
    truth = truth_of([0, 0, 0, 1])
    rows = [("b", "p", 0.6), ("b", "q", 0.4), ("d", "q", 0.6), ("d", "p", 0.1), ("c", "q", 0.3)]
    found = predicted(truth, "scores", rows)
    assert judge(bound("cub-cls"), truth, found).metrics == {"accuracy": 0.5}
    assert judge(bound("mit67-cls"), truth, found).metrics == {"accuracy": pytest.approx(2 / 3)}
    assert judge(bound("mit67-cls"), truth, found).counts["images_without_score"] == 1


def test_a_tie_goes_to_the_first_class() -> None:
    truth = truth_of([1, 1, 1, 1])
    rows = [(image, label, 0.5) for image in IDS for label in "qp"]
    evaluation = judge(bound("ilsvrc-cls"), truth, predicted(truth, "scores", rows)).metrics
    assert evaluation == {"top1_cls_error": 1.0, "top5_cls_error": 0.0}
