"""The upper bound that proposals impose: the share of the objects that some proposal covers, by class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.core.boxes import FloatArray, find_best_overlaps
from bench.data.ground_truth import ABSENT, GroundTruth, Objects
from bench.data.proposals import Proposals, are_large_enough

THRESHOLDS = (0.5, 0.7)


@dataclass(frozen=True)
class Recall:
    """Recall for one class, or for all: number of images, mean number of proposals per image, number of objects.

    recall: the share of objects that some proposal overlaps with IoU >= .5, and >= .7; None without objects.
    """

    name: str
    images: int
    proposals: float | None
    objects: int
    recall: tuple[float | None, ...]


def compute_recalls(proposals: Proposals, truth: GroundTruth, *, min_side: float = 0) -> list[Recall]:
    """Return one `Recall` per class, then `all` over every image; proposals are in the order of the truth's ids.

    Objects that are difficult or a crowd do not count, nor do proposals with a side under `min_side` pixels.
    """
    image, boxes = _select_proposals(proposals, min_side)
    objects = _select_objects(truth.objects)
    best, _ = find_best_overlaps(objects.box, objects.image.astype(np.int64), boxes, image)
    count = np.bincount(image, minlength=len(truth.ids))
    lines = [
        _compute_recall(name, count[truth.labels[:, label] > ABSENT], best[objects.label == label])
        for label, name in enumerate(truth.classes)
    ]
    return [*lines, _compute_recall("all", count, best)]


def _select_proposals(proposals: Proposals, min_side: float) -> tuple[NDArray[np.int64], FloatArray]:
    """Return the image (P,) and the box (P, 4) of each proposal that is large enough."""
    image = np.repeat(np.arange(len(proposals.ids)), np.diff(proposals.offsets))
    keep = are_large_enough(proposals.boxes, min_side)
    return image[keep], proposals.boxes[keep].astype(np.float64)


def _select_objects(objects: Objects) -> Objects:
    crowd = np.zeros(len(objects), dtype=np.bool_) if objects.crowd is None else objects.crowd
    return objects.where(~(objects.difficult | crowd))


def _compute_recall(name: str, count: NDArray[np.int64], best: FloatArray) -> Recall:
    """Compute one line from the number of proposals (N,) of each image, and the best overlap (M,) of each object."""
    shares = tuple(float((best >= threshold).mean()) if len(best) else None for threshold in THRESHOLDS)
    return Recall(name, len(count), float(count.mean()) if len(count) else None, len(best), shares)
