"""Classification against scikit-learn, slow references from the definitions, and hand-computed examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scoring_cases import CLASSES, IDS, bound, judge, predicted, truth_of, truths
from sklearn.metrics import average_precision_score

from bench.data.ground_truth import GroundTruth

PAIRS = [(image, label) for image in IDS for label in CLASSES]
SCORES = st.dictionaries(st.sampled_from(PAIRS), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))
DISTINCT = st.lists(st.integers(0, 1000), min_size=len(PAIRS), max_size=len(PAIRS), unique=True).map(
    lambda values: {pair: value / 1024 for pair, value in zip(PAIRS, values, strict=True)}
)


def rows_of(scores: dict[Any, float]) -> list[Any]:
    """Scores as rows."""
    return [(*pair, score) for pair, score in scores.items()]


def labelled(truth: GroundTruth, label: str, difficult_only: str) -> dict[str, bool]:
    """Positive or negative, of each image that counts for a class."""
    values = {image: int(truth.labels[truth.index[image], truth.class_index[label]]) for image in truth.ids}
    if difficult_only == "ignore":
        return {image: value > 0 for image, value in values.items() if value != 0}
    return {image: value > 0 or (value == 0 and difficult_only == "positive") for image, value in values.items()}


def slow_ranking(scores: dict[Any, float], label: str, labels: dict[str, bool], missing: str) -> list[bool]:
    """The labels, best score first, ties by id, without a score last or not at all."""
    ranked = sorted(labels, key=lambda image: (-scores.get((image, label), -1.0), image))
    return [labels[image] for image in ranked if missing == "last" or (image, label) in scores]


def slow_average_precision(ranked: list[bool], positives: int, form: str) -> float | None:
    """Each form from its definition."""
    if not positives:
        return None
    curve = [(sum(ranked[: n + 1]), sum(ranked[: n + 1]) / (n + 1)) for n in range(len(ranked))]
    if form == "non-interpolated":
        return sum(precision for (_, precision), hit in zip(curve, ranked, strict=True) if hit) / positives
    needed = [k * positives / 10 for k in range(11)] if form == "11-point" else list(range(1, positives + 1))
    return sum(max((p for found, p in curve if found >= n - 1e-9), default=0.0) for n in needed) / len(needed)


SWITCHES = st.fixed_dictionaries(
    {
        "ap": st.sampled_from(["11-point", "area", "non-interpolated"]),
        "difficult_only": st.sampled_from(["ignore", "negative", "positive"]),
        "missing_score": st.sampled_from(["last", "never"]),
        "decision": st.sampled_from(["threshold", "top"]),
        "top": st.integers(1, 2),
        "macro_f1": st.sampled_from(["mean-of-f1", "f1-of-means"]),
    }
)


@given(truths(), SCORES, SWITCHES)
def test_average_precision_equals_a_slow_reference(truth: GroundTruth, scores: Any, how: dict[str, Any]) -> None:
    found = judge(bound("voc07-cls", **how), truth, predicted(truth, "scores", rows_of(scores))).per_class["mAP"]
    for label in CLASSES:
        labels = labelled(truth, label, how["difficult_only"])
        ranked = slow_ranking(scores, label, labels, how["missing_score"])
        expected = slow_average_precision(ranked, sum(labels.values()), how["ap"])
        assert found[label] == (None if expected is None else pytest.approx(expected, abs=1e-12))


@given(truths(), SCORES, SWITCHES)
def test_precision_recall_and_f1_equal_a_slow_reference(truth: GroundTruth, scores: Any, how: dict[str, Any]) -> None:
    metrics = judge(bound("voc07-cls", **how), truth, predicted(truth, "scores", rows_of(scores))).metrics
    counts = []
    for label in CLASSES:
        labels = labelled(truth, label, how["difficult_only"])
        decided = {image for image in labels if slow_decided(scores, image, label, how)}
        positives = {image for image in labels if labels[image]}
        counts.append((len(decided & positives), len(decided), len(positives)))
    defined = [each for each in counts if each[2]]
    if not defined:
        assert (metrics["P_C"], metrics["R_C"], metrics["F1_C"]) == (None, None, None)
        return
    precision = [true / chosen if chosen else 0.0 for true, chosen, _ in defined]
    recall = [true / positives for true, _, positives in defined]
    f1 = [2 * true / (chosen + positives) for true, chosen, positives in defined]
    p, r = np.mean(precision), np.mean(recall)
    macro = np.mean(f1) if how["macro_f1"] == "mean-of-f1" else (2 * p * r / (p + r) if p + r else 0.0)
    assert (metrics["P_C"], metrics["R_C"], metrics["F1_C"]) == pytest.approx((p, r, macro))
    true, chosen, positives = np.sum(counts, axis=0)
    micro = (true / chosen if chosen else 0.0, true / positives, 2 * true / (chosen + positives))
    assert (metrics["P_O"], metrics["R_O"], metrics["F1_O"]) == pytest.approx(micro)


def slow_decided(scores: dict[Any, float], image: str, label: str, how: dict[str, Any]) -> bool:
    """Above one half, or among the best classes of the image."""
    if (image, label) not in scores:
        return False
    if how["decision"] == "threshold":
        return scores[image, label] > 0.5
    mine = [name for name in CLASSES if (image, name) in scores]
    return label in sorted(mine, key=lambda name: -scores[image, name])[: how["top"]]


@given(truths(), DISTINCT)
def test_the_non_interpolated_form_equals_scikit_learn(truth: GroundTruth, scores: dict[Any, float]) -> None:
    found = judge(
        bound("voc07-cls", ap="non-interpolated"), truth, predicted(truth, "scores", rows_of(scores))
    ).per_class["mAP"]
    for label in CLASSES:
        labels = labelled(truth, label, "ignore")
        if any(labels.values()):
            expected = average_precision_score(list(labels.values()), [scores[image, label] for image in labels])
            assert found[label] == pytest.approx(expected, abs=1e-12)


def test_three_images_ranked_true_false_true() -> None:
    # Precision 1 at recall 1/2, 2/3 at recall 1. Eleven points: six at 1, five at 2/3: (6 + 10/3) / 11.
    # Area and non-interpolated: (1 + 2/3) / 2. Decided: .9 and .7, one of them true: P 1/2, R 1/2, F1 1/2.
    truth = truth_of([("a", "cat", (0, 0, 4, 4), False), ("c", "cat", (0, 0, 4, 4), False)], ids=("a", "b", "c"))
    scores = {("a", "cat"): 0.9, ("b", "cat"): 0.7, ("c", "cat"): 0.5}
    expected = {"11-point": (6 + 10 / 3) / 11, "area": 5 / 6, "non-interpolated": 5 / 6}
    for form, value in expected.items():
        evaluation = judge(bound("voc07-cls", ap=form), truth, predicted(truth, "scores", rows_of(scores)))
        assert evaluation.metrics == pytest.approx(
            {"mAP": value, "P_C": 0.5, "R_C": 0.5, "F1_C": 0.5, "P_O": 0.5, "R_O": 0.5, "F1_O": 0.5}
        )
        assert evaluation.undefined["mAP"] == ("dog", "eel")


def test_scores_that_are_no_probabilities_are_said_to_be_none() -> None:
    truth = truth_of([("a", "cat", (0, 0, 4, 4), False)])
    (note,) = judge(bound("voc07-cls"), truth, predicted(truth, "scores", [("a", "cat", 3.5)])).notes
    assert note.startswith("1 scores are no probabilities")
