"""MaxBoxAcc: how often a box made from a score map is on the object, at the best of a thousand thresholds.

Choe et al., CVPR 2020, as their released wsolevaluation computes it: in double precision a map is resized to 224 x 224
(cubic) and made to span 0 ... 1, then cut to 8 bits; foreground is above `int(tau * maximum)`, tau = 0, .001 ... .999;
truth boxes are scaled to 224 and truncated. Its contours come from OpenCV's RETR_TREE, so holes are contours too.
MaxBoxAcc takes the contour of the largest `contourArea` and IoU .5; MaxBoxAccV2 the best of all contours, and the mean
over IoU .3, .5 and .7 of the best threshold of each. BoxAcc and BoxAccV2 are the same at one fixed threshold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from bench.core.bootstrap import ratio
from bench.core.boxes import FloatArray, iou
from bench.core.columns import get_column
from bench.data.ground_truth import PRESENT, GroundTruth
from bench.errors import RequestError
from bench.predictions.table import ResolvedPredictions
from bench.scoring import protocol
from bench.scoring.protocol import FamilyScore, Need, Replicates
from protocols.scoring.level_contours import Grey, remove_small, trace_levels

VERSION = 2
NEEDS: Need = "boxes"
PRESENT_ONLY = True
METRICS = {"MaxBoxAcc": True, "MaxBoxAccV2": True, "BoxAcc": True, "BoxAccV2": True}

SIDE = 224
"""The side, in pixels, to which maps and truth are scaled."""

TAUS = np.arange(0, 1, 0.001)
_IOUS = (0.3, 0.5, 0.7)
_CURVES = 1 + len(_IOUS)
"""Curves over the thresholds: of the largest contour at IoU .5, then of the best contour at each of `_IOUS`."""


class Conventions(protocol.Conventions):
    """The switches of MaxBoxAcc."""

    box_ends: Literal["tight", "wsolevaluation"]
    """wsolevaluation: boxes end one pixel past the foreground, except at the map's last pixel, and areas count both end
    pixels, of truth boxes too. tight: boxes enclose exactly the foreground, and truth boxes keep their ends."""
    fixed_threshold: float = Field(ge=0, lt=1, examples=[0.1, 0.2, 0.3, 0.5])
    """The tau of BoxAcc and BoxAccV2, chosen without the evaluated images."""


def score(truth: GroundTruth, predictions: Mapping[str, ResolvedPredictions], conventions: Conventions) -> FamilyScore:
    """Evaluate each image that has boxes. Outcomes: one row each, `hits` a bit for each curve and threshold.

    Raises RequestError if image sizes are not known.
    """
    objects = truth.objects
    of = np.searchsorted(objects.image, np.arange(len(truth.ids) + 1))
    image = np.flatnonzero(np.diff(of)).astype(np.int32)
    if not truth.size[image].all():
        raise RequestError(f"The sizes of {truth.dataset} {truth.split} are not known; boxes cannot be scaled.")
    hits = np.zeros((len(truth.ids), _CURVES, len(TAUS)), dtype=np.bool_)
    for row, found in maps_of_shown(truth, predictions["maps"]):
        boxes = _scale_boxes(objects.box[of[row] : of[row + 1]], truth.size[row], conventions)
        if len(boxes):
            hits[row] = _hits(scale_map(found), boxes, conventions)
    packed = np.packbits(hits[image].reshape(len(image), _CURVES * len(TAUS)), axis=1)
    bits = pa.array([one.tobytes() for one in packed], pa.binary())
    without = int((~np.isin(image, predictions["maps"].image)).sum())
    counts = {"judged": len(image), "images_without_map": without}
    return FamilyScore(pa.table({"image": image, "hits": bits}), counts, _describe_best(hits[image]))


def summarise(
    outcomes: pa.Table, classes: tuple[str, ...], conventions: Conventions, weights: NDArray[np.float64]
) -> Replicates:
    """Compute each metric (B,), a share of images."""
    image = get_column(outcomes, "image")
    packed = np.frombuffer(b"".join(outcomes["hits"].to_pylist()), dtype=np.uint8)
    packed = packed.reshape(len(image), _CURVES * len(TAUS) // 8)
    hits = np.unpackbits(packed, axis=1, count=_CURVES * len(TAUS)).astype(np.float32)
    drawn = weights[:, image].astype(np.float32)
    shares = ratio(
        (drawn @ hits).astype(np.float64), np.repeat(weights[:, image].sum(axis=1)[:, None], hits.shape[1], 1)
    )
    curves = shares.reshape(len(weights), _CURVES, len(TAUS))
    at = int(np.abs(TAUS - conventions.fixed_threshold).argmin())
    best, fixed = curves.max(axis=2), curves[:, :, at]
    return {
        "MaxBoxAcc": best[:, 0],
        "MaxBoxAccV2": best[:, 1:].mean(axis=1),
        "BoxAcc": fixed[:, 0],
        "BoxAccV2": fixed[:, 1:].mean(axis=1),
    }


def _describe_best(hits: NDArray[np.bool_]) -> tuple[str, ...]:
    """Summarise hits (n, _CURVES, 1000) by the first best threshold of each curve."""
    if not len(hits):
        return ()
    first, *others = (f"{TAUS[at]:.3f}".lstrip("0") for at in hits.sum(axis=0).argmax(axis=1))
    ious = ", ".join(f"{least:g}".lstrip("0") for least in _IOUS)
    return (f"the best thresholds are {first} of MaxBoxAcc, and {', '.join(others)} of MaxBoxAccV2 at IoU {ious}",)


def maps_of_shown(truth: GroundTruth, maps: ResolvedPredictions) -> Iterator[tuple[int, NDArray[np.floating]]]:
    """Yield the maps of classes that images show, each with its image, one in memory at a time."""
    for image, label, found in zip(maps.image.tolist(), maps.label.tolist(), maps.arrays(), strict=True):
        if truth.labels[image, label] == PRESENT:
            yield image, found


def scale_map(found: NDArray[np.floating]) -> FloatArray:
    """Resize a map (h, w) to 224 x 224 and rescale it to 0 ... 1; a constant map becomes 0."""
    import cv2

    if found.min() == found.max():  # tested before enlarging, which rounds a constant unevenly
        return np.zeros((SIDE, SIDE))
    large = found.astype(np.float64)
    if large.shape != (SIDE, SIDE):
        large = np.asarray(cv2.resize(large, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC))
    large -= large.min()
    if (top := float(large.max())) > 0:
        large /= top
    return large


def _scale_boxes(boxes: FloatArray, size: NDArray[np.int32], conventions: Conventions) -> FloatArray:
    """Scale truth boxes (n, 4) to 224 x 224, truncated to whole pixels."""
    whole = np.trunc(boxes * SIDE / np.tile(size.astype(np.float64), 2))
    return whole + ([0, 0, 1, 1] if conventions.box_ends == "wsolevaluation" else 0)


def _hits(found: FloatArray, truth_boxes: FloatArray, conventions: Conventions) -> NDArray[np.bool_]:
    """Whether each curve hits at each threshold (_CURVES, 1000).

    At 1,000 thresholds an 8-bit map has at most 256 different foregrounds; each is evaluated once, without contours too
    small to hit anything. If the largest remaining contour hits but a removed one may be larger, or if contours of the
    same size differ, all contours are evaluated.
    """
    grey = (found * 255).astype(np.uint8)
    values = np.flatnonzero(np.bincount(grey.ravel(), minlength=256))
    above = np.searchsorted(values, np.floor(TAUS * values[-1]), side="right")
    steps, of_tau = np.unique(above, return_inverse=True)
    levels = np.where(steps > 0, values[steps - 1], -1)
    kept, removed = remove_small(grey, truth_boxes, min(_IOUS))
    hits, is_open = _hits_of_levels(kept, levels, truth_boxes, conventions, removed)
    if is_open.any():
        hits[:, is_open], _ = _hits_of_levels(grey, levels[is_open], truth_boxes, conventions, -1)
    return hits[:, of_tau]


def _hits_of_levels(
    grey: Grey, levels: NDArray[np.integer], truth_boxes: FloatArray, conventions: Conventions, removed: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each curve hits at each level (_CURVES, L), and where that depends on contours that were removed (L,).

    removed: the largest area that those may have; -1 if none were removed.
    """
    contours = trace_levels(grey, levels.tolist())
    boxes, first = contours.box, contours.first
    if conventions.box_ends == "wsolevaluation":
        boxes[:, 2:] = np.minimum(boxes[:, 2:], SIDE - 1) + 1
    best = iou(boxes, truth_boxes).max(axis=1)
    level = np.repeat(np.arange(len(levels)), np.diff(first, append=len(boxes)))
    top = np.maximum.reduceat(contours.area, first)
    largest = np.flatnonzero(contours.area == top[level])
    start = np.searchsorted(level[largest], np.arange(len(levels)))
    is_hit = best[largest] >= 0.5
    some, all_ = np.logical_or.reduceat(is_hit, start), np.logical_and.reduceat(is_hit, start)
    is_open = (removed >= 0) & ((some & (top <= removed)) | (some != all_))
    best_of_all = np.maximum.reduceat(best, first)
    return np.stack([is_hit[start], *(best_of_all >= least for least in _IOUS)]), is_open
