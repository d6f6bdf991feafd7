"""Kinds of errors of the box that localizes a class: it covers a part, a group, the surroundings, or something else.

A box that a protocol does not accept has the first of these kinds that fits. "Inside" means that a share of at least
INSIDE of the area lies in the other; objects are those of the class in the image.

    wrong class  if the protocol also asks for the class: it is of a class that is not present in the image
    group        at least two objects are inside it
    part         it is inside an object: a head, a wheel
    context      an object is inside it: it includes the surroundings
    missed       its overlap (intersection over union) with every object is below `BACKGROUND`, or there is no box
    loose        any other: it overlaps an object, but too little

Part, context and missed are as in Cinbis et al. (TPAMI 2017, "hypothesis in ground truth", "ground truth in
hypothesis", "no overlap"), who require all of the area to be inside. A box and an object that are inside each other
overlap by more than .5, so at that threshold no box is both part and context.

Shapes: n boxes, m objects, B replicates, C classes; see docs/conventions.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bench.core.bootstrap import count_by_class, ratio
from bench.core.boxes import FloatArray, area
from bench.data.ground_truth import GroundTruth
from bench.scoring.detection_errors import BACKGROUND

INSIDE = 0.7

KINDS = ("correct", "wrong class", "group", "part", "context", "missed", "loose")

SIZES = {"small": 0.0, "medium": 0.1, "large": 0.4}
"""The least share of its image that the largest object of a class must cover for each size."""

Integers = NDArray[np.integer]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LocalizedClasses:
    """A protocol's verdicts on the boxes of n pairs of an image and a class present in it.

    image, label: (n,). box: (n, 4), NaN if there is none. correct, wrong_class: (n,). by_class: whether the protocol
    takes the mean over classes.
    """

    truth: GroundTruth
    image: Integers
    label: Integers
    box: FloatArray
    correct: Flags
    wrong_class: Flags
    by_class: bool


@dataclass(frozen=True, eq=False)
class BoxErrors:
    """The kinds of n boxes."""

    localized: LocalizedClasses

    @cached_property
    def kind(self) -> Integers:
        """Index into `KINDS` (n,)."""
        a, count = self.localized, len(self.localized.image)
        row, object_ = self._pairs
        box, other = a.box[row], a.truth.objects.box[object_]
        sides = np.minimum(box[:, 2:], other[:, 2:]) - np.maximum(box[:, :2], other[:, :2])
        shared = np.where((sides > 0).all(axis=1), sides.prod(axis=1), 0.0)
        own, whole = area(box), area(other)
        in_object, in_box = _divide(shared, own), _divide(shared, whole)
        best = np.zeros(count)
        np.maximum.at(best, row, _divide(shared, own + whole - shared))
        conditions = {
            "correct": a.correct,
            "wrong class": a.wrong_class,
            "group": np.bincount(row[in_box >= INSIDE], minlength=count) > 1,
            "part": np.bincount(row[in_object >= INSIDE], minlength=count) > 0,
            "context": np.bincount(row[in_box >= INSIDE], minlength=count) > 0,
            "missed": best < BACKGROUND,
        }
        return np.select([*conditions.values()], [KINDS.index(name) for name in conditions], KINDS.index("loose"))

    @cached_property
    def objects(self) -> Integers:
        """The number of objects (n,) of the class in the image."""
        return np.bincount(self._pairs[0], minlength=len(self.localized.image))

    @cached_property
    def size(self) -> Integers:
        """Index into `SIZES` (n,), by the largest object of the class in the image."""
        row, object_ = self._pairs
        truth = self.localized.truth
        largest = np.zeros(len(self.localized.image))
        pixels = truth.size[truth.objects.image[object_]].astype(np.float64).prod(axis=1)
        np.maximum.at(largest, row, area(truth.objects.box[object_]) / pixels)
        return np.searchsorted([*SIZES.values()], largest, side="right") - 1

    @cached_property
    def _pairs(self) -> tuple[Integers, Integers]:
        """All pairs of a box and an object of its class in its image, as rows (p,) and objects (p,)."""
        a, objects = self.localized, self.localized.truth.objects
        key, object_key = (a.truth.pair(rows.image, rows.label) for rows in (a, objects))
        by_key = np.argsort(object_key, kind="stable")
        first, last = (np.searchsorted(object_key[by_key], key, side=side) for side in ("left", "right"))
        row = np.repeat(np.arange(len(key)), last - first)
        return row, by_key[np.arange(len(row)) - np.repeat(np.cumsum(last - first) - last, last - first)]

    def compute_shares(self, weights: FloatArray, keep: Flags | None = None) -> dict[str, FloatArray]:
        """Compute the share of each kind under weights (B, N): (B, C), or (B,) over all pairs.

        keep: (n,), the pairs to include; None: all.
        """
        a, classes = self.localized, len(self.localized.truth.classes)
        keep = np.ones(len(a.image), dtype=np.bool_) if keep is None else keep
        every = count_by_class(weights, a.image, a.label, classes, keep)
        counts = {
            name: count_by_class(weights, a.image, a.label, classes, keep & (self.kind == number))
            for number, name in enumerate(KINDS)
        }
        if a.by_class:
            return {name: ratio(count, every) for name, count in counts.items()}
        return {name: ratio(count.sum(axis=1), every.sum(axis=1)) for name, count in counts.items()}


def _divide(part: FloatArray, whole: FloatArray) -> FloatArray:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
