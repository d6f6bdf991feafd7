"""Decoding of maps from any source into points, boxes or masks, in the same way as for map methods.

Scores come from a file of class scores, if given. Without one, the score of a point or box is the maximum of its map,
and an image's mask uses every class for which the image has a map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bench.core.boxes import FloatArray
from bench.core.progress import SILENT, Progress
from bench.data.ground_truth import GroundTruth
from bench.errors import BadFileError, RequestError
from bench.predictions.decode import BoxRule, MaskRule, compute_mask, compute_shares, peaks, points_and_boxes
from bench.predictions.table import KINDS, Predictions, ResolvedPredictions, resolve

Decode = Callable[[NDArray[Any], int, int], Iterable[Iterable[float]]]
"""Converts a map (h, w), given the width and height of its image, to rows of numbers."""

_BY_MAXIMUM = "scored by the maxima of the maps; --scores gives class scores instead"
_ALL_TAKE_PART = "every class that an image has a map of takes part in its mask; --scores selects them by class scores"


def decode_points(
    found: Predictions, truth: GroundTruth, scores: ResolvedPredictions | None = None, *, progress: Progress = SILENT
) -> Predictions:
    """Decode each map into its peak. Raises as `decode_boxes`."""
    return _decode(found, "points", truth, scores, lambda map_, *size: peaks(map_[None], *size), progress)


def decode_boxes(
    found: Predictions,
    truth: GroundTruth,
    scores: ResolvedPredictions | None = None,
    *,
    rule: BoxRule,
    threshold: float,
    progress: Progress = SILENT,
) -> Predictions:
    """Decode each map into the boxes of its class.

    Raises BadFileError for maps that break a rule, RequestError for a map without a class score if scores are given,
    and for an image whose size is not known.
    """

    def decode(map_: NDArray[Any], width: int, height: int) -> FloatArray:
        _, (boxes,) = points_and_boxes(map_[None], width, height, rule=rule, threshold=threshold)
        return boxes

    return _decode(found, "boxes", truth, scores, decode, progress)


def decode_masks(
    found: Predictions,
    truth: GroundTruth,
    scores: ResolvedPredictions | None = None,
    *,
    rule: MaskRule,
    threshold: float,
    least_score: float,
) -> Predictions:
    """Decode the maps of each image into its mask, lazily, one image at a time.

    With scores, a mask uses the classes that score at least `least_score`, and the image's best class.
    Raises as `decode_boxes`, and BadFileError for an image whose maps are not consecutive.
    """
    maps = resolve(found, truth)
    _require_sizes(truth, maps)
    starts = np.flatnonzero(np.diff(maps.image, prepend=-1))
    images = maps.image[starts]
    if len(np.unique(images)) < len(images):
        raise BadFileError(found.source, "the maps of an image must follow one another, to become its mask")
    takes_part = np.ones(len(maps.image), dtype=np.bool_)
    if scores is not None:
        score = _find_scores(maps, truth, scores)
        best = np.maximum.reduceat(score, starts) if len(starts) else score
        takes_part = (score >= least_score) | (score == np.repeat(best, np.diff(starts, append=len(score))))

    def draw() -> Iterator[NDArray[np.uint8]]:
        rows = zip(maps.image.tolist(), maps.label.tolist(), takes_part.tolist(), maps.arrays(), strict=True)
        for image, group in groupby(rows, key=itemgetter(0)):
            chosen = {label: map_ for _, label, is_chosen, map_ in group if is_chosen}
            if len({map_.shape for map_ in chosen.values()}) > 1:
                raise BadFileError(found.source, f"the maps of image {truth.ids[image]!r} differ in shape")
            yield _draw_mask(chosen, truth, image, rule, threshold)
        yield from (np.zeros((1, 1), dtype=np.uint8) for _ in bare)

    bare = np.setdiff1d(np.flatnonzero(maps.covered), images)  # an image without maps is all background
    names = [truth.ids[image] for image in [*images.tolist(), *bare.tolist()]]
    note = () if scores is not None else (_ALL_TAKE_PART,)
    table = pa.table({"image": pa.array(names, pa.string())})
    return replace(found, kind="masks", table=table, notes=(*found.notes, *note), arrays=draw)


def _draw_mask(
    maps: dict[int, NDArray[Any]], truth: GroundTruth, image: int, rule: MaskRule, threshold: float
) -> NDArray[np.uint8]:
    """Draw the mask (H, W) of an image from the maps (h, w) of classes."""
    classes = np.zeros(len(truth.classes), dtype=np.bool_)
    classes[list(maps)] = True
    width, height = truth.size[image].tolist()
    stacked, every = np.stack([maps[label] for label in sorted(maps)]), np.ones(len(maps), dtype=np.bool_)
    return compute_mask(compute_shares(stacked, every, width, height, rule=rule, threshold=threshold), classes)


def _decode(
    found: Predictions,
    kind: str,
    truth: GroundTruth,
    scores: ResolvedPredictions | None,
    decode: Decode,
    progress: Progress,
) -> Predictions:
    """Decode each map into rows of a kind that is a table; all rows of a map have the score of its class."""
    maps = resolve(found, truth)
    _require_sizes(truth, maps)
    known = None if scores is None else _find_scores(maps, truth, scores)
    rows, values, counts = list[Iterable[float]](), list[float](), list[int]()
    with progress.task(f"Decoding maps into {kind}", len(maps.image), unit="maps") as step:
        for row, map_ in enumerate(maps.arrays()):
            made = [*decode(map_, *truth.size[maps.image[row]].tolist())]
            rows += made
            values.append(float(map_.max()) if known is None else float(known[row]))
            counts.append(len(made))
            step()
    numbers = np.array(rows, dtype=np.float64).reshape(len(rows), len(KINDS[kind]) - 3)
    image = pa.array(truth.ids, pa.string()).take(pa.array(maps.image.repeat(counts)))
    label = pa.array(truth.classes, pa.string()).take(pa.array(maps.label.repeat(counts)))
    table = pa.table([image, label, np.repeat(values, counts), *numbers.T], names=list(KINDS[kind]))
    notes = found.notes if scores is not None else (*found.notes, _BY_MAXIMUM)
    return replace(found, kind=kind, table=table, notes=notes, arrays=None)


def _require_sizes(truth: GroundTruth, maps: ResolvedPredictions) -> None:
    """Raise RequestError for an image whose size the ground truth lacks."""
    if not (known := (truth.size[maps.image] > 0).all(axis=1)).all():
        name = truth.ids[maps.image[int(known.argmin())]]
        raise RequestError(f"Maps are decoded at the size of their image, which {truth.dataset} lacks for {name!r}.")


def _find_scores(maps: ResolvedPredictions, truth: GroundTruth, scores: ResolvedPredictions) -> FloatArray:
    """Find the class score of each map (n,). Raises RequestError if one has none."""
    have, wanted = truth.pair(scores.image, scores.label), truth.pair(maps.image, maps.label)
    order = np.argsort(have, kind="stable")
    place = np.searchsorted(have[order], wanted).clip(max=max(len(have) - 1, 0))
    if not len(have) or not (there := have[order][place] == wanted).all():
        row = int(there.argmin()) if len(have) else 0
        image, label = truth.ids[maps.image[row]], truth.classes[maps.label[row]]
        raise RequestError(f"--scores: no score of class {label!r} in image {image!r}, which has a map of it.")
    return np.asarray(scores.score[order][place])
