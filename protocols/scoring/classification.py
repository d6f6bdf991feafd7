"""Multi-label classification: average precision by class, and precision, recall and F1 of a decision.

`P_C R_C F1_C` are means over classes, `P_O R_O F1_O` are taken over all decisions together (Wu and Ball, ACM MM 2011).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from bench.core.bootstrap import class_mean, count_by_class, ratio
from bench.core.boxes import FloatArray
from bench.core.columns import get_columns
from bench.data.ground_truth import ONLY_DIFFICULT, PRESENT, GroundTruth
from bench.predictions.table import ResolvedPredictions
from bench.scoring import protocol
from bench.scoring.average_precision import RankedHits, average_precisions, rank_rows
from bench.scoring.protocol import FamilyScore, Need, Replicates

VERSION = 1
NEEDS: Need = "labels"
METRICS = dict.fromkeys(("mAP", "P_C", "R_C", "F1_C", "P_O", "R_O", "F1_O"), True)


class Conventions(protocol.Conventions):
    """The switches of multi-label classification."""

    ap: Literal["11-point", "area", "non-interpolated"]
    """The form of average precision: 11 recalls, the area under the envelope, or the mean precision at the hits."""
    difficult_only: Literal["ignore", "negative", "positive"]
    """What an image counts as for a class whose objects in it are all difficult."""
    missing_score: Literal["last", "never"]
    """An image without a score: ranked below every score, or never retrieved. It is never decided positive."""
    decision: Literal["threshold", "top"]
    """How a class is decided present, for precision, recall and F1."""
    threshold: float = Field(examples=[0.0, 0.5])
    """A class is decided present when its score is above this."""
    top: int = Field(ge=1, examples=[1, 3, 5])
    """Or when it is among this many best classes of its image."""
    macro_f1: Literal["mean-of-f1", "f1-of-means"]
    """F1 over classes: the mean of each class's, or the harmonic mean of P_C and R_C."""


def score(truth: GroundTruth, predictions: Mapping[str, ResolvedPredictions], conventions: Conventions) -> FamilyScore:
    """Evaluate every image and class. Outcomes in ranking order: `score`, `positive`, `decided`, `ranked`."""
    found = predictions["scores"]
    scores = np.full(truth.labels.shape, -np.inf)
    scores[found.image, found.label] = found.score
    decided = _decide(truth, scores, conventions)
    present = truth.labels >= (ONLY_DIFFICULT if conventions.difficult_only == "positive" else PRESENT)
    evaluated = (truth.labels != ONLY_DIFFICULT) | (conventions.difficult_only != "ignore")
    image, label = (index.astype(np.int32) for index in np.nonzero(evaluated))
    order = rank_rows(truth, image, label, scores[image, label])
    image, label = image[order], label[order]
    missing = np.isneginf(scores[image, label])
    columns = {
        "score": np.where(missing, np.nan, scores[image, label]),
        "positive": present[image, label],
        "decided": decided[image, label],
        "ranked": ~missing | (conventions.missing_score == "last"),
    }
    counts = {"pairs": len(image), "positives": int(columns["positive"].sum()), "missing_scores": int(missing.sum())}
    outcomes = pa.table({"image": image, "label": label, **columns})
    return FamilyScore(outcomes, counts, _notes(found.score, conventions))


def summarise(
    outcomes: pa.Table, classes: tuple[str, ...], conventions: Conventions, weights: NDArray[np.float64]
) -> Replicates:
    """Average precision, precision, recall and F1 by class (B, C), and the overall three (B,)."""
    image, label, positive, decided, ranked = get_columns(outcomes, "image", "label", "positive", "decided", "ranked")
    positives = count_by_class(weights, image, label, len(classes), positive)
    forms = average_precisions(image[ranked], label[ranked], positive[ranked], positives, weights)
    chosen = count_by_class(weights, image, label, len(classes), decided)
    true = count_by_class(weights, image, label, len(classes), decided & positive)
    return {
        "mAP": forms.select(conventions.ap),
        **_compute_macro(true, chosen, positives, conventions),
        **_compute_micro(true, chosen, positives),
    }


def rank_hits(outcomes: pa.Table, classes: int) -> RankedHits:
    """Images in the order of their scores, for precision-recall curves."""
    label, positive, ranked = get_columns(outcomes, "label", "positive", "ranked")
    return RankedHits(label[ranked], positive[ranked], np.bincount(label[positive], minlength=classes))


def _decide(truth: GroundTruth, scores: FloatArray, conventions: Conventions) -> NDArray[np.bool_]:
    """Decide which classes (N, C) are present; among equal scores, the first class is the better."""
    if conventions.decision == "threshold":
        return scores > conventions.threshold
    best = np.argsort(-scores, axis=1, kind="stable")[:, : conventions.top]
    decided = np.zeros(scores.shape, dtype=np.bool_)
    np.put_along_axis(decided, best, True, axis=1)
    return decided & np.isfinite(scores)


def _compute_macro(true: FloatArray, chosen: FloatArray, positives: FloatArray, conventions: Conventions) -> Replicates:
    """By class (B, C), undefined without positives; a class that is never decided has precision 0."""
    undefined = positives == 0
    precision = np.where(undefined, np.nan, true / np.maximum(chosen, 1))
    recall = ratio(true, positives)
    f1 = np.where(undefined, np.nan, ratio(2 * true, chosen + positives))
    if conventions.macro_f1 == "f1-of-means":
        f1 = _compute_harmonic_mean(class_mean(precision), class_mean(recall))
    return {"P_C": precision, "R_C": recall, "F1_C": f1}


def _compute_micro(true: FloatArray, chosen: FloatArray, positives: FloatArray) -> Replicates:
    """Over all decisions (B,); precision 0 when nothing is decided."""
    hits, all_chosen, all_positives = (counts.sum(axis=1) for counts in (true, chosen, positives))
    return {
        "P_O": np.where(all_positives > 0, hits / np.maximum(all_chosen, 1), np.nan),
        "R_O": ratio(hits, all_positives),
        "F1_O": np.where(all_positives > 0, ratio(2 * hits, all_chosen + all_positives), np.nan),
    }


def _compute_harmonic_mean(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.where(a + b == 0, 0.0, ratio(2 * a * b, a + b))


def _notes(scores: FloatArray, conventions: Conventions) -> tuple[str, ...]:
    outside = int(((scores < 0) | (scores > 1)).sum())
    if not outside or conventions.decision != "threshold":
        return ()
    return (
        f"{outside} scores are no probabilities: P, R and F1 decide at score > {conventions.threshold:g}, "
        "mAP is not affected",
    )
