"""The pointing game: does the strongest response to a present class fall on one of its objects?

The class is given. A point hits if it is near enough to any box of the class; accuracy is hits / (hits + misses), by
class, mean over classes (Zhang et al., ECCV 2016). The difficult subset keeps small objects among distractors.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from bench.core.bootstrap import count_by_class, ratio
from bench.core.boxes import FloatArray, area, union_area
from bench.core.columns import get_columns
from bench.data.ground_truth import ONLY_DIFFICULT, PRESENT, GroundTruth, Objects
from bench.data.rle import to_mask
from bench.errors import RequestError
from bench.predictions.decode import peak
from bench.predictions.table import ResolvedPredictions
from bench.scoring import protocol
from bench.scoring.protocol import COMPARE, FamilyScore, Need, Replicates

VERSION = 1
NEEDS: Need = "boxes"
PRESENT_ONLY = True
METRICS = {"accuracy": True, "accuracy_difficult": True}


class Tolerance(protocol.Conventions):
    """The switches that decide what a point hits."""

    tolerance: float = Field(ge=0, le=1_000_000, examples=[0.0, 15.0, 18.0])
    """Pixels of the original image."""
    tolerance_compare: Literal["<", "<="]
    """Whether a point at exactly the tolerance hits."""
    tolerance_shape: Literal["euclid", "square"]
    """A straight distance, or the larger of those along x and y."""
    box_region: Literal["pixels", "region", "mask"]
    """What the distance is taken to: the box's pixels x1 ... x2-1, its region x1 ... x2, or the object's own pixels."""
    difficult_boxes: Literal["count", "ignore"]
    """Whether a point may hit a difficult object."""


class Conventions(Tolerance):
    """The switches of the pointing game."""

    difficult_only_pairs: Literal["skip", "count"]
    """Whether a class counts in an image where all its objects are difficult."""
    subset_area: float = Field(ge=0, le=1, examples=[0.1, 0.25, 0.5])
    """The difficult subset: boxes of the class cover less than this share of the image ..."""
    subset_distractor: Literal["non-difficult", "any"]
    """... and at least one other class has such an object."""


def score(truth: GroundTruth, predictions: Mapping[str, ResolvedPredictions], conventions: Conventions) -> FamilyScore:
    """Evaluate each image and present class. Outcomes: one row each, `hit`, and `difficult` if in the subset."""
    least = PRESENT if conventions.difficult_only_pairs == "skip" else ONLY_DIFFICULT
    image, label = (index.astype(np.int32) for index in np.nonzero(truth.labels >= least))
    points = predictions["points"] if "points" in predictions else find_peaks(truth, predictions["maps"])
    row = np.full(truth.labels.size, -1, dtype=np.int64)
    row[truth.pair(points.image, points.label)] = np.arange(len(points.image))
    asked = row[truth.pair(image, label)]
    hit = np.zeros(len(image), dtype=np.bool_)
    hit[asked >= 0] = hits(truth, points, conventions)[asked[asked >= 0]]
    difficult = _difficult_subset(truth, conventions)[image, label]
    counts = {
        "pairs": len(image),
        "pairs_difficult": int(difficult.sum()),
        "hits": int(hit.sum()),
        "pairs_without_point": int((asked < 0).sum()),
    }
    return FamilyScore(pa.table({"image": image, "label": label, "hit": hit, "difficult": difficult}), counts)


def summarise(
    outcomes: pa.Table, classes: tuple[str, ...], conventions: Conventions, weights: NDArray[np.float64]
) -> Replicates:
    """Share of hits by class (B, C), over all pairs and over the difficult subset."""
    image, label, hit, difficult = get_columns(outcomes, "image", "label", "hit", "difficult")
    names = len(classes)
    return {
        "accuracy": ratio(
            count_by_class(weights, image, label, names, hit), count_by_class(weights, image, label, names)
        ),
        "accuracy_difficult": ratio(
            count_by_class(weights, image, label, names, hit & difficult),
            count_by_class(weights, image, label, names, difficult),
        ),
    }


def find_peaks(truth: GroundTruth, maps: ResolvedPredictions) -> ResolvedPredictions:
    """Find the point of each score map: the peak of the map enlarged to its image. Its score is the map's maximum."""
    size = truth.size[maps.image]
    found = [(*peak(one, *map(int, size[row])), float(one.max())) for row, one in enumerate(maps.arrays())]
    x, y, value = np.array(found, dtype=np.float64).reshape(-1, 3).T
    return ResolvedPredictions("points", maps.image, maps.label, {"score": value, "x": x, "y": y}, maps.covered, {})


def hits(truth: GroundTruth, points: ResolvedPredictions, conventions: Tolerance) -> NDArray[np.bool_]:
    """Whether each point (n,) is near enough to any object of its class in its image.

    Raises RequestError where the dataset has no masks and the switches ask for them.
    """
    objects = truth.objects
    if conventions.difficult_boxes == "ignore":
        objects = objects.where(~objects.difficult)
    row = np.full(truth.labels.size, -1, dtype=np.int64)
    row[truth.pair(points.image, points.label)] = np.arange(len(points.image))
    pointed = row[truth.pair(objects.image, objects.label)]
    objects, rows = objects.where(pointed >= 0), pointed[pointed >= 0]
    point = np.stack([points.columns["x"][rows], points.columns["y"][rows]], axis=1)
    distance = _distance(point, objects, conventions)
    if conventions.box_region == "mask":
        distance = _mask_distance(truth, point, objects, distance, conventions)
    near = COMPARE[conventions.tolerance_compare](distance, conventions.tolerance)
    hit = np.zeros(len(points.image), dtype=np.bool_)
    hit[rows[near]] = True
    return hit


def _distance(point: FloatArray, objects: Objects, conventions: Tolerance) -> FloatArray:
    """Distance (m,) in pixels of point i (m, 2) to the nearest pixel of object i's box; 0 inside."""
    last = objects.box[:, 2:] - (0.0 if conventions.box_region == "region" else 1.0)
    with np.errstate(over="ignore"):
        gap = np.maximum(np.maximum(objects.box[:, :2] - point, point - last), 0.0)
    return _length(gap, conventions)


def _mask_distance(
    truth: GroundTruth, point: FloatArray, objects: Objects, from_box: FloatArray, conventions: Tolerance
) -> FloatArray:
    """Distance (m,) of point i to the nearest pixel of object i's mask; infinite where that is out of reach."""
    if objects.segment is None:
        raise RequestError(f"{truth.dataset} has no masks of its objects, which box_region = mask asks for.")
    reach = ceil(conventions.tolerance) + 1
    distance = np.full(len(objects), np.inf)
    for row in np.flatnonzero(from_box <= reach + 1):  # a mask may extend a pixel beyond its box
        x, y = np.floor(point[row]).astype(int)
        mask = to_mask(objects.segment[row], *map(int, truth.size[objects.image[row]]))
        top, left = max(y - reach, 0), max(x - reach, 0)
        pixels = np.argwhere(mask[top : max(y + reach + 2, 0), left : max(x + reach + 2, 0)])[:, ::-1] + [left, top]
        if len(pixels):
            distance[row] = _length(np.abs(pixels - point[row]), conventions).min()
    return distance


def _length(gap: FloatArray, conventions: Tolerance) -> FloatArray:
    with np.errstate(over="ignore"):
        return np.asarray(np.hypot(*gap.T) if conventions.tolerance_shape == "euclid" else gap.max(axis=1))


def _difficult_subset(truth: GroundTruth, conventions: Conventions) -> NDArray[np.bool_]:
    """Return which classes (N, C) are small in their image, and not alone in it."""
    least = PRESENT if conventions.subset_distractor == "non-difficult" else ONLY_DIFFICULT
    distractors = truth.labels >= least
    accompanied = distractors.sum(axis=1, keepdims=True) - distractors > 0
    limit = conventions.subset_area * truth.size.prod(axis=1, dtype=np.float64)[:, None]
    return np.asarray(accompanied & (_compute_union_areas(truth, limit) < limit))


def _compute_union_areas(truth: GroundTruth, limit: FloatArray) -> FloatArray:
    """Union area (N, C) of all boxes of a class in an image, or the sum of areas if already under `limit` (N, 1)."""
    objects = truth.objects
    covered = np.zeros(truth.labels.shape)
    np.add.at(covered, (objects.image, objects.label), area(objects.box))
    for image, label in zip(*np.nonzero(covered >= limit), strict=True):
        boxes = objects.box[(objects.image == image) & (objects.label == label)]
        covered[image, label] = union_area(boxes)
    return covered
