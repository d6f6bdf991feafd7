"""Object Energy: how much of an objectness map lies on objects.

The map, enlarged to the image and made to sum to 1, is summed over the union of all objects' boxes; mean over images
(SPN, Section 4.1). For scored boxes, a pixel's energy is the sum of the scores of the boxes that cover its centre.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bench.core.bootstrap import ratio
from bench.core.boxes import FloatArray
from bench.core.columns import get_column
from bench.data.ground_truth import GroundTruth
from bench.errors import RequestError
from bench.predictions.decode import enlarge_map
from bench.predictions.table import ResolvedPredictions
from bench.scoring import protocol
from bench.scoring.protocol import FamilyScore, Need, Replicates

VERSION = 1
NEEDS: Need = "boxes"
METRICS = {"object_energy": True}


class Conventions(protocol.Conventions):
    """The switches of Object Energy."""

    difficult_objects: Literal["count", "ignore"]
    """Whether energy on a difficult object counts as on an object."""


def score(truth: GroundTruth, predictions: Mapping[str, ResolvedPredictions], conventions: Conventions) -> FamilyScore:
    """Evaluate each image that has objects. Outcomes: one row each, its `energy`; 0 if its map has none at all.

    Raises RequestError for energy below 0.
    """
    objects = truth.objects
    if conventions.difficult_objects == "ignore":
        objects = objects.where(~objects.difficult)
    of = np.searchsorted(objects.image, np.arange(len(truth.ids) + 1))
    energy = np.zeros(len(truth.ids))
    for row, values in _energies(truth, predictions):
        on_object = np.zeros(values.shape, dtype=np.bool_)
        for x1, y1, x2, y2 in _bounds(objects.box[of[row] : of[row + 1]], values.shape):
            on_object[y1:y2, x1:x2] = True
        total = values.sum()
        energy[row] = values[on_object].sum() / total if total > 0 else 0.0
    image = np.flatnonzero(np.diff(of)).astype(np.int32)
    return FamilyScore(pa.table({"image": image, "energy": energy[image]}), {"judged": len(image)})


def summarise(
    outcomes: pa.Table, classes: tuple[str, ...], conventions: Conventions, weights: NDArray[np.float64]
) -> Replicates:
    """Mean energy on objects (B,)."""
    drawn = weights[:, get_column(outcomes, "image")]
    return {"object_energy": ratio(drawn @ get_column(outcomes, "energy"), drawn.sum(axis=1))}


def _energies(truth: GroundTruth, predictions: Mapping[str, ResolvedPredictions]) -> Iterator[tuple[int, FloatArray]]:
    """Yield the energy (H, W) of each image with predictions, one at a time."""
    if "objectness" in predictions:
        maps = predictions["objectness"]
        for image, small in zip(maps.image.tolist(), maps.arrays(), strict=True):
            _refuse(truth, image, float(small.min()))
            width, height = map(int, truth.size[image])
            yield image, enlarge_map(small, width, height).astype(np.float64)
        return
    boxes = predictions["boxes"]
    order = np.argsort(boxes.image, kind="stable")
    bounds = np.searchsorted(boxes.image[order], np.arange(len(truth.ids) + 1))
    for image in np.unique(boxes.image).tolist():
        rows = order[bounds[image] : bounds[image + 1]]
        scores = boxes.score[rows]
        _refuse(truth, image, float(scores.min()))
        width, height = map(int, truth.size[image])
        yield image, _sum_covering(boxes.box[rows], scores / max(scores.max(), np.finfo(float).tiny), (height, width))


def _sum_covering(boxes: FloatArray, values: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Sum for each pixel (H, W) the values (n,) of the boxes (n, 4) that cover its centre."""
    height, width = shape
    bounds = _bounds(boxes, shape)
    kept = (bounds[:, 2:] > bounds[:, :2]).all(axis=1)
    (x1, y1, x2, y2), values = bounds[kept].T, values[kept]
    change = np.zeros((height + 1, width + 1))
    for y, x, sign in ((y1, x1, 1), (y1, x2, -1), (y2, x1, -1), (y2, x2, 1)):
        np.add.at(change, (y, x), sign * values)
    return np.asarray(change.cumsum(axis=0).cumsum(axis=1)[:height, :width])


def _bounds(boxes: FloatArray, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Compute the first pixel whose centre each box (n, 4) covers, along x and y, and the first one past it."""
    limits = np.array([shape[1], shape[0]] * 2, dtype=np.float64)
    return np.ceil(np.clip(boxes, 0, limits) - 0.5).astype(np.int64)


def _refuse(truth: GroundTruth, image: int, least: float) -> None:
    if least < 0:
        raise RequestError(f"Energy must not be below 0, but image {truth.ids[image]!r} has {least:g}.")
