"""Pointing with prediction: a point and a score for each image and class, judged by average precision.

A point is a true positive if it falls on an object of its class, boxes grown by a tolerance, and a false one if it
falls elsewhere or the class is absent (Oquab et al., CVPR 2015, Section 4). With one point per image and class, the
positives are the images that show the class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bench.core.bootstrap import count_by_class
from bench.core.columns import get_columns
from bench.data.ground_truth import ONLY_DIFFICULT, PRESENT, GroundTruth
from bench.predictions.table import ResolvedPredictions
from bench.scoring.average_precision import average_precisions, rank_rows
from bench.scoring.average_precision import rank_hits as rank_hits  # part of the family's interface
from bench.scoring.protocol import FamilyScore, Need, Replicates
from protocols.scoring.pointing import Tolerance, hits

VERSION = 1
NEEDS: Need = "boxes"
METRICS = {"mAP": True}


class Conventions(Tolerance):
    """The switches of pointing with prediction."""

    ap: Literal["11-point", "area", "non-interpolated"]
    """The form of average precision: 11 recalls, the area under the envelope, or the mean precision at the hits."""
    difficult_only: Literal["ignore", "negative", "positive"]
    """What an image counts as for a class whose objects in it are all difficult."""


def score(truth: GroundTruth, predictions: Mapping[str, ResolvedPredictions], conventions: Conventions) -> FamilyScore:
    """Evaluate every point. Outcomes: the counted ones in ranking order, `hit` where true, then `missed` positives."""
    points = predictions["points"]
    shown = truth.labels[points.image, points.label]
    hit = hits(truth, points, conventions) & (shown >= _get_least_label(conventions))
    order = rank_rows(truth, points.image, points.label, points.score)
    if conventions.difficult_only == "ignore":
        order = order[shown[order] != ONLY_DIFFICULT]
    positive = truth.labels >= _get_least_label(conventions)
    counts = {"points": len(order), "true_positives": int(hit[order].sum()), "positives": int(positive.sum())}
    positive[points.image[hit], points.label[hit]] = False
    image, label = (index.astype(np.int32) for index in np.nonzero(positive))
    columns = {
        "image": np.concatenate([points.image[order], image]),
        "label": np.concatenate([points.label[order], label]),
        "score": np.concatenate([points.score[order], np.full(len(image), np.nan)]),
        "hit": np.concatenate([hit[order], np.zeros(len(image), dtype=np.bool_)]),
        "missed": np.arange(len(order) + len(image)) >= len(order),
    }
    return FamilyScore(pa.table(columns), counts)


def summarise(
    outcomes: pa.Table, classes: tuple[str, ...], conventions: Conventions, weights: NDArray[np.float64]
) -> Replicates:
    """Average precision by class (B, C)."""
    image, label, hit, missed = get_columns(outcomes, "image", "label", "hit", "missed")
    positives = count_by_class(weights, image, label, len(classes), hit | missed)
    found = average_precisions(image[~missed], label[~missed], hit[~missed], positives, weights)
    return {"mAP": found.select(conventions.ap)}


def _get_least_label(conventions: Conventions) -> int:
    return ONLY_DIFFICULT if conventions.difficult_only == "positive" else PRESENT
