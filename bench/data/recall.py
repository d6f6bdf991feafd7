"""What proposals can find at best: the share of a truth's objects that a proposal covers, class by class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.core.boxes import FloatArray, find_best_overlaps
from bench.data.ground_truth import ABSENT, GroundTruth, Objects
from bench.data.proposals import Proposals

THRESHOLDS = (0.5, 0.7)


@dataclass(frozen=True)
class Recall:
    """Of one class, or of all: how many images show it, how many proposals they have in the mean, and its objects.

    recall: the share of the objects that some proposal overlaps with IoU >= .5, and >= .7; None without objects.
    """

    name: str
    images: int
    proposals: float | None
    objects: int
    recall: tuple[float | None, ...]


def compute_recalls(proposals: Proposals, truth: GroundTruth, *, min_side: float = 0) -> list[Recall]:
    """Compute the recall of each class, then of `all`; proposals are in the order of the ground truth's ids.

    Objects that are difficult or a crowd do not count, nor do proposals with a side under `min_side` pixels.
    """
    image, boxes = _select_proposals(proposals, min_side)
    objects = _select_objects(truth.objects)
    best, _ = find_best_overlaps(objects.box, objects.image.astype(np.int64), boxes, image)
    count = np.bincount(image, minlength=len(truth.ids))
    found = [
        _compute_recall(name, count[truth.labels[:, label] > ABSENT], best[objects.label == label])
        for label, name in enumerate(truth.classes)
    ]
    return [*found, _compute_recall("all", count, best)]


def _select_proposals(proposals: Proposals, min_side: float) -> tuple[NDArray[np.int64], FloatArray]:
    """Return image (P,) and box (P, 4) of each proposal that is large enough."""
    image = np.repeat(np.arange(len(proposals.ids)), np.diff(proposals.offsets))
    keep = ((proposals.boxes[:, 2:] - proposals.boxes[:, :2]) >= min_side).all(axis=1)
    return image[keep], proposals.boxes[keep].astype(np.float64)


def _select_objects(objects: Objects) -> Objects:
    crowd = np.zeros(len(objects), dtype=np.bool_) if objects.crowd is None else objects.crowd
    return objects.where(~(objects.difficult | crowd))


def _compute_recall(name: str, count: NDArray[np.int64], best: FloatArray) -> Recall:
    """From the proposals (n,) of each image, and the best overlap (m,) of each object."""
    shares = tuple(float((best >= least).mean()) if len(best) else None for least in THRESHOLDS)
    return Recall(name, len(count), float(count.mean()) if len(count) else None, len(best), shares)
