"""Detection as in COCO: average precision and recall over IoU .50 ... .95, sizes, and numbers of detections.

101 recall points, 10 IoUs, 100 detections per image and class, crowd regions ignored. Metrics equal pycocotools' to
the last bit; a class without objects is undefined, and no detections at all score 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise, starmap
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bench.core.bootstrap import count_by_class, ratio
from bench.core.boxes import FloatArray, to_coco
from bench.core.columns import get_columns
from bench.data.ground_truth import GroundTruth
from bench.data.rle import are_rles, check_rle
from bench.errors import RequestError
from bench.predictions.table import ResolvedPredictions
from bench.scoring import protocol
from bench.scoring.average_precision import RankedHits, rank_rows
from bench.scoring.detection_errors import MatchedDetections
from bench.scoring.protocol import FamilyScore, Need, Replicates
from protocols.scoring.coco_accumulation import (
    RECALL_POINTS,
    accumulate_precision,
    accumulate_recall,
    count_positives,
    unpack_ious,
)
from protocols.scoring.coco_matching import (
    EVERY_IOU,
    IOUS,
    MOST,
    SIZES,
    Integers,
    Matches,
    box_overlaps,
    collect_things,
    mask_overlaps,
    mask_sizes,
    match,
)

VERSION = 2
NEEDS: Need = "boxes"

_MOST = (1, 10, MOST)
_PRECISIONS = {"AP": (slice(None), 0), "AP50": (slice(0, 1), 0), "AP75": (slice(5, 6), 0)} | {
    f"AP_{name}": (slice(None), index) for index, name in enumerate(SIZES) if index
}
_RECALLS = {f"AR_{most}": (0, most) for most in _MOST} | {
    f"AR_{name}": (index, MOST) for index, name in enumerate(SIZES) if index
}
METRICS = dict.fromkeys((*_PRECISIONS, *_RECALLS), True)
_SIZE_BIT = (1 << np.arange(len(SIZES))).astype(np.uint16)

Masks = tuple[list[Any], list[Any]]
"""Run lengths of detections and of objects, as hotcoco takes them."""


class Conventions(protocol.Conventions):
    """The switches of COCO's detection."""

    region: Literal["box", "mask"]
    """Whether overlaps are those of boxes or of segments."""


def score(truth: GroundTruth, predictions: Mapping[str, ResolvedPredictions], conventions: Conventions) -> FamilyScore:
    """Compute all twelve metrics, by class. Outcomes: detections and objects in ranking order.

    A detection is `hit` or `ignored`, in each size range, at the IoUs whose bits are set; `place` is its rank in its
    image and class. An object has no score, is ignored, and is `wanted` in the size ranges whose bits are set. Raises
    RequestError if predictions or truth lack what `region` needs, and for broken run lengths.
    """
    kind = "segments" if conventions.region == "mask" else "boxes"
    if kind not in predictions:
        raise RequestError(f"Expected {kind} (region = {conventions.region}), but got {', '.join(predictions)}.")
    found = predictions[kind]
    if conventions.region == "mask" and truth.objects.segment is None:
        raise RequestError(f"{truth.dataset} has no masks of its objects, which region = mask asks for.")
    masks = _masks(truth, found) if conventions.region == "mask" else None
    outcomes = _outcomes(truth, found, _matches(truth, found, masks))
    crowds = int(collect_things(truth).crowd.sum())
    counts = {"detections": len(found.image), "objects": len(truth.objects), "crowds": crowds}
    return FamilyScore(outcomes, counts, whole=_compute_whole(outcomes, len(truth.classes)))


def match_detections(
    truth: GroundTruth, predictions: Mapping[str, ResolvedPredictions], conventions: Conventions, metric: str
) -> MatchedDetections:
    """Match boxes at an IoU of .5 as `score` does, for an analysis of their errors in AP50, whatever the metric.

    Raises RequestError for masks.
    """
    if conventions.region == "mask" or "boxes" not in predictions:
        raise RequestError("Errors are analysed of boxes, not of masks.")
    found = predictions["boxes"]
    matches = _matches(truth, found, None)
    wanted = np.flatnonzero(collect_things(truth).wanted[:, 0])
    number = np.full(len(truth.objects) + 1, -1, dtype=np.int64)
    number[wanted] = np.arange(len(wanted))
    rows = np.flatnonzero((matches.place < MOST) & (matches.ignored[:, 0] & 1 == 0))
    return MatchedDetections(
        truth,
        found.image[rows],
        found.label[rows],
        found.score[rows],
        found.box[rows],
        number[matches.thing[rows]],
        truth.objects.take(wanted),
        iou_threshold=float(IOUS[0]),
        iou_compare=">=",
        plus_one=True,
        form="11-point",
        recalls=RECALL_POINTS,
    )


def summarise(
    outcomes: pa.Table, classes: tuple[str, ...], conventions: Conventions, weights: NDArray[np.float64]
) -> Replicates:
    """All twelve metrics by class (B, C)."""
    image, label, place, wanted = get_columns(outcomes, "image", "label", "place", "wanted")
    draws = np.ascontiguousarray(weights.T)
    bounds = np.searchsorted(label, np.arange(len(classes) + 1))
    precision, recall = [], {}
    for size, name in enumerate(SIZES):
        positives = count_by_class(weights, image, label, len(classes), (wanted >> size & 1).astype(np.bool_))
        hit, ignored = get_columns(outcomes, f"hit_{name}", f"ignored_{name}")
        by_class = [
            _average_precision(image[rows], hit[rows], ignored[rows], positives[:, c], draws)
            for c, rows in enumerate(starmap(slice, pairwise(bounds)))
        ]
        precision.append(np.stack(by_class, axis=2))
        rows = np.flatnonzero(hit)
        rows = rows[np.nonzero(unpack_ious(hit[rows]))[0]]  # one for each IoU at which it hits
        for most in _MOST if name == "all" else (MOST,):
            hits = count_by_class(weights, image[rows], label[rows], len(classes), place[rows] < most)
            recall[size, most] = ratio(hits / len(IOUS), positives)
    return {name: precision[size][at].mean(axis=0) for name, (at, size) in _PRECISIONS.items()} | {
        name: recall[which] for name, which in _RECALLS.items()
    }


def _average_precision(
    image: Integers, hit: Integers, ignored: Integers, positives: FloatArray, draws: FloatArray
) -> FloatArray:
    """Average precision (IoUs, B) of one class: rows (n,) in ranking order, `hit` and `ignored` as bits; draws: (N, B).

    The mean over the recall points of the best precision at that recall or more, which always occurs at a hit. Rows
    that miss at every IoU are counted together, between consecutive rows that do not.
    """
    from scipy.sparse import csr_array

    rows = np.flatnonzero(((hit | ignored) != 0) & (ignored != EVERY_IOU))
    missed = np.flatnonzero((hit | ignored) == 0)
    ends = np.searchsorted(missed, rows)
    of = csr_array((np.ones(len(missed)), image[missed], np.concatenate([[0], ends])), shape=(len(rows), len(draws)))
    weight = draws[image[rows]]
    before = np.cumsum(of @ draws, axis=0) + np.cumsum(weight, axis=0)
    nothing = np.zeros((1, draws.shape[1]))
    result = []
    for hits, skip in zip(unpack_ious(hit[rows]).T, unpack_ious(ignored[rows]).T, strict=True):
        skipped = np.concatenate([nothing, np.cumsum(weight[skip], axis=0)])
        found = before[hits] - skipped[np.cumsum(skip)[hits]]
        result.append(_interpolate(np.cumsum(weight[hits], axis=0), found, positives))
    return np.stack(result)


def _interpolate(true: FloatArray, found: FloatArray, positives: FloatArray) -> FloatArray:
    """Mean (B,) of the best precision over the recall points, from `true` among `found` (h, B) at each hit."""
    precision = np.divide(true, found, out=np.zeros_like(true), where=found > 0)
    best = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    recall = true / np.maximum(positives, 1)
    point = (100 * recall + 1e-9).astype(np.intp)  # the last one reached, or the next where rounding decides
    reached = np.diff(point + (RECALL_POINTS[point] <= recall), axis=0, prepend=0)
    return np.where(positives > 0, (reached * best).sum(axis=0) / len(RECALL_POINTS), np.nan)


def _outcomes(truth: GroundTruth, found: ResolvedPredictions, matches: Matches) -> pa.Table:
    o, kept = truth.objects, np.flatnonzero(matches.place < MOST)
    none, every = np.zeros(len(o), dtype=np.uint16), np.full(len(o), EVERY_IOU, dtype=np.uint16)
    pairs: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {
        "image": (found.image[kept], o.image),
        "label": (found.label[kept], o.label),
        "score": (found.score[kept], np.full(len(o), np.nan)),
        "place": (matches.place[kept], np.full(len(o), MOST)),
        "wanted": (np.zeros(len(kept), dtype=np.uint16), collect_things(truth).wanted @ _SIZE_BIT),
    }
    for size, name in enumerate(SIZES):
        pairs[f"hit_{name}"] = matches.hit[kept, size], none
        pairs[f"ignored_{name}"] = matches.ignored[kept, size], every
    columns = {name: np.concatenate(pair) for name, pair in pairs.items()}
    order = rank_rows(truth, columns["image"], columns["label"], columns["score"])
    return pa.table({name: column[order] for name, column in columns.items()})


def rank_hits(outcomes: pa.Table, classes: int) -> RankedHits:
    """Rank the detections at an IoU of .5, all sizes, for precision-recall curves."""
    label, score, wanted, hit, ignored = get_columns(outcomes, "label", "score", "wanted", "hit_all", "ignored_all")
    evaluated = ~np.isnan(score) & (ignored & 1 == 0)
    positives = np.bincount(label[wanted & 1 > 0], minlength=classes)
    return RankedHits(label[evaluated], hit[evaluated] & 1 > 0, positives)


def _matches(truth: GroundTruth, found: ResolvedPredictions, masks: Masks | None) -> Matches:
    if masks is not None:
        return match(truth, found, mask_sizes(masks[0]), mask_overlaps(truth, *masks))
    with np.errstate(over="ignore", invalid="ignore"):  # a file may have corners of any size
        size = to_coco(found.box)[:, 2:].prod(axis=1)
    return match(truth, found, size, box_overlaps(truth, found))


def _compute_whole(outcomes: pa.Table, classes: int) -> dict[str, FloatArray]:
    """All twelve metrics by class (C,), every image counted once."""
    positives = count_positives(outcomes, classes)
    precision, recall = accumulate_precision(outcomes, positives), accumulate_recall(outcomes, positives, _MOST)
    return {name: precision[size, at].mean(axis=(0, 1)) for name, (at, size) in _PRECISIONS.items()} | {
        name: recall[_MOST.index(most), size].mean(axis=0) for name, (size, most) in _RECALLS.items()
    }


def _masks(truth: GroundTruth, found: ResolvedPredictions) -> Masks:
    if truth not in _OBJECT_MASKS:
        _OBJECT_MASKS[truth] = _check_masks(truth, truth.objects.image, truth.objects.segment or ())
    return _check_masks(truth, found.image, found.segments), _OBJECT_MASKS[truth]


_OBJECT_MASKS: WeakKeyDictionary[GroundTruth, list[Any]] = WeakKeyDictionary()
"""The masks of a ground truth, checked once."""


def _check_masks(truth: GroundTruth, image: Integers, segments: Sequence[bytes]) -> list[Any]:
    """Make hotcoco's run lengths. Raises RequestError for one that is broken or does not fit its image."""
    width, height = truth.size[image].T.astype(np.int64)
    for row in np.flatnonzero(~are_rles(segments, width * height)).tolist():
        try:
            check_rle(segments[row], int(width[row]), int(height[row]))
        except ValueError as error:
            raise RequestError(f"Row {row}, a segment of image {truth.ids[image[row]]!r}: {error}.") from None
    sizes = np.stack([height, width], axis=1).tolist()
    return [{"size": size, "counts": one.decode()} for size, one in zip(sizes, segments, strict=True)]
