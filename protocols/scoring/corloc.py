"""Correct localization: is the best box of a present class on an object of that class?

For each image and positive class, the top-scored box (or any of the boxes) is compared with every object of the class.
CorLoc is the share of images that pass, by class, mean over classes (Deselaers et al., IJCV 2012).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from bench.core.bootstrap import count_by_class, ratio
from bench.core.boxes import find_best_overlaps
from bench.core.columns import get_column, get_columns
from bench.data.ground_truth import ONLY_DIFFICULT, PRESENT, GroundTruth
from bench.predictions.table import ResolvedPredictions
from bench.scoring import protocol
from bench.scoring.box_errors import LocalizedClasses
from bench.scoring.protocol import COMPARE, FamilyScore, Need, Replicates

VERSION = 1
NEEDS: Need = "boxes"
PRESENT_ONLY = True
METRICS = {"CorLoc": True}


class Conventions(protocol.Conventions):
    """The switches of correct localization."""

    iou_threshold: float = Field(gt=0, le=1, examples=[0.3, 0.5, 0.7])
    """The overlap from which an object counts as found."""
    iou_compare: Literal[">", ">="]
    """Whether an overlap of exactly the threshold is enough."""
    boxes: Literal["top", "any"]
    """Whether the best box of a class must hit, or any of its boxes."""
    difficult_objects: Literal["count", "ignore"]
    """Whether a box may hit a difficult object."""
    difficult_only_images: Literal["count", "skip"]
    """Whether an image counts for a class whose objects in it are all difficult."""
    mean_over: Literal["classes", "images"]
    """The mean of the classes' shares, or the share of all pairs of image and class."""
    plus_one: bool
    """Whether xmin ... xmax holds xmax - xmin + 1 pixels."""


def score(truth: GroundTruth, predictions: Mapping[str, ResolvedPredictions], conventions: Conventions) -> FamilyScore:
    """Evaluate each image and positive class. Outcomes: one row each, `hit` where localized."""
    image, label, position = _list_pairs(truth, conventions)
    found = predictions["boxes"]
    pair = position[truth.pair(found.image, found.label)]
    evaluated = _select_rows(pair, found.score, conventions.boxes)
    passed = _is_on_object(truth, found, evaluated, conventions)
    hit, answered = np.zeros(len(image), dtype=np.bool_), np.zeros(len(image), dtype=np.bool_)
    hit[pair[evaluated][passed]], answered[pair[evaluated]] = True, True
    counts = {"pairs": len(image), "hits": int(hit.sum()), "pairs_without_box": int((~answered).sum())}
    return FamilyScore(pa.table({"image": image, "label": label, "hit": hit}), counts)


def localize_classes(
    truth: GroundTruth, predictions: Mapping[str, ResolvedPredictions], conventions: Conventions
) -> LocalizedClasses:
    """Return the best box of each image and positive class, for an analysis of errors."""
    image, label, position = _list_pairs(truth, conventions)
    found = predictions["boxes"]
    pair = position[truth.pair(found.image, found.label)]
    best = _select_rows(pair, found.score, "top")
    box = np.full((len(image), 4), np.nan)
    box[pair[best]] = found.box[best]
    hit = get_column(score(truth, predictions, conventions).outcomes, "hit")
    by_class = conventions.mean_over == "classes"
    return LocalizedClasses(truth, image, label, box, hit, np.zeros(len(image), dtype=np.bool_), by_class)


def _list_pairs(
    truth: GroundTruth, conventions: Conventions
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    """List the images (n,) and classes (n,) to localize, and the index of every pair among them, -1 for others."""
    least = ONLY_DIFFICULT if conventions.difficult_only_images == "count" else PRESENT
    image, label = (index.astype(np.int32) for index in np.nonzero(truth.labels >= least))
    position = np.full(truth.labels.size, -1, dtype=np.int64)
    position[truth.pair(image, label)] = np.arange(len(image))
    return image, label, position


def summarise(
    outcomes: pa.Table, classes: tuple[str, ...], conventions: Conventions, weights: NDArray[np.float64]
) -> Replicates:
    """Share of hits: (B, C) by class, or (B,) over all pairs."""
    image, label, hit = get_columns(outcomes, "image", "label", "hit")
    hits = count_by_class(weights, image, label, len(classes), hit)
    pairs = count_by_class(weights, image, label, len(classes))
    if conventions.mean_over == "images":
        return {"CorLoc": ratio(hits.sum(axis=1), pairs.sum(axis=1))}
    return {"CorLoc": ratio(hits, pairs)}


def _select_rows(pair: NDArray[np.int64], scores: NDArray[np.float64], boxes: str) -> NDArray[np.int64]:
    """Select the rows to evaluate: of each pair (-1: not to localize) the best, the first of equals; or all."""
    rows = np.flatnonzero(pair >= 0)
    if boxes == "any":
        return rows
    ranked = rows[np.lexsort((-scores[rows], pair[rows]))]
    return ranked[np.unique(pair[ranked], return_index=True)[1]]


def _is_on_object(
    truth: GroundTruth, found: ResolvedPredictions, rows: NDArray[np.int64], conventions: Conventions
) -> NDArray[np.bool_]:
    """Whether each of these boxes passes the threshold with any object of its class."""
    objects = truth.objects
    if conventions.difficult_objects == "ignore":
        objects = objects.where(~objects.difficult)
    key, object_key = truth.pair(found.image[rows], found.label[rows]), truth.pair(objects.image, objects.label)
    overlap, _ = find_best_overlaps(found.box[rows], key, objects.box, object_key, plus_one=conventions.plus_one)
    return np.asarray(COMPARE[conventions.iou_compare](overlap, conventions.iou_threshold))
