"""Ranking rows by score, and average precision of a ranking, for many bootstrap replicates at once."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bench.core.boxes import FloatArray
from bench.core.columns import get_columns
from bench.data.ground_truth import GroundTruth

Integers = NDArray[np.integer]
Flags = NDArray[np.bool_]


def rank_rows(
    truth: GroundTruth, image: Integers, label: Integers, score: FloatArray, *, stable: bool = True
) -> Integers:
    """Return the order (n,) of rows: by class, then score descending, then image id, then file order.

    image, label, score: (n,). Not `stable`: rows of equal score stay as numpy's unstable argsort leaves them, as in
    the Python ports of VOC's evaluation.
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


def rank_within_images(image: Integers, label: Integers, score: FloatArray) -> Integers:
    """Return the rank (n,) of each row within its image, from 0: score descending, then class, then file order."""
    falling = -score
    by_score = np.argsort(falling)  # several times as fast as the stable sort that equal scores need
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

    def select(self, name: str) -> FloatArray:
        """Return the form named by a protocol's switch: `11-point`, `area`, or `non-interpolated`."""
        return {"11-point": self.eleven_point, "area": self.area, "non-interpolated": self.non_interpolated}[name]


def average_precision(
    image: Integers, hit: Flags, positives: FloatArray, draws: FloatArray, recalls: FloatArray | None = None
) -> AveragePrecision:
    """Compute the average precision of one class's rows, best first: image (n,), hit (n,).

    positives: (B,), the number of positives. draws: (N, B), how often replicate b contains image i. Eleven points: the
    mean over k of the best precision at recall >= k/10, compared in integers; or over `recalls` (k,), as floats. Area:
    under the monotone envelope (VOC 2010 and later). Non-interpolated: the mean precision at the hits.
    """
    rows = np.flatnonzero(hit)
    weight = draws[image[rows]]
    needed = _count_needed(positives, recalls)
    true = np.cumsum(weight, axis=0)
    retrieved = np.cumsum(_count_misses_between(image, hit, rows, draws) + weight, axis=0)
    precision = true / np.maximum(retrieved, 1)  # an image is drawn a whole number of times
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    divisor = np.where(positives > 0, positives, np.nan)
    return AveragePrecision(
        np.where(positives > 0, _sum_at_recalls(true, envelope, needed) / len(needed), np.nan),
        (weight * envelope).sum(axis=0) / divisor,
        (weight * precision).sum(axis=0) / divisor,
    )


def average_precisions(
    image: Integers,
    label: Integers,
    hit: Flags,
    positives: FloatArray,
    weights: FloatArray,
    *,
    recalls: FloatArray | None = None,
) -> AveragePrecision:
    """Compute average precision (B, C) from rows (n,) in `rank_rows` order; positives (B, C), weights (B, N)."""
    draws = np.ascontiguousarray(weights.T)
    bounds = np.searchsorted(label, np.arange(positives.shape[1] + 1))
    classes = [
        average_precision(image[start:end], hit[start:end], positives[:, c], draws, recalls)
        for c, (start, end) in enumerate(pairwise(bounds))
    ]
    return AveragePrecision(*(np.stack(form, axis=1) for form in zip(*classes, strict=True)))


class RankedHits(NamedTuple):
    """Rows in `rank_rows` order: label (n,), hit (n,); positives (C,), the number of positives of each class."""

    label: Integers
    hit: Flags
    positives: Integers


def rank_hits(outcomes: pa.Table, classes: int) -> RankedHits:
    """Return the ranked rows of outcomes with `label`, `hit` and `missed`; a missed row only counts as a positive."""
    label, hit, missed = get_columns(outcomes, "label", "hit", "missed")
    return RankedHits(label[~missed], hit[~missed], np.bincount(label[hit | missed], minlength=classes))


def precision_recall(ranked: RankedHits) -> list[tuple[FloatArray, FloatArray]]:
    """Compute recall and precision (h,) at each hit of every class, best first; empty for a class without hits.

    The area under the precision envelope (each value raised to the best that follows) is the average precision of the
    form `area`.
    """
    bounds = np.searchsorted(ranked.label, np.arange(len(ranked.positives) + 1))
    curves = []
    for (start, end), positives in zip(pairwise(bounds), ranked.positives.tolist(), strict=True):
        rows = np.flatnonzero(ranked.hit[start:end])
        true = np.arange(1, len(rows) + 1)
        curves.append((true / max(positives, 1), true / (rows + 1)))
    return curves


def _count_misses_between(image: Integers, hit: Flags, rows: Integers, draws: FloatArray) -> FloatArray:
    """Count the misses (h, B) between each of the hits `rows` (h,) and the hit before it.

    Misses after the last hit cannot change any precision. A sparse matrix counts the misses of each image between two
    hits, so that one product serves every replicate.
    """
    from scipy.sparse import csr_array

    until = rows[-1] if len(rows) else 0
    missed = image[:until][~hit[:until]]
    ends = np.concatenate([[0], rows - np.arange(len(rows))])
    return np.asarray(csr_array((np.ones(len(missed)), missed, ends), shape=(len(rows), len(draws))) @ draws)


def _count_needed(positives: FloatArray, recalls: FloatArray | None) -> FloatArray:
    """Count the hits (k, B) needed to reach each recall with positives (B,)."""
    if recalls is None:
        return np.asarray(np.ceil(np.arange(11)[:, None] * positives / 10))
    total, recall = np.maximum(positives, 1), recalls[:, None]
    needed = np.ceil(recall * total)
    needed += needed / total < recall
    needed -= (needed > 0) & ((needed - 1) / total >= recall)
    return np.asarray(needed)


def _sum_at_recalls(true: FloatArray, envelope: FloatArray, needed: FloatArray) -> FloatArray:
    """Sum, over the recalls, the best precision from the rank on that has `needed` (k, B) hits, or 0 if none has: (B,).

    Hits (h, B) never decrease, so the first row that reaches k is found by bisection, for all k and replicates at once.
    """
    reached = np.concatenate([envelope, np.zeros((1, envelope.shape[1]))])
    replicate = np.arange(needed.shape[1])
    first = np.zeros(needed.shape, dtype=np.int64)
    for step in 1 << np.arange(len(true).bit_length())[::-1]:
        row = first + step - 1
        below = (row < len(true)) & (true[np.minimum(row, len(true) - 1), replicate] < needed)
        first += step * below
    return np.asarray(reached[first, replicate].sum(axis=0))
