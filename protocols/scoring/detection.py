"""Detection as in PASCAL VOC: average precision, mean over classes, in both forms from one matching.

A detection picks the object of its class in its image that it overlaps most, difficult ones included. Over the
threshold, a difficult object makes it ignored, an object already found by a better detection makes it false, any other
makes it true; under the threshold it is false (VOCdevkit, VOCevaldet.m).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from bench.core.bootstrap import count_by_class
from bench.core.boxes import FloatArray, find_best_overlaps, from_voc, to_voc
from bench.core.columns import get_columns
from bench.data.ground_truth import GroundTruth, Objects
from bench.predictions.table import ResolvedPredictions
from bench.scoring import protocol
from bench.scoring.average_precision import average_precisions, rank_rows
from bench.scoring.average_precision import rank_hits as rank_hits  # part of the family's interface
from bench.scoring.detection_errors import MatchedDetections
from bench.scoring.protocol import COMPARE, FamilyScore, Need, Replicates

VERSION = 1
NEEDS: Need = "boxes"
METRICS = {"mAP_11pt": True, "mAP_area": True}
RECALLS = {"exact": None, "voc_eval": np.arange(0.0, 1.1, 0.1)}
"""The recalls at which average precision is read; None: tenths."""


class Conventions(protocol.Conventions):
    """The switches of detection."""

    iou_threshold: float = Field(gt=0, le=1, examples=[0.3, 0.5, 0.7])
    """The overlap from which an object counts as found."""
    iou_compare: Literal[">=", ">"]
    """Whether an overlap of exactly the threshold is enough."""
    difficult: Literal["ignore", "count", "remove"]
    """Difficult objects: need not be found, and detections on them do not count; must be found like others; removed."""
    plus_one: bool
    """Whether xmin ... xmax holds xmax - xmin + 1 pixels."""
    rounding: Literal["none", "devkit"]
    """devkit: scores to three decimals and corners to one, as in the text files that the devkit's tools read."""
    ties: Literal["stable", "argsort"]
    """Equal scores: by image id, then file order; or as an unstable sort leaves them."""
    recalls: Literal["exact", "voc_eval"] = "exact"
    """The recalls of the 11-point form: tenths; or voc_eval's floating-point steps, three of which are larger."""


def score(truth: GroundTruth, predictions: Mapping[str, ResolvedPredictions], conventions: Conventions) -> FamilyScore:
    """Match detections. Outcomes: the counted ones in ranking order, `hit` where true, then `missed` objects."""
    found, objects = predictions["boxes"], _objects(truth, conventions)
    matches = _match(truth, found, objects, conventions)
    counted, hit = matches.counted, matches.hit
    missed = objects.where(matches.missed)
    evaluated = _rows(found.image[counted], found.label[counted], matches.score[counted], hit[counted], missed=False)
    nothing = np.zeros(len(missed), dtype=np.bool_)
    unfound = _rows(missed.image, missed.label, np.full(len(missed), np.nan), nothing, missed=True)
    counts = {
        "detections": len(hit),
        "true_positives": int(hit.sum()),
        "duplicates": int((matches.reaches[counted] & ~hit[counted]).sum()),
        "ignored": len(hit) - len(counted),
        "objects": int(hit.sum()) + len(missed),
    }
    return FamilyScore(pa.concat_tables([evaluated, unfound]), counts)


def match_detections(
    truth: GroundTruth, predictions: Mapping[str, ResolvedPredictions], conventions: Conventions, metric: str
) -> MatchedDetections:
    """Match detections as `score` does, for an analysis of their errors in a metric."""
    found, objects = predictions["boxes"], _objects(truth, conventions)
    matches = _match(truth, found, objects, conventions)
    sought = np.flatnonzero(~_is_ignored(objects, conventions))
    number = np.full(len(objects) + 1, -1, dtype=np.int64)
    number[sought] = np.arange(len(sought))
    rows = matches.counted
    return MatchedDetections(
        truth,
        found.image[rows],
        found.label[rows],
        matches.score[rows],
        matches.box[rows],
        np.where(matches.hit[rows], number[matches.which[rows]], -1),
        objects.take(sought),
        conventions.iou_threshold,
        conventions.iou_compare,
        conventions.plus_one,
        "area" if metric == "mAP_area" else "11-point",
        RECALLS[conventions.recalls],
    )


class _Matches(NamedTuple):
    """Detections (n,) and objects (m,). counted: rows of detections in ranking order, without the ignored.

    which: the object of its class that a detection overlaps most, -1 if none; reaches: whether by the threshold.
    """

    score: FloatArray
    box: FloatArray
    which: NDArray[np.int64]
    reaches: NDArray[np.bool_]
    counted: NDArray[np.integer]
    hit: NDArray[np.bool_]
    missed: NDArray[np.bool_]


def _match(truth: GroundTruth, found: ResolvedPredictions, objects: Objects, conventions: Conventions) -> _Matches:
    scores, boxes = _round(found, conventions)
    key, object_key = truth.pair(found.image, found.label), truth.pair(objects.image, objects.label)
    overlap, which = find_best_overlaps(boxes, key, objects.box, object_key, plus_one=conventions.plus_one)
    reaches = COMPARE[conventions.iou_compare](overlap, conventions.iou_threshold)
    sought = ~_is_ignored(objects, conventions)
    ignored = reaches.copy()
    ignored[reaches] = ~sought[which[reaches]]
    order = rank_rows(truth, found.image, found.label, scores, stable=conventions.ties == "stable")
    counted = order[~ignored[order]]
    claims = counted[reaches[counted]]
    finder = np.full(len(objects), -1, dtype=np.int64)
    finder[which[claims[::-1]]] = claims[::-1]  # of several claims the last written stays: the best
    hit = np.zeros(len(boxes), dtype=np.bool_)
    hit[finder[finder >= 0]] = True
    return _Matches(scores, boxes, which, reaches, counted, hit, sought & (finder < 0))


def summarise(
    outcomes: pa.Table, classes: tuple[str, ...], conventions: Conventions, weights: NDArray[np.float64]
) -> Replicates:
    """Average precision by class (B, C) in both forms."""
    image, label, hit, missed = get_columns(outcomes, "image", "label", "hit", "missed")
    sought, evaluated = np.flatnonzero(hit | missed), ~missed
    positives = count_by_class(weights, image[sought], label[sought], len(classes))
    rows = image[evaluated], label[evaluated], hit[evaluated]
    precision = average_precisions(*rows, positives, weights, recalls=RECALLS[conventions.recalls])
    return {"mAP_11pt": precision.eleven_point, "mAP_area": precision.area}


def _rows(
    image: NDArray[np.int32], label: NDArray[np.int32], score: FloatArray, hit: NDArray[np.bool_], *, missed: bool
) -> pa.Table:
    """Build the outcome rows of detections, or of objects that were missed."""
    all_missed = np.full(len(image), missed)
    return pa.table({"image": image, "label": label, "score": score, "hit": hit, "missed": all_missed})


def _objects(truth: GroundTruth, conventions: Conventions) -> Objects:
    return truth.objects.where(~truth.objects.difficult) if conventions.difficult == "remove" else truth.objects


def _is_ignored(objects: Objects, conventions: Conventions) -> NDArray[np.bool_]:
    """Return which objects (M,) need not be found; detections on them do not count."""
    return objects.difficult & (conventions.difficult == "ignore")


def _round(found: ResolvedPredictions, conventions: Conventions) -> tuple[FloatArray, FloatArray]:
    if conventions.rounding == "none":
        return found.score, found.box
    return round_as_printed(found.score, 3), from_voc(round_as_printed(to_voc(found.box), 1))


def round_as_printed(values: FloatArray, places: int) -> FloatArray:
    """Round values as `%.<places>f` does; `np.round` rounds many that end in 5, such as .0025, the other way."""
    with np.errstate(over="ignore", invalid="ignore"):  # a file may have numbers of any size
        scaled = values * 10.0**places
        near = np.abs(scaled % 1 - 0.5) <= np.spacing(np.abs(scaled))
    rounded = np.where(np.isinf(scaled), values, np.rint(scaled) / 10.0**places)
    rounded[near] = [float(f"{value:.{places}f}") for value in values[near].tolist()]
    return rounded
