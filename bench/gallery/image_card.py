"""One image of a run: its value, a line for each class that it shows, and pictures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bench.core.boxes import FloatArray, iou
from bench.core.columns import get_column, get_columns
from bench.data.ground_truth import ONLY_DIFFICULT, GroundTruth
from bench.data.pixels import read_indices, voc_palette
from bench.gallery.drawing import HIT, MISS, OTHER, TRUTH, Mark, Picture, encode_picture, overlay_map, overlay_mask
from bench.predictions.table import ResolvedPredictions

CLASSES, BOXES = 3, 30
"""The most classes of an image with a picture of their own, and the most boxes drawn of a class."""

TAU, TOP = 0.7, 200
"""MELM's cliques: the IoU above which proposals share one, unless the run sets it, and the most proposals grouped."""

Maps = Mapping[tuple[str, str], NDArray[np.floating]]
"""Maps by image and class; the class is empty if a map is of no class."""


@dataclass(frozen=True)
class Example:
    """The card of an image. value: the mean of its rated outcomes, a fraction; None if it has none."""

    image: str
    value: float | None
    lines: tuple[str, ...]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, eq=False)
class Run:
    """A run and its ground truth. found: predictions by kind. masks: by row. tau: the IoU of MELM's cliques."""

    truth: GroundTruth
    found: dict[str, ResolvedPredictions]
    outcomes: pa.Table
    masks: Mapping[int, NDArray[Any]]
    maps: Maps
    tau: float = TAU

    @cached_property
    def passed(self) -> dict[tuple[int, int], bool]:
        """Whether each evaluated image and class passed, by their indices; class -1 if outcomes have no class.

        For detections, the best one of the image and class decides; without any, it did not pass.
        """
        columns = self.outcomes.column_names
        if not {"hit", "gt_known_loc_error", "top1"} & set(columns):
            return {}
        if "missed" in columns:
            return self._find_best_detections()
        images = self.outcomes["image"].to_pylist()
        labels = self.outcomes["label"].to_pylist() if "label" in columns else [-1] * len(images)
        passed: dict[tuple[int, int], bool] = {}
        for image, label, good in zip(images, labels, (goodness(self.outcomes) > 0).tolist(), strict=True):
            passed[image, label] = passed.get((image, label), False) or good
        return passed

    def _find_best_detections(self) -> dict[tuple[int, int], bool]:
        image, label, score, hit = get_columns(self.outcomes, "image", "label", "score", "hit")
        worst_first = np.argsort(np.nan_to_num(score, nan=-np.inf), kind="stable")  # missed objects have no score
        pairs = zip(image[worst_first].tolist(), label[worst_first].tolist(), strict=True)
        return dict(zip(pairs, hit[worst_first].tolist(), strict=True))

    def is_hit(self, row: int, label: int) -> bool | None:
        """Whether an image and class passed; None if it was not evaluated."""
        return self.passed.get((row, label if self._is_labelled else -1))

    @cached_property
    def _is_labelled(self) -> bool:
        return "label" in self.outcomes.column_names

    def select(self, kind: str, row: int, label: int) -> FloatArray | None:
        """Return the boxes (n, 4) or points (n, 2) of an image and class, best first; None without that kind."""
        if kind not in self.found:
            return None
        keys, values = self._ordered[kind]
        first, last = np.searchsorted(keys, row * len(self.truth.classes) + label + np.arange(2)).tolist()
        return values[first:last]

    @cached_property
    def _ordered(self) -> dict[str, tuple[NDArray[np.int64], FloatArray]]:
        """By kind: sorted keys of image and class, and the box or point of each, best first within a key."""
        ordered = {}
        for kind in {"boxes", "points"} & self.found.keys():
            found = self.found[kind]
            keys = self.truth.pair(found.image, found.label)
            order = np.lexsort((-found.score, keys))
            names = ("x1", "y1", "x2", "y2") if kind == "boxes" else ("x", "y")
            ordered[kind] = keys[order], np.stack([found.columns[name][order] for name in names], axis=1)
        return ordered


def evaluate_images(outcomes: pa.Table, images: int) -> NDArray[np.float64]:
    """Return the value (N,) of each image: the mean of its rated outcomes, NaN without any."""
    values = goodness(outcomes)
    known = np.isfinite(values)
    image = get_column(outcomes, "image")[known]
    with np.errstate(invalid="ignore"):
        return np.asarray(np.bincount(image, values[known], images) / np.bincount(image, minlength=images))


def goodness(outcomes: pa.Table) -> NDArray[np.float64]:
    """Rate each outcome (n,), higher is better; NaN if it cannot be rated by itself."""
    columns = {one.name: get_column(outcomes, one.name) for one in outcomes.schema if not pa.types.is_nested(one.type)}
    if "shared" in columns:
        union = columns["true"] + columns["predicted"] - columns["shared"]
        return np.asarray(columns["shared"] / np.maximum(union, 1), dtype=np.float64)
    if "gt_known_loc_error" in columns:
        return np.asarray(~columns["gt_known_loc_error"], dtype=np.float64)
    for column, (_, rate) in _RANKINGS.items():
        if column in columns:
            return rate(columns)
    for name in ("hit", "top1", "energy", "accuracy"):
        if name in columns:
            value = columns[name]
            return np.asarray(value if name in ("energy", "accuracy") else value != 0, dtype=np.float64)
    return np.full(len(outcomes), np.nan)


def explain_goodness(columns: Collection[str]) -> str:
    """Explain an image's value under a protocol that ranks; empty if the value is simply a hit or a share."""
    return next((text for column, (text, _) in _RANKINGS.items() if column in columns), "")


Columns = Mapping[str, NDArray[Any]]


def _rate_objects(columns: Columns) -> FloatArray:
    """Rate each object: the precision at the detection that finds it, within its image and class; 0 if missed."""
    precision = _compute_precision(_pair(columns), columns["score"], columns["hit"])
    return np.where(columns["hit"], precision, np.where(columns["missed"], 0, np.nan))


def _rate_objects_of_coco(columns: Columns) -> FloatArray:
    """Rate each object by the average precision of its class in its image, at an IoU of .5."""
    counted = ~np.isnan(columns["score"]) & (columns["ignored_all"] & 1 == 0)
    hit, sought = counted & (columns["hit_all"] & 1 > 0), columns["wanted"] & 1 > 0
    _, pair = np.unique(_pair(columns), return_inverse=True)
    precision = _compute_precision(pair[counted], columns["score"][counted], hit[counted])
    total = np.bincount(pair[counted], precision * hit[counted], pair.max(initial=-1) + 1)
    return np.where(sought, total[pair] / np.maximum(np.bincount(pair, sought), 1)[pair], np.nan)


def _rate_classes(columns: Columns) -> FloatArray:
    """Rate each class that an image shows: the precision at its place in the image's ranking; 0 if not ranked."""
    precision = _compute_precision(columns["image"], columns["score"], columns["positive"])
    return np.where(columns["positive"], np.where(columns["ranked"], precision, 0), np.nan)


def _pair(columns: Columns) -> NDArray[np.int64]:
    """Return a number (n,) that identifies each row's image and class."""
    image, label = (columns[name].astype(np.int64) for name in ("image", "label"))
    pair: NDArray[np.int64] = image * (label.max(initial=0) + 1) + label
    return pair


def _compute_precision(group: NDArray[np.integer], score: FloatArray, hit: NDArray[np.bool_]) -> FloatArray:
    """Compute the precision (n,) of each row's group down to that row, by falling score, rows without one last.

    Rows with equal scores, or without one, are tied, and share the precision down to the last of them.
    """
    order = np.lexsort((-score, group))
    groups, scores = group[order], score[order]
    first = np.searchsorted(groups, groups)
    is_tie = (groups[1:] == groups[:-1]) & ((scores[1:] == scores[:-1]) | np.isnan(scores[:-1]))
    ends = np.flatnonzero(np.append(~is_tie, True))  # the last row of each tie
    end = ends[np.searchsorted(ends, np.arange(len(order)))] if len(order) else first
    hits = np.cumsum(np.append(0, hit[order]))
    precision = np.empty(len(order))
    precision[order] = (hits[end + 1] - hits[first]) / (end - first + 1)
    return precision


_FOUND = (
    "{} counts with the precision of the image's predictions of its class down to the one that finds it{}, and with 0 "
    "if it is missed; predictions of classes that the image does not show count for nothing."
)
_RANKINGS: Mapping[str, tuple[str, Callable[[Columns], FloatArray]]] = {
    "missed": (_FOUND.format("What is to be found", ""), _rate_objects),
    "wanted": (_FOUND.format("Each object", " at an IoU of .5"), _rate_objects_of_coco),
    "positive": (
        "Each class that the image shows counts with the precision of the image's ranking of classes down to it, and "
        "with 0 if it is not ranked.",
        _rate_classes,
    ),
}
"""For protocols that rank, by a column of their outcomes: how an outcome is rated, in words and as a function."""


def example(run: Run, row: int, value: float, pixels: NDArray[np.uint8]) -> Example:
    """Build the card of an image (H, W, 3) or a blank canvas. value: NaN if it has none of its own."""
    shown = np.flatnonzero(run.truth.labels[row] >= ONLY_DIFFICULT).tolist()
    lines = tuple(_line(run, row, label) for label in shown)
    pictures = tuple(_pictures(run, row, shown, pixels))
    return Example(run.truth.ids[row], value if np.isfinite(value) else None, lines, pictures)


def _pictures(run: Run, row: int, shown: list[int], pixels: NDArray[np.uint8]) -> Iterator[Picture]:
    truth, name = run.truth, run.truth.ids[row]
    objects = truth.objects.where(truth.objects.image == row)
    true = {label: [Mark(box.tolist(), TRUTH) for box in objects.box[objects.label == label]] for label in shown}
    predicted = {label: _mark_predictions(run, row, label) for label in shown}
    marks = [mark for by_class in (true, predicted) for some in by_class.values() for mark in some]
    yield Picture("truth, and what was said", encode_picture(pixels, marks))
    for label in shown[:CLASSES]:
        if (map := run.maps.get((name, truth.classes[label]))) is not None:
            marked = encode_picture(overlay_map(pixels, map), [*true[label], *predicted[label]])
            yield Picture(f"map of {truth.classes[label]}", marked)
    if (map := run.maps.get((name, ""))) is not None:
        yield Picture(
            "objectness", encode_picture(overlay_map(pixels, map), [mark for some in true.values() for mark in some])
        )
    if "proposals" in run.found:
        yield from _cliques(run, row, pixels)
    if row in run.masks:
        if truth.masks is not None and truth.masks.indexed:
            yield Picture("true mask", encode_picture(overlay_mask(pixels, read_indices(truth.masks.files[row][0]))))
        yield Picture("mask", encode_picture(overlay_mask(pixels, run.masks[row])))


def _cliques(run: Run, row: int, pixels: NDArray[np.uint8]) -> Iterator[Picture]:
    """Draw the cliques, one colour each, of the most probable proposal's class, then that proposal's (MELM, Fig. 6)."""
    from scipy.sparse.csgraph import connected_components

    found = run.found["proposals"]
    probability = found.columns["probability"]
    mine = np.flatnonzero(found.image == row)
    mine = mine[np.argsort(-probability[mine], kind="stable")]
    mine = mine[found.label[mine] == found.label[mine[:1]]][:TOP]
    if not len(mine):
        return
    boxes = found.box[mine]
    number, clique = connected_components(iou(boxes, boxes) > run.tau)
    name, colours = run.truth.classes[found.label[mine[0]]], np.array(voc_palette()).reshape(-1, 3)[1 + clique % 255]
    first = np.isin(np.arange(len(mine)), np.unique(clique, return_index=True)[1]).tolist()
    every = [Mark(*one) for one in zip(boxes.tolist(), map(tuple, colours.tolist()), first, strict=True)]
    yield Picture(f"{number} cliques of {name}", encode_picture(pixels, every[::-1]))
    members = boxes[clique == clique[0]][:BOXES]
    marks = [Mark(box.tolist(), OTHER, strong=False) for box in members[:0:-1]] + [Mark(members[0].tolist(), HIT)]
    caption = f"clique of {name}: {int((clique == clique[0]).sum())} proposals"
    yield Picture(caption, encode_picture(pixels, marks))


def _mark_predictions(run: Run, row: int, label: int) -> list[Mark]:
    """Return the marks of a class's predictions: other boxes, then the best box, or the point."""
    colour = {True: HIT, False: MISS, None: OTHER}[run.is_hit(row, label)]
    marks = []
    if (boxes := run.select("boxes", row, label)) is not None:
        marks += [Mark(box.tolist(), OTHER, strong=False) for box in boxes[1:BOXES][::-1]]
        marks += [Mark(box.tolist(), colour) for box in boxes[:1]]
    if (points := run.select("points", row, label)) is not None:
        marks += [Mark(point.tolist(), colour) for point in points[:1]]
    return marks


def _line(run: Run, row: int, label: int) -> str:
    """Describe in one line how a class of an image was predicted."""
    truth, objects = run.truth, run.truth.objects
    passed = run.is_hit(row, label)
    true = objects.box[(objects.image == row) & (objects.label == label)]
    details = [] if passed is None else ["hit" if passed else "miss"]
    boxes, points = run.select("boxes", row, label), run.select("points", row, label)
    if boxes is not None:
        best = iou(boxes[:1], true).max(initial=0.0)
        details.append(f"the best of {len(boxes)} boxes overlaps an object by {best:.2f}" if len(boxes) else "no box")
    if points is not None:
        details += [
            f"the point is {_measure_distance(point, true):.0f} pixels from an object"
            for point in points[:1]
            if len(true)
        ]
    details += _pixels(run, row, label)
    return f"{truth.classes[label]}: {'; '.join(details) or 'shown, and not evaluated by itself'}"


def _measure_distance(point: FloatArray, boxes: FloatArray) -> float:
    """Return the distance in pixels from a point (2,) to the nearest pixel of any box (n, 4)."""
    outside = np.maximum(np.maximum(boxes[:, :2] - point, point - (boxes[:, 2:] - 1)), 0)
    return float(np.hypot(*outside.T).min())


def _pixels(run: Run, row: int, label: int) -> Iterator[str]:
    """Describe how well the pixels of a class of an image were found, if masks were evaluated."""
    if "shared" not in run.outcomes.column_names:
        return
    columns = {name: get_column(run.outcomes, name) for name in run.outcomes.column_names}
    mine = (columns["image"] == row) & (columns["label"] == label + 1)  # background is 0
    for true, predicted, shared in zip(*(columns[name][mine] for name in ("true", "predicted", "shared")), strict=True):
        overlap = shared / max(true + predicted - shared, 1)
        yield f"{shared} of {true} pixels found, {predicted - shared} wrong, IoU {overlap:.2f}"
