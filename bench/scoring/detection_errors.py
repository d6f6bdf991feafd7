"""Errors of detections by kind, and the cost of each kind in average precision (Bolya et al., ECCV 2020: TIDE).

A false detection has the first of these kinds that fits. Overlaps are with objects that have to be found; T is the
protocol's threshold, and overlaps below `BACKGROUND` are negligible.

    localization    it overlaps an object of its class by at least BACKGROUND, but not by more than T
    classification  it overlaps an object of another class by T
    duplicate       it overlaps an object of its class by T, which a better detection has found
    background      it overlaps no object by more than BACKGROUND
    both            any other: it overlaps an object of another class, but not by T

An object is missed if no detection found it, and no localization or classification error is on it. Correcting a kind
means, for localization and classification errors, to give the best error on each object that is not found yet that
object's class and box, and to delete the others; for the other kinds, to delete the false detections; for missed
objects, not to count them. Released code (tidecv 1.0.1) does the same, and counts a falling precision as 0.

Shapes: n detections, m objects, B replicates, C classes; see docs/conventions.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.core.bootstrap import count_by_class
from bench.core.boxes import FloatArray, find_best_overlaps
from bench.data.ground_truth import GroundTruth, Objects
from bench.scoring.average_precision import average_precisions, rank_rows
from bench.scoring.protocol import COMPARE

BACKGROUND = 0.1
"""t_b of the paper."""

FALSE = ("classification", "localization", "both", "duplicate", "background")
"""Kinds of false detections, in the order of the paper."""

KINDS = (*FALSE, "missed")

ORACLES = ("no false detection", "no missed object")
"""Corrections of all errors of a side: every false detection is deleted, or objects not found are not counted."""

_CORRECT = -1

Integers = NDArray[np.integer]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class MatchedDetections:
    """A protocol's matching of n detections, without those that it ignores, with the m objects that have to be found.

    image, label, score: (n,). box: (n, 4). found: (n,), the object that a true detection found; -1 for a false one.
    form, recalls: how the protocol computes average precision.
    """

    truth: GroundTruth
    image: Integers
    label: Integers
    score: FloatArray
    box: FloatArray
    found: Integers
    objects: Objects
    iou_threshold: float
    iou_compare: Literal[">", ">="]
    plus_one: bool
    form: Literal["11-point", "area"]
    recalls: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class DetectionErrors:
    """The errors among matched detections."""

    matched: MatchedDetections

    @cached_property
    def kind(self) -> Integers:
        """Index into `FALSE` (n,); -1 for a true detection."""
        m = self.matched
        reaches = COMPARE[m.iou_compare]
        of_class, of_others = self._overlap_of_class[0], self._overlap_of_others[0]
        conditions = {
            "localization": (of_class >= BACKGROUND) & (of_class <= m.iou_threshold),
            "classification": reaches(of_others, m.iou_threshold),
            "duplicate": reaches(of_class, m.iou_threshold),
            "background": np.maximum(of_class, of_others) <= BACKGROUND,
        }
        kind = np.select([*conditions.values()], [FALSE.index(name) for name in conditions], FALSE.index("both"))
        return np.where(m.found >= 0, _CORRECT, kind)

    @cached_property
    def about(self) -> Integers:
        """The object (n,) of each localization or classification error; -1 for other detections."""
        is_place, is_class = (self.kind == FALSE.index(name) for name in ("localization", "classification"))
        return np.select([is_place, is_class], [self._overlap_of_class[1], self._overlap_of_others[1]], -1)

    @cached_property
    def missed(self) -> Flags:
        """Objects (m,) that no detection found, and that no localization or classification error is on."""
        missed = np.ones(len(self.matched.objects), dtype=np.bool_)
        for objects in (self.matched.found, self.about):
            missed[objects[objects >= 0]] = False
        return missed

    @cached_property
    def _corrected(self) -> Flags:
        """Errors (n,) that become true when corrected: the best one on each object that no detection found."""
        open_ = np.append(np.ones(len(self.matched.objects), dtype=np.bool_), False)
        open_[self.matched.found[self.matched.found >= 0]] = False
        rows = np.flatnonzero((self.about >= 0) & open_[self.about])
        rows = rows[np.argsort(-self.matched.score[rows], kind="stable")]
        best = rows[np.unique(self.about[rows], return_index=True)[1]]
        corrected = np.zeros(len(self.kind), dtype=np.bool_)
        corrected[best] = True
        return corrected

    @cached_property
    def _overlap_of_class(self) -> tuple[FloatArray, Integers]:
        """The largest overlap (n,) with an object of its class, and that object (n,)."""
        m = self.matched
        keys = (m.truth.pair(rows.image, rows.label) for rows in (m, m.objects))
        return find_best_overlaps(m.box, next(keys), m.objects.box, next(keys), plus_one=m.plus_one)

    @cached_property
    def _overlap_of_others(self) -> tuple[FloatArray, Integers]:
        """The largest overlap (n,) with an object of another class, and that object (n,)."""
        m, count = self.matched, len(self.matched.truth.classes)
        best, which = np.zeros(len(m.image)), np.full(len(m.image), -1, dtype=np.int64)
        for label in range(count):
            rows, others = np.flatnonzero(m.label == label), np.flatnonzero(m.objects.label != label)
            keys = m.image[rows].astype(np.int64), m.objects.image[others].astype(np.int64)
            best[rows], at = find_best_overlaps(
                m.box[rows], keys[0], m.objects.box[others], keys[1], plus_one=m.plus_one
            )
            which[rows] = np.where(at >= 0, np.append(others, -1)[at], -1)
        return best, which

    def count(self) -> dict[str, int]:
        """Count the errors by kind."""
        false = np.bincount(self.kind[self.kind >= 0], minlength=len(FALSE)).tolist()
        return {**dict(zip(FALSE, false, strict=True)), "missed": int(self.missed.sum())}

    def compute_precision(self, weights: FloatArray) -> dict[str, FloatArray]:
        """Compute average precision (B, C) under weights (B, N), as is (empty name) and with each kind corrected."""
        m = self.matched
        everything = np.ones(len(m.image), dtype=np.bool_)
        found = np.zeros(len(m.objects), dtype=np.bool_)
        found[m.found[m.found >= 0]] = True
        precision = {"": self._average(weights, m.found >= 0, everything)}
        for number, name in enumerate(FALSE):
            is_kind = self.kind == number
            true = (m.found >= 0) | (is_kind & self._corrected)
            label = np.where(is_kind & self._corrected, np.append(m.objects.label, -1)[self.about], m.label)
            precision[name] = self._average(weights, true, true | ~is_kind, label=label)
        precision["missed"] = self._average(weights, m.found >= 0, everything, asked=~self.missed)
        precision[ORACLES[0]] = self._average(weights, m.found >= 0, m.found >= 0)
        precision[ORACLES[1]] = self._average(weights, m.found >= 0, everything, asked=found)
        return precision

    def _average(
        self,
        weights: FloatArray,
        true: Flags,
        keep: Flags,
        *,
        label: Integers | None = None,
        asked: Flags | None = None,
    ) -> FloatArray:
        """Compute the average precision (B, C) of the detections in `keep`, of which those in `true` are true.

        asked: (m,), the objects to find; None: all. A class with objects of which none are asked for has 0.
        """
        m, classes = self.matched, len(self.matched.truth.classes)
        label = m.label if label is None else label
        positives = count_by_class(weights, m.objects.image, m.objects.label, classes, asked)
        rows = np.flatnonzero(keep)
        rows = rows[rank_rows(m.truth, m.image[rows], label[rows], m.score[rows])]
        forms = average_precisions(m.image[rows], label[rows], true[rows], positives, weights, recalls=m.recalls)
        there = count_by_class(weights, m.objects.image, m.objects.label, classes) > 0
        return np.where(there, np.nan_to_num(forms.select(m.form)), np.nan)
