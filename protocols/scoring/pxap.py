"""PxAP: average precision of pixels, of a score map against masks, over all images of a split together.

Choe et al., CVPR 2020, as their released wsolevaluation computes it: maps and masks at 224 x 224, a pixel is found if
its score is at least tau = 0, .001 ... .999, 1, not quantised; the sum over thresholds of the step in recall times the
precision. Ignored regions, minus the foreground, do not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bench.core.bootstrap import ratio
from bench.core.boxes import FloatArray
from bench.core.columns import get_column
from bench.data.ground_truth import GroundTruth, Masks
from bench.data.pixels import read_nonzero
from bench.errors import RequestError, format_count
from bench.predictions.table import ResolvedPredictions
from bench.scoring import protocol
from bench.scoring.protocol import FamilyScore, Need, Replicates
from protocols.scoring.maxbox import SIDE, TAUS, maps_of_shown, scale_map

VERSION = 2
NEEDS: Need = "object masks"
PRESENT_ONLY = True
METRICS = {"PxAP": True}

_EDGES = np.append(TAUS, 1.0)
_ROUNDING = 1e-9


class Conventions(protocol.Conventions):
    """The switches of PxAP."""

    stretch: Literal["map", "none"] = "map"
    """Each map is rescaled to 0 ... 1, as the released code does when it makes maps; or taken as it is, as the released
    evaluation does with files of maps, whose scores have to be within 0 ... 1."""


def score(truth: GroundTruth, predictions: Mapping[str, ResolvedPredictions], conventions: Conventions) -> FamilyScore:
    """Count pixels. Outcomes: a row per image, `object` and `other` its pixels at each threshold.

    A missing map counts as zeros. Raises RequestError if the truth has no masks of objects.
    """
    masks = truth.masks
    if masks is None or masks.indexed:
        raise RequestError(f"{truth.dataset} {truth.split} has no masks of objects.")
    counts = np.zeros((len(truth.ids), 2, len(_EDGES)), dtype=np.int32)
    answered = np.zeros(len(truth.ids), dtype=np.bool_)
    partial, beyond = 0, False
    for image, found in maps_of_shown(truth, predictions["maps"]):
        answered[image] = True
        low, high = found.min(), found.max()
        partial, beyond = partial + bool(low != 0 or high != 1), beyond or bool(low < 0 or high > 1)
        scaled = scale_map(found) if conventions.stretch == "map" else _resize_scores(found, truth.ids[image])
        counts[image] = _count(scaled, masks, image)
    for image in np.flatnonzero(~answered).tolist():
        counts[image] = _count(np.zeros((SIDE, SIDE)), masks, image)
    columns: dict[str, Any] = {"image": np.arange(len(truth.ids), dtype=np.int32)}
    for part, name in enumerate(("object", "other")):
        columns[name] = pa.FixedSizeListArray.from_arrays(counts[:, part].ravel(), len(_EDGES))
    pixels = {f"{name}_pixels": int(counts[:, part].sum()) for part, name in enumerate(("object", "other"))}
    is_noted = partial and not beyond and conventions.stretch == "map"  # scores beyond 0 ... 1 are raw ones
    notes = (_describe_stretch(partial, int(answered.sum())),) if is_noted else ()
    return FamilyScore(pa.table(columns), {**pixels, "images_without_map": int((~answered).sum())}, notes)


def summarise(
    outcomes: pa.Table, classes: tuple[str, ...], conventions: Conventions, weights: NDArray[np.float64]
) -> Replicates:
    """Average precision of pixels (B,)."""
    drawn = weights[:, get_column(outcomes, "image")]
    found = []
    for name in ("object", "other"):
        counts = outcomes[name].combine_chunks().flatten().to_numpy().reshape(-1, len(_EDGES))
        found.append((drawn @ counts.astype(np.float64))[:, ::-1])
    step, other = found
    true, false = step.cumsum(axis=1), other.cumsum(axis=1)
    precision = np.divide(true, true + false, out=np.zeros_like(true), where=true + false > 0)
    return {"PxAP": ratio((step * precision).sum(axis=1), true[:, -1])}


def _describe_stretch(partial: int, maps: int) -> str:
    share = f"{partial} of {format_count(maps, 'map')}"
    return f"{share} did not span 0 ... 1, and each was stretched; --convention stretch=none takes scores as they are"


def _resize_scores(found: NDArray[np.floating], image: str) -> FloatArray:
    """Resize a map to 224 x 224 with its scores as they are. Raises RequestError for scores beyond 0 ... 1."""
    import cv2

    if found.min() < 0 or found.max() > 1:
        rule = f"scores from {found.min():g} to {found.max():g}, but stretch=none needs them within 0 ... 1"
        raise RequestError(f"The map of image {image!r} has {rule}.")
    large = found.astype(np.float64)
    return np.clip(cv2.resize(large, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), 0, 1)


def _count(found: FloatArray, masks: Masks, image: int) -> NDArray[np.int64]:
    """Count the pixels (2, 1001) of objects and of the rest whose score is from each threshold to below the next."""
    object_, ignored = _regions(masks, image)
    part = (~object_).astype(np.int32)
    if ignored is not None:
        part[ignored & ~object_] = 2
    part *= len(_EDGES)
    part += _find_thresholds(found)
    return np.bincount(part.ravel(), minlength=3 * len(_EDGES)).reshape(3, -1)[:2]


def _find_thresholds(found: FloatArray) -> NDArray[np.int32]:
    """Return the last threshold that each score reaches; it is looked up only near one, where rounding decides."""
    scaled = found * (len(_EDGES) - 1)
    scaled -= _ROUNDING
    at = scaled.astype(np.int32)
    scaled += 2 * _ROUNDING
    near = at != scaled.astype(np.int32)
    at[near] = np.searchsorted(_EDGES, found[near], side="right") - 1
    return at


def _regions(masks: Masks, image: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None]:
    """Return the pixels (224, 224) of any object, and those to ignore outside objects."""
    files = [read_nonzero(file, SIDE) for file in masks.files[image]]
    ignored = masks.ignore[image]
    none = np.zeros((SIDE, SIDE), dtype=np.bool_)
    return np.logical_or.reduce(files) if files else none, None if ignored is None else read_nonzero(ignored, SIDE)
