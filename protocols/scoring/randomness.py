"""Localization randomness: how far the proposals that a method believes in are from the objects, and from each other.

For an image and a class that it shows, with the proposals' probabilities p(h) made to sum to 1: the localization
accuracy is the sum of p(h) IoU(h, nearest object), and the localization variance the sum of p(h) (IoU - accuracy)^2
(MELM, Figure 8). Its code was not released, so what is averaged is a switch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bench.core.bootstrap import ratio
from bench.core.boxes import FloatArray, find_best_overlaps
from bench.core.columns import get_columns
from bench.data.ground_truth import ONLY_DIFFICULT, PRESENT, GroundTruth
from bench.errors import RequestError
from bench.predictions.table import ResolvedPredictions
from bench.scoring import protocol
from bench.scoring.protocol import FamilyScore, Need, Replicates

VERSION = 1
NEEDS: Need = "boxes"
METRICS = {"localization_accuracy": True, "localization_variance": False}


class Conventions(protocol.Conventions):
    """The switches of localization randomness."""

    mean_over: Literal["pairs", "images", "objects"]
    """Each image and class counts once; each image once, its classes averaged; or a pair as often as it has objects."""
    difficult_objects: Literal["count", "ignore"]
    """Whether a difficult object may be the nearest."""
    difficult_only_pairs: Literal["count", "skip"]
    """Whether a class counts in an image where all its objects are difficult."""
    plus_one: bool
    """Whether xmin ... xmax holds xmax - xmin + 1 pixels."""


def score(truth: GroundTruth, predictions: Mapping[str, ResolvedPredictions], conventions: Conventions) -> FamilyScore:
    """Evaluate each image and shown class. Outcomes: one row each, its `accuracy`, `variance` and `weight`.

    A pair whose proposals have no probability has accuracy 0 and no variance. Raises RequestError for a probability
    below 0.
    """
    found = predictions["proposals"]
    probability = found.columns["probability"]
    if (probability < 0).any():
        first = int(np.argmax(probability < 0))
        raise RequestError(f"A probability must not be below 0, but row {first} has {probability[first]}.")
    least = ONLY_DIFFICULT if conventions.difficult_only_pairs == "count" else PRESENT
    image, label = (index.astype(np.int32) for index in np.nonzero(truth.labels >= least))
    pair = np.full(truth.labels.size, -1, dtype=np.int64)
    pair[truth.pair(image, label)] = np.arange(len(image))
    row = pair[truth.pair(found.image, found.label)]
    overlap = _overlaps(truth, found, conventions)
    mass, accuracy, variance = _moments(row[row >= 0], probability[row >= 0], overlap[row >= 0], len(image))
    columns = {"accuracy": accuracy, "variance": np.where(mass > 0, variance, np.nan)}
    weight = _weight(truth, image, label, pair, conventions)
    counts = {"pairs": len(image), "pairs_without_proposals": int((mass == 0).sum())}
    return FamilyScore(pa.table({"image": image, "label": label, **columns, "weight": weight}), counts)


def summarise(
    outcomes: pa.Table, classes: tuple[str, ...], conventions: Conventions, weights: NDArray[np.float64]
) -> Replicates:
    """Both means (B,)."""
    image, accuracy, variance, weight = get_columns(outcomes, "image", "accuracy", "variance", "weight")
    drawn = weights[:, image] * weight
    defined = np.isfinite(variance)
    return {
        "localization_accuracy": ratio(drawn @ accuracy, drawn.sum(axis=1)),
        "localization_variance": ratio(drawn[:, defined] @ variance[defined], drawn[:, defined].sum(axis=1)),
    }


def _overlaps(truth: GroundTruth, found: ResolvedPredictions, conventions: Conventions) -> FloatArray:
    """IoU (n,) of each proposal with the nearest object of its class in its image."""
    objects = truth.objects
    if conventions.difficult_objects == "ignore":
        objects = objects.where(~objects.difficult)
    key, object_key = truth.pair(found.image, found.label), truth.pair(objects.image, objects.label)
    return find_best_overlaps(found.box, key, objects.box, object_key, plus_one=conventions.plus_one)[0]


def _moments(
    row: NDArray[np.int64], probability: FloatArray, overlap: FloatArray, pairs: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mass, mean and variance (P,) of the overlaps of each pair; 0 where it has no mass."""
    largest = np.zeros(pairs)
    np.maximum.at(largest, row, probability)
    share = np.divide(probability, largest[row], out=np.zeros_like(probability), where=largest[row] > 0)
    mass = _sums(row, share, pairs)  # of shares of the largest, as a sum of huge numbers would be infinite
    share /= np.where(mass > 0, mass, 1.0)[row]
    accuracy = _sums(row, share * overlap, pairs)
    return mass, accuracy, _sums(row, share * (overlap - accuracy[row]) ** 2, pairs)


def _sums(row: NDArray[np.int64], values: FloatArray, pairs: int) -> FloatArray:
    return np.asarray(np.bincount(row, values, pairs), dtype=np.float64)


def _weight(
    truth: GroundTruth,
    image: NDArray[np.int32],
    label: NDArray[np.int32],
    pair: NDArray[np.int64],
    conventions: Conventions,
) -> FloatArray:
    """Return the weight of each pair (P,) in the means."""
    if conventions.mean_over == "pairs":
        return np.ones(len(image))
    if conventions.mean_over == "images":
        return 1 / np.bincount(image, minlength=len(truth.ids))[image]
    objects = truth.objects
    if conventions.difficult_objects == "ignore":
        objects = objects.where(~objects.difficult)
    of = pair[truth.pair(objects.image, objects.label)]
    return np.bincount(of[of >= 0], minlength=len(image)).astype(np.float64)
