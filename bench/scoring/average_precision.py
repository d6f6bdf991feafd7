"""Ranking rows by score, and average precision of a ranking, for many bootstrap replicates at once."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bench.core.boxes import FloatArray
from bench.data.ground_truth import Truth

Integers = NDArray[np.integer]
Flags = NDArray[np.bool_]


def ranking(truth: Truth, image: Integers, label: Integers, score: FloatArray, *, stable: bool = True) -> Integers:
    """Order (n,) of rows: by class, then score descending, then image id, then file order.

    Not `stable`: rows of equal score come as numpy's unstable argsort leaves them, as in the Python ports of VOC.
    """
    narrow = label.astype(np.uint16) if len(truth.classes) <= 1 << 16 else label  # numpy sorts 16 bits by radix
    by_class = np.argsort(narrow, kind="stable")
    bounds = np.cumsum([0, *np.bincount(label, minlength=len(truth.classes))])
    for start, end in pairwise(bounds):
        rows = by_class[start:end]
        falling = -score[rows]
        order = np.argsort(falling)
        ranked = falling[order]
        if stable and (ranked[1:] == ranked[:-1]).any():
            order = np.lexsort((truth.id_rank[image[rows]], falling))
        by_class[start:end] = rows[order]
    return by_class


def places(image: Integers, label: Integers, score: FloatArray) -> Integers:
    """The place (n,) of each row among those of its image, from 0: score descending, then class, then file order."""
    falling = -score
    by_score = np.argsort(falling)  # several times as fast as a stable sort, which is for equal scores
    ranked = falling[by_score]
    if (ranked[1:] == ranked[:-1]).any():
        by_score = np.lexsort((label, falling))
    rank = np.empty(len(image), dtype=np.int64)
    rank[by_score] = np.arange(len(image))
    order = np.argsort(image * np.int64(len(image)) + rank)
    first = np.flatnonzero(np.diff(image[order], prepend=-1))
    place = np.empty(len(image), dtype=np.int64)
    place[order] = np.arange(len(image)) - np.repeat(first, np.diff(first, append=len(image)))
    return place


class AveragePrecision(NamedTuple):
    """Average precision in each form: (B,) for one class, (B, C) for several; NaN without positives."""

    eleven_point: FloatArray
    area: FloatArray
    non_interpolated: FloatArray

    def form(self, name: str) -> FloatArray:
        """One form by the name that switches give it: `11-point`, `area`, `non-interpolated`."""
        return {"11-point": self.eleven_point, "area": self.area, "non-interpolated": self.non_interpolated}[name]


def average_precision(image: Integers, hit: Flags, positives: FloatArray, draws: FloatArray) -> AveragePrecision:
    """Average precision of one class's rows, best first: image (n,), hit (n,).

    positives: (B,), how many there are to find. draws: (N, B), how often replicate b holds image i. Eleven points: the
    mean over k of the best precision at recall >= k/10, compared in integers. Area: under the monotone envelope (VOC
    2010 and later). Non-interpolated: the mean precision at the hits.
    """
    rows = np.flatnonzero(hit)
    weight = draws[image[rows]]
    true = np.cumsum(weight, axis=0)
    found = np.cumsum(_missed_between(image, hit, rows, draws) + weight, axis=0)
    precision = true / np.maximum(found, 1)  # an image is drawn a whole number of times
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    divisor = np.where(positives > 0, positives, np.nan)
    return AveragePrecision(
        np.where(positives > 0, _eleven(true, envelope, positives) / 11, np.nan),
        (weight * envelope).sum(axis=0) / divisor,
        (weight * precision).sum(axis=0) / divisor,
    )


def average_precisions(
    image: Integers, label: Integers, hit: Flags, positives: FloatArray, weights: FloatArray
) -> AveragePrecision:
    """Average precision (B, C) of every class, from rows (n,) in `ranking` order; positives (B, C), weights (B, N)."""
    draws = np.ascontiguousarray(weights.T)
    bounds = np.searchsorted(label, np.arange(positives.shape[1] + 1))
    classes = [
        average_precision(image[start:end], hit[start:end], positives[:, c], draws)
        for c, (start, end) in enumerate(pairwise(bounds))
    ]
    return AveragePrecision(*(np.stack(form, axis=1) for form in zip(*classes, strict=True)))


class Ranked(NamedTuple):
    """Rows in `ranking` order: label (n,), hit (n,); positives (C,), how many of each class there are to find."""

    label: Integers
    hit: Flags
    positives: Integers


def ranked_hits(outcomes: pa.Table, classes: int) -> Ranked:
    """Of outcomes with `label`, `hit` and `missed`: ranked rows, beside them what none of them found."""
    label, hit, missed = (outcomes[name].to_numpy() for name in ("label", "hit", "missed"))
    return Ranked(label[~missed], hit[~missed], np.bincount(label[hit | missed], minlength=classes))


def precision_recall(ranked: Ranked) -> list[tuple[FloatArray, FloatArray]]:
    """Recall and precision (h,) at each hit of every class, best first; empty where there is nothing to find or hit.

    The area under the precision, each raised to the best that follows, is the average precision of the form `area`.
    """
    bounds = np.searchsorted(ranked.label, np.arange(len(ranked.positives) + 1))
    found = []
    for (start, end), positives in zip(pairwise(bounds), ranked.positives.tolist(), strict=True):
        rows = np.flatnonzero(ranked.hit[start:end])
        true = np.arange(1, len(rows) + 1)
        found.append((true / max(positives, 1), true / (rows + 1)))
    return found


def _missed_between(image: Integers, hit: Flags, rows: Integers, draws: FloatArray) -> FloatArray:
    """Misses (h, B) between the hit before and each of the hits `rows` (h,). Later ones can move no precision.

    A sparse matrix counts the misses of each image between two hits: one product serves every replicate.
    """
    from scipy.sparse import csr_array

    until = rows[-1] if len(rows) else 0
    missed = image[:until][~hit[:until]]
    ends = np.concatenate([[0], rows - np.arange(len(rows))])
    return np.asarray(csr_array((np.ones(len(missed)), missed, ends), shape=(len(rows), len(draws))) @ draws)


def _eleven(true: FloatArray, envelope: FloatArray, positives: FloatArray) -> FloatArray:
    """Sum (B,) over k = 0 ... 10 of the best precision where 10 * hits >= k * positives, 0 where that is never.

    Hits (h, B) only grow: the first row that reaches k is found by bisection, all k and replicates at once.
    """
    reached = np.concatenate([envelope, np.zeros((1, envelope.shape[1]))])
    needed, replicate = np.arange(11)[:, None] * positives, np.arange(len(positives))
    first = np.zeros(needed.shape, dtype=np.int64)
    for step in 1 << np.arange(len(true).bit_length())[::-1]:
        row = first + step - 1
        short = (row < len(true)) & (10 * true[np.minimum(row, len(true) - 1), replicate] < needed)
        first += step * short
    return np.asarray(reached[first, replicate].sum(axis=0))
