"""Single-label classification: is the image's class among the best of its scores?

`accuracy` is the share of images whose class is the best one; the errors are the shares of images whose class is not
the best one, or not among the best five.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bench.core.bootstrap import class_mean, count_by_class, ratio
from bench.core.columns import get_columns
from bench.data.ground_truth import PRESENT, GroundTruth
from bench.predictions.table import ResolvedPredictions
from bench.scoring import protocol
from bench.scoring.average_precision import rank_within_images
from bench.scoring.protocol import FamilyScore, Need, Replicates

VERSION = 1
NEEDS: Need = "labels"
METRICS = {"accuracy": True, "top1_cls_error": False, "top5_cls_error": False}


class Conventions(protocol.Conventions):
    """The switches of single-label classification."""

    mean_over: Literal["images", "classes"]
    """The share of images, or the mean of the classes' shares."""


def score(truth: GroundTruth, predictions: Mapping[str, ResolvedPredictions], conventions: Conventions) -> FamilyScore:
    """Evaluate each image that shows a class. Outcomes: one row each, `top1` and `top5` where it is among the best."""
    found = predictions["scores"]
    right = truth.labels[found.image, found.label] == PRESENT
    place = rank_within_images(found.image, found.label, found.score)
    best = np.full(len(truth.ids), np.iinfo(np.int64).max)
    np.minimum.at(best, found.image[right], place[right])
    shown = (truth.labels == PRESENT).any(axis=1)
    image = np.flatnonzero(shown).astype(np.int32)
    label = truth.labels[image].argmax(axis=1).astype(np.int32)
    columns = {"image": image, "label": label, "top1": best[image] < 1, "top5": best[image] < 5}
    without = ~np.isin(image, found.image)
    return FamilyScore(pa.table(columns), {"judged": len(image), "images_without_score": int(without.sum())})


def summarise(
    outcomes: pa.Table, classes: tuple[str, ...], conventions: Conventions, weights: NDArray[np.float64]
) -> Replicates:
    """Accuracy (B, C) by class or (B,) over images, and the errors (B,) likewise averaged."""
    image, label, top1, top5 = get_columns(outcomes, "image", "label", "top1", "top5")
    images = count_by_class(weights, image, label, len(classes))
    first, fifth = (count_by_class(weights, image, label, len(classes), hit) for hit in (top1, top5))
    if conventions.mean_over == "images":
        images, first, fifth = (counts.sum(axis=1) for counts in (images, first, fifth))
    accuracy = ratio(first, images)
    return {
        "accuracy": accuracy,
        "top1_cls_error": 1 - class_mean(accuracy),
        "top5_cls_error": 1 - class_mean(ratio(fifth, images)),
    }
