"""Detection as PASCAL VOC judges it: average precision, mean over classes, in both forms from one matching.

A detection picks the object of its class in its image that it overlaps most, difficult ones included. Over the
threshold, a difficult object makes it ignored, an object already found by a better detection makes it false, any other
makes it true; under the threshold it is false (VOCdevkit, VOCevaldet.m).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from bench import protocol
from bench.boxes import FloatArray, best_overlaps
from bench.predictions import Resolved
from bench.protocol import COMPARE, Replicates, Scored
from bench.ranking import average_precisions, ranking
from bench.stats import totals
from bench.truth import Objects, Truth

VERSION = 1
METRICS = {"mAP_11pt": True, "mAP_area": True}


class Conventions(protocol.Conventions):
    """The switches of detection."""

    iou_threshold: float = Field(gt=0, le=1, examples=[0.3, 0.5, 0.7])
    iou_compare: Literal[">=", ">"]
    difficult: Literal["ignore", "count", "remove"]
    plus_one: bool
    """Whether xmin ... xmax holds xmax - xmin + 1 pixels."""
    rounding: Literal["none", "devkit"]
    """devkit: scores to three decimals and corners to one, as in the text files that the devkit's tools read."""
    ties: Literal["stable", "argsort"]


def score(truth: Truth, predictions: Mapping[str, Resolved], conventions: Conventions) -> Scored:
    """Match detections. Outcomes: the counted ones in ranking order, `hit` where true, then `missed` objects."""
    found, objects = predictions["boxes"], _objects(truth, conventions)
    scores, boxes = _rounded(found, conventions)
    order = ranking(truth, found.image, found.label, scores, stable=conventions.ties == "stable")
    key, object_key = truth.pair(found.image, found.label), truth.pair(objects.image, objects.label)
    overlap, which = best_overlaps(boxes, key, objects.box, object_key, plus_one=conventions.plus_one)
    matched = COMPARE[conventions.iou_compare](overlap, conventions.iou_threshold)
    ignored = matched.copy()
    ignored[matched] = _ignoring(objects, conventions)[which[matched]]
    claims = order[(matched & ~ignored)[order]]
    hit = np.zeros(len(boxes), dtype=np.bool_)
    hit[claims[np.unique(which[claims], return_index=True)[1]]] = True
    counted = order[~ignored[order]]
    missed = ~_ignoring(objects, conventions)
    counts = {
        "detections": len(boxes),
        "true_positives": int(hit.sum()),
        "duplicates": len(claims) - int(hit.sum()),
        "ignored": int(ignored.sum()),
        "objects": int(missed.sum()),
    }
    missed[which[hit]] = False
    columns: dict[str, NDArray[Any]] = {
        "image": np.concatenate([found.image[counted], objects.image[missed]]),
        "label": np.concatenate([found.label[counted], objects.label[missed]]),
        "score": np.concatenate([scores[counted], np.full(missed.sum(), np.nan)]),
        "hit": np.concatenate([hit[counted], np.zeros(missed.sum(), dtype=np.bool_)]),
        "missed": np.arange(len(counted) + missed.sum()) >= len(counted),
    }
    return Scored(pa.table(columns), counts)


def summarise(
    outcomes: pa.Table, classes: tuple[str, ...], conventions: Conventions, weights: NDArray[np.float64]
) -> Replicates:
    """Average precision by class (B, C) in both forms."""
    image, label, hit, missed = (outcomes[name].to_numpy() for name in ("image", "label", "hit", "missed"))
    positives = totals(weights, image, label, len(classes), hit | missed)
    precision = average_precisions(image[~missed], label[~missed], hit[~missed], positives, weights)
    return {"mAP_11pt": precision.eleven_point, "mAP_area": precision.area}


def _objects(truth: Truth, conventions: Conventions) -> Objects:
    return truth.objects.where(~truth.objects.difficult) if conventions.difficult == "remove" else truth.objects


def _ignoring(objects: Objects, conventions: Conventions) -> NDArray[np.bool_]:
    """Objects (M,) that nobody has to find, and whose detections do not count."""
    return objects.difficult & (conventions.difficult == "ignore")


def _rounded(found: Resolved, conventions: Conventions) -> tuple[FloatArray, FloatArray]:
    if conventions.rounding == "none":
        return found.score, found.box
    return np.round(found.score, 3), np.round(found.box, 1)
