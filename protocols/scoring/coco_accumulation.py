"""COCO's accumulation: precision and recall by class from matched detections, equal to pycocotools' to the last bit.

Shapes: n outcomes in ranking order, m of them hits at some IoU and size, C classes; see docs/conventions.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa

from bench.core.boxes import FloatArray
from bench.core.columns import get_column, get_columns
from protocols.scoring.coco_matching import EVERY_IOU, IOUS, SIZES, Flags, Integers

RECALL_POINTS = np.linspace(0, 1, 101)
_EPSILON = np.spacing(1)
"""Added to the number of detections before dividing by it, as in pycocotools."""


def count_positives(outcomes: pa.Table, classes: int) -> Integers:
    """Count the objects to find, by size and class (sizes, C)."""
    label, wanted = get_columns(outcomes, "label", "wanted")
    return np.stack([np.bincount(label[wanted >> size & 1 > 0], minlength=classes) for size in range(len(SIZES))])


def accumulate_precision(outcomes: pa.Table, positives: Integers) -> FloatArray:
    """Precision (sizes, IoUs, recall points, C): the best at this recall or more; NaN for a class without objects.

    positives: (sizes, C). The best precision always occurs at a hit, so only hits are looked at.
    """
    label = get_column(outcomes, "label")
    hit, ignored = (get_columns(outcomes, *(f"{what}_{name}" for name in SIZES)) for what in ("hit", "ignored"))
    rows = np.flatnonzero(np.bitwise_or.reduce(hit))
    classes = np.arange(positives.shape[1] + 1)
    first = np.searchsorted(label[rows], classes)
    hits = np.concatenate([unpack_ious(one[rows]) for one in hit], axis=1)
    start = np.searchsorted(label, classes[:-1])
    columns = [count_evaluated(one, np.concatenate([rows + 1, start])) for one in ignored]
    retrieved, before = np.split(np.concatenate(columns, axis=1), [len(rows)])
    retrieved -= before[label[rows]]
    true = np.cumsum(np.concatenate([np.zeros((1, hits.shape[1]), np.int32), hits]), axis=0)
    best = (true[1:] - true[first][label[rows]]) / (retrieved + _EPSILON)
    for begin, end in pairwise(first):
        np.maximum.accumulate(best[begin:end][::-1], axis=0, out=best[begin:end][::-1])
    counts = np.diff(true[first], axis=0)
    found = _at_recall_points(best, hits, counts.reshape(len(counts), len(SIZES), len(IOUS)), positives)
    return np.where(positives[:, None, None, :] > 0, found, np.nan)


def accumulate_recall(outcomes: pa.Table, positives: Integers, most: Sequence[int]) -> FloatArray:
    """Recall (M, sizes, IoUs, C) with each of `most` (M,) detections per image and class; NaN as in precision."""
    label, place = get_columns(outcomes, "label", "place")
    recall = np.zeros((len(most), len(SIZES), len(IOUS), positives.shape[1]))
    for size, name in enumerate(SIZES):
        hit = get_column(outcomes, f"hit_{name}")
        row, iou = np.nonzero(unpack_ious(hit[some := np.flatnonzero(hit)]))
        cell = iou * positives.shape[1] + label[some[row]]
        for number, first in enumerate(most):
            counts = np.bincount(cell[place[some[row]] < first], minlength=recall[0, 0].size)
            recall[number, size] = counts.reshape(recall.shape[2:]) / np.maximum(positives[size], 1)
    return np.where(positives[:, None, :] > 0, recall, np.nan)


def _at_recall_points(best: FloatArray, hits: Flags, counts: Integers, positives: Integers) -> FloatArray:
    """Precision (sizes, IoUs, points, C) from the best at each row (m, sizes * IoUs); 0 where a recall is not reached.

    counts: (C, sizes, IoUs) hits.
    """
    needed = _count_needed(positives)[:, None]
    by_column = counts.transpose(1, 2, 0)
    before = np.cumsum(by_column).reshape(by_column.shape) - by_column
    column, row = np.nonzero(hits.T)
    values = np.append(best[row, column], 0.0)
    at = np.where(needed <= by_column[:, :, None], before[:, :, None] + needed - 1, len(row))
    return np.asarray(values[at])


def _count_needed(positives: Integers) -> Integers:
    """Count the hits (sizes, points, C) with which each recall point is reached."""
    total, point = np.maximum(positives, 1)[:, None, :], RECALL_POINTS[:, None]
    needed = np.ceil(point * total).astype(np.int64)
    needed += needed / total < point
    needed -= (needed - 1) / total >= point
    return np.maximum(needed, 1)


def count_evaluated(ignored: Integers, at: Integers) -> Integers:
    """Count the rows before each of the positions `at` (p,) that are not ignored, by IoU (p, IoUs)."""
    everywhere = np.concatenate([[0], np.cumsum(ignored == 0, dtype=np.int32)])
    some = np.flatnonzero((ignored != 0) & (ignored != EVERY_IOU))
    partly = np.cumsum(~unpack_ious(ignored[some]), axis=0, dtype=np.int32)
    partly = np.concatenate([np.zeros((1, len(IOUS)), np.int32), partly])
    return np.asarray(everywhere[at][:, None] + partly[np.searchsorted(some, at)])


def unpack_ious(bits: Integers) -> Flags:
    """Unpack bits (n,) into a flag for each IoU (n, IoUs)."""
    return np.asarray(bits[:, None] >> np.arange(len(IOUS), dtype=np.uint16) & 1, dtype=np.bool_)
