"""Segmentation: intersection over union of each class, over all pixels of the split, and their mean.

There is one confusion matrix for the whole split, never a mean over images. Background is a class. Pixels that
the truth leaves open (255) do not count; a pixel without a predicted class (255) is a miss of its class (PASCAL VOC,
VOCevalseg.m). A prediction of another size than the truth is resized to it by nearest neighbour.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bench.core.bootstrap import ratio
from bench.core.boxes import FloatArray
from bench.core.columns import get_column, get_columns
from bench.data.ground_truth import GroundTruth, Masks
from bench.data.pixels import read_indices, resize_nearest
from bench.errors import BadFileError, RequestError
from bench.predictions.table import ResolvedPredictions
from bench.scoring import protocol
from bench.scoring.protocol import FamilyScore, Need, Replicates

VERSION = 1
NEEDS: Need = "class masks"
METRICS = {"mIoU": True}
SILENT = 255
"""The value of a pixel without a class."""

_EXACT = 1 << 24
"""The most pixels that OpenCV may count at once: its histograms are single precision."""

Mask = NDArray[np.uint8]
Integers = NDArray[np.integer]


class Conventions(protocol.Conventions):
    """The switches of segmentation."""

    background: bool
    """Whether background is one of the classes of the mean."""


def score(truth: GroundTruth, predictions: Mapping[str, ResolvedPredictions], conventions: Conventions) -> FamilyScore:
    """Count pixels. Outcomes: a row for each image and class in it: pixels `true`, `predicted`, and `shared`.

    Raises RequestError if the truth has no class masks, BadFileError for a mask with unknown classes.
    """
    if truth.masks is None or not truth.masks.indexed:
        raise RequestError(f"{truth.dataset} {truth.split} has no class masks; its lists of images with masks do.")
    found, names = predictions["masks"], ("background", *truth.classes)
    counted = np.zeros((len(truth.ids), 3, len(names)), dtype=np.int64)
    for image, mask in zip(found.image.tolist(), found.arrays(), strict=True):
        mask = _check(f"mask of {truth.ids[image]}", mask, len(names))
        counted[image] = _count(_read_true(truth.masks, image, len(names)), mask, len(names))
    unanswered = np.full((1, 1), SILENT, dtype=np.uint8)
    for image in np.setdiff1d(np.arange(len(truth.ids)), found.image).tolist():
        counted[image] = _count(_read_true(truth.masks, image, len(names)), unanswered, len(names))
    image, label = (index.astype(np.int32) for index in np.nonzero(counted.any(axis=1)))
    true, predicted, shared = counted[image, :, label].T
    columns = {"image": image, "label": label, "true": true, "predicted": predicted, "shared": shared}
    counts = {"pixels": int(true.sum()), "pixels_without_answer": int(true.sum() - predicted.sum())}
    return FamilyScore(pa.table(columns), counts, classes=names)


def summarise(
    outcomes: pa.Table, classes: tuple[str, ...], conventions: Conventions, weights: NDArray[np.float64]
) -> Replicates:
    """Intersection over union by class (B, 1 + C), background first; undefined for a class without pixels."""
    image, label = get_columns(outcomes, "image", "label")
    true, predicted, shared = (
        _pixels(weights, image, label, get_column(outcomes, name), len(classes))
        for name in ("true", "predicted", "shared")
    )
    iou = ratio(shared, true + predicted - shared)
    if not conventions.background:
        iou[:, 0] = np.nan
    return {"mIoU": iou}


def _pixels(weights: FloatArray, image: Integers, label: Integers, pixels: Integers, names: int) -> FloatArray:
    """Pixels of each class under weights (B, N): (B, names)."""
    table = np.zeros((weights.shape[1], names))
    table[image, label] = pixels
    return np.asarray(weights @ table)


def _count(true: Mask, mask: Mask, names: int) -> Integers:
    """Count the pixels (3, names) of each class in the truth, the prediction and both, where the truth has a class."""
    import cv2

    height, width = true.shape
    if mask.shape != true.shape:
        mask = resize_nearest(mask, width, height)
    pairs = np.zeros((256, 256), dtype=np.int64)
    step = max(1, _EXACT // width)
    for rows in (slice(row, row + step) for row in range(0, height, step)):
        parts = [true[rows], mask[rows]]
        pairs += cv2.calcHist(parts, [0, 1], None, [256, 256], [0, 256, 0, 256]).astype(np.int64)
    said = pairs[:names]
    return np.stack([said.sum(axis=1), said[:, :names].sum(axis=0), said.diagonal()])


def _read_true(masks: Masks, image: int, names: int) -> Mask:
    path = masks.files[image][0]
    return _check(path, read_indices(path), names)


def _check(file: Path | str, mask: Mask, names: int) -> Mask:
    """Return the mask. Raises BadFileError if a pixel is of no class."""
    if (wrong := (mask >= names) & (mask != SILENT)).any():
        raise BadFileError(file, f"a pixel must be 0 ... {names - 1} or {SILENT}, but one is {mask[wrong][0]}")
    return mask
