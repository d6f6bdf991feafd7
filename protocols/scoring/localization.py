"""ILSVRC's localization: is one of an image's best k (class, box) pairs of the right class and on its object?

Top-k localization error is the share of images for which none is; GT-known takes the best box of the true class;
top-k classification error asks for the class alone (Russakovsky et al., IJCV 2015, Section 4.2). Class scores from a
second file decide which classes are the best, each then with its best box.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from bench.core.bootstrap import ratio
from bench.core.boxes import find_best_overlaps
from bench.core.columns import get_column, get_columns
from bench.data.ground_truth import PRESENT, GroundTruth
from bench.predictions.table import ResolvedPredictions
from bench.scoring import protocol
from bench.scoring.average_precision import rank_within_images
from bench.scoring.box_errors import LocalizedClasses
from bench.scoring.protocol import COMPARE, FamilyScore, Need, Replicates

VERSION = 1
NEEDS: Need = "boxes"
METRICS = dict.fromkeys(
    ("top1_loc_error", "top5_loc_error", "gt_known_loc_error", "top1_cls_error", "top5_cls_error"), False
)

Flags = NDArray[np.bool_]


class Conventions(protocol.Conventions):
    """The switches of localization."""

    iou_threshold: float = Field(gt=0, le=1, examples=[0.3, 0.5, 0.7])
    """The overlap from which an object counts as found."""
    iou_compare: Literal[">=", ">"]
    """Whether an overlap of exactly the threshold is enough."""
    plus_one: bool
    """Whether xmin ... xmax holds xmax - xmin + 1 pixels."""
    blacklist: Literal["skip", "count"]
    """Whether images that the dataset blacklists count for localization; for classification they always do."""


def score(truth: GroundTruth, predictions: Mapping[str, ResolvedPredictions], conventions: Conventions) -> FamilyScore:
    """Evaluate each image that shows a class. Outcomes: one row each, `localized` false where it is blacklisted."""
    boxes = predictions["boxes"]
    best = _best_of_pairs(boxes)
    of_class, on_object = _is_of_shown_class(truth, boxes), _is_on_object(truth, boxes, conventions)
    if "scores" in predictions:
        classes, rows = predictions["scores"], best
        place, box_place = _places(truth, classes, boxes, best)
    else:
        classes, rows = boxes, np.arange(len(boxes.image))
        place = box_place = rank_within_images(boxes.image, boxes.label, boxes.score)
    image = np.flatnonzero((truth.labels == PRESENT).any(axis=1)).astype(np.int32)
    right = _is_of_shown_class(truth, classes)
    hits = {"gt_known_loc_error": _images(truth, boxes.image[best], on_object[best])}
    for k in (1, 5):
        hits[f"top{k}_loc_error"] = _images(truth, boxes.image[rows], on_object[rows] & (box_place < k))
        hits[f"top{k}_cls_error"] = _images(truth, classes.image, right & (place < k))
    judged = np.ones(len(truth.ids), dtype=np.bool_)
    if truth.blacklist is not None and conventions.blacklist == "skip":
        judged = ~truth.blacklist
    columns = {"image": image, "localized": judged[image], **{name: ~hit[image] for name, hit in hits.items()}}
    boxless = ~_images(truth, boxes.image, of_class)[image]
    counts = {"judged": int(judged[image].sum()), "blacklisted": int((~judged[image]).sum())}
    return FamilyScore(pa.table(columns), {**counts, "images_without_box_of_class": int(boxless.sum())})


def localize_classes(
    truth: GroundTruth, predictions: Mapping[str, ResolvedPredictions], conventions: Conventions
) -> LocalizedClasses:
    """Return the best box of the class that each image shows, for an analysis of errors in top-1 localization.

    If the image shows several classes, the one that scores best of all classes if it is among them, else the first.
    """
    boxes = predictions["boxes"]
    outcomes = score(truth, predictions, conventions).outcomes
    judged = get_column(outcomes, "localized")
    image, wrong_place, wrong_class = (
        get_column(outcomes, name)[judged] for name in ("image", "top1_loc_error", "top1_cls_error")
    )
    label = (truth.labels[image] == PRESENT).argmax(axis=1).astype(np.int32)
    classes = predictions.get("scores", boxes)
    first = np.flatnonzero(rank_within_images(classes.image, classes.label, classes.score) == 0)
    top = np.full(len(truth.ids), -1, dtype=np.int32)
    top[classes.image[first]] = classes.label[first]
    label = np.where(wrong_class, label, top[image])
    position = np.full(truth.labels.size, -1, dtype=np.int64)
    position[truth.pair(image, label)] = np.arange(len(image))
    best = _best_of_pairs(boxes)
    at = position[truth.pair(boxes.image[best], boxes.label[best])]
    box = np.full((len(image), 4), np.nan)
    box[at[at >= 0]] = boxes.box[best[at >= 0]]
    return LocalizedClasses(truth, image, label, box, ~wrong_place, wrong_class, by_class=False)


def summarise(
    outcomes: pa.Table, classes: tuple[str, ...], conventions: Conventions, weights: NDArray[np.float64]
) -> Replicates:
    """Each error (B,): the share of images without a hit."""
    image, localized = get_columns(outcomes, "image", "localized")
    drawn = weights[:, image]
    judged = {"loc": drawn @ localized.astype(np.float64), "cls": drawn.sum(axis=1)}
    found = {}
    for name in METRICS:
        task = name.split("_")[-2]
        missed = get_column(outcomes, name) & (localized | (task == "cls"))
        found[name] = ratio(drawn @ missed.astype(np.float64), judged[task])
    return found


def _best_of_pairs(boxes: ResolvedPredictions) -> NDArray[np.int64]:
    """Return the best row of each image and class, the first of equals."""
    order = np.lexsort((-boxes.score, boxes.label, boxes.image))
    pair = np.stack([boxes.image[order], boxes.label[order]])
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (pair[:, 1:] != pair[:, :-1]).any(axis=0)
    return order[first]


def _places(
    truth: GroundTruth, classes: ResolvedPredictions, boxes: ResolvedPredictions, best: NDArray[np.int64]
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Compute the rank of each class score in its image, and the rank of the class of each best box."""
    place = rank_within_images(classes.image, classes.label, classes.score)
    box_place = np.full(len(best), np.iinfo(np.int64).max)  # a class without a score is never among the first k
    asked, scored = truth.pair(boxes.image[best], boxes.label[best]), truth.pair(classes.image, classes.label)
    _, mine, theirs = np.intersect1d(asked, scored, assume_unique=True, return_indices=True)
    box_place[mine] = place[theirs]
    return place, box_place


def _is_of_shown_class(truth: GroundTruth, found: ResolvedPredictions) -> Flags:
    """Whether each row (n,) is of a class that its image shows."""
    return np.asarray(truth.labels[found.image, found.label] == PRESENT)


def _is_on_object(truth: GroundTruth, boxes: ResolvedPredictions, conventions: Conventions) -> Flags:
    """Whether each box (n,) passes the threshold with an object of its class in its image."""
    objects = truth.objects
    key, object_key = truth.pair(boxes.image, boxes.label), truth.pair(objects.image, objects.label)
    overlap, _ = find_best_overlaps(boxes.box, key, objects.box, object_key, plus_one=conventions.plus_one)
    return np.asarray(COMPARE[conventions.iou_compare](overlap, conventions.iou_threshold))


def _images(truth: GroundTruth, image: NDArray[np.integer], hit: Flags) -> Flags:
    """Return which images (N,) have a row that hits."""
    found = np.zeros(len(truth.ids), dtype=np.bool_)
    found[image[hit]] = True
    return found
