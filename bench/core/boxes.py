"""The one box convention: float, 0-based, half-open corners x1, y1, x2, y2, in pixels of the original image.

A box's width is `x2 - x1`. Only readers and writers convert; everything else computes with these.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

_ROWS = 1 << 16
"""Boxes looked at in one go: bounds memory, not results."""


def from_voc(boxes: ArrayLike) -> FloatArray:
    """VOC's 1-based inclusive `xmin, ymin, xmax, ymax` (N, 4) to half-open corners; its "+1" areas come out.

    >>> from_voc([[1, 1, 10, 20]])
    array([[ 0.,  0., 10., 20.]])
    """
    return np.subtract(_as_rows(boxes), [1.0, 1.0, 0.0, 0.0])


def to_voc(boxes: ArrayLike) -> FloatArray:
    """Half-open corners (N, 4) to VOC's 1-based inclusive `xmin, ymin, xmax, ymax`."""
    return np.add(_as_rows(boxes), [1.0, 1.0, 0.0, 0.0])


def from_coco(boxes: ArrayLike) -> FloatArray:
    """COCO's `x, y, width, height` (N, 4) to half-open corners."""
    rows = _as_rows(boxes)
    with np.errstate(over="ignore"):
        return np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:]], axis=1)


def to_coco(boxes: ArrayLike) -> FloatArray:
    """Half-open corners (N, 4) to COCO's `x, y, width, height`.

    A side is the number of at most nine decimals that gives the same corner, if there is one, as a file had it:

    >>> 33.3 + 100.0 - 33.3, to_coco(from_coco([[33.3, 0.0, 100.0, 1.0]])).tolist()
    (100.00000000000001, [[33.3, 0.0, 100.0, 1.0]])
    """
    start, end = np.hsplit(_as_rows(boxes), 2)
    with np.errstate(over="ignore", invalid="ignore"):
        side = end - start
        short = np.round(side, 9)
        return np.concatenate([start, np.where(start + short == end, short, side)], axis=1)


def area(boxes: ArrayLike) -> FloatArray:
    """Areas (N,) of boxes (N, 4); an inverted box has area 0."""
    rows = _as_rows(boxes)
    with np.errstate(over="ignore", invalid="ignore"):  # infinite extent times nothing is not a number
        sides = np.maximum(rows[:, 2:] - rows[:, :2], 0.0)
        return np.asarray(sides[:, 0] * sides[:, 1])


def iou(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """Intersection over union (N, M) of boxes (N, 4) and (M, 4); 0 where the union is empty.

    >>> iou([[0, 0, 2, 2]], [[0, 0, 2, 2], [1, 0, 3, 2], [2, 0, 4, 2]]).round(3)
    array([[1.   , 0.333, 0.   ]])
    """
    one, two = _as_rows(a), _as_rows(b)
    return _iou_of_corners(one.T[:, :, None], two.T[:, None, :], area(one)[:, None] + area(two)[None, :])


def paired_iou(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """Intersection over union (N,) of box i of `a` (N, 4) with box i of `b` (N, 4)."""
    one, two = _as_rows(a), _as_rows(b)
    return _iou_of_corners(one.T, two.T, area(one) + area(two))


def find_best_overlaps(
    boxes: FloatArray,
    key: NDArray[np.int64],
    objects: FloatArray,
    object_key: NDArray[np.int64],
    *,
    plus_one: bool = True,
) -> tuple[FloatArray, NDArray[np.int64]]:
    """For each box (n, 4), its largest IoU (n,) with an object (m, 4) of the same key, and which object (n,) that is.

    The first object of the largest IoU wins; a box without an object of its key gets IoU 0 and object -1. Without
    `plus_one` a width is `xmax - xmin` of VOC's inclusive corners, one pixel less than here.
    """
    by_key = np.argsort(object_key, kind="stable")
    keys, first, number = np.unique(object_key[by_key], return_index=True, return_counts=True)
    trim = np.array([[0.0], [0.0], [0.0], [0.0]] if plus_one else [[0.0], [0.0], [1.0], [1.0]])
    corners, others = np.ascontiguousarray(boxes.T), np.ascontiguousarray(objects[by_key].T) - trim
    best, which = np.zeros(len(boxes)), np.full(len(boxes), -1, dtype=np.int64)
    of = _look_up(keys, key)
    candidates = np.flatnonzero(of >= 0)
    for start in range(0, len(candidates), _ROWS):
        rows = candidates[start : start + _ROWS]
        group = of[rows]
        mine = corners.take(rows, axis=1) - trim
        best[rows], found = _best_in_group(mine, others, first[group], number[group])
        which[rows] = by_key[found]
    return best, which


def _look_up(keys: NDArray[np.int64], key: NDArray[np.int64]) -> NDArray[np.int32]:
    """Where each `key` (n,) is among the sorted `keys`, -1 where it is not; by a table, since keys are cells."""
    table = np.zeros(max(keys.max(initial=-1), key.max(initial=-1)) + 1, dtype=np.int32)
    table[keys] = np.arange(1, len(keys) + 1)
    return np.asarray(table[key] - 1)


def _best_in_group(
    boxes: FloatArray, objects: FloatArray, first: NDArray[np.int64], number: NDArray[np.int64]
) -> tuple[FloatArray, NDArray[np.int64]]:
    """For box i of (4, n), the first largest IoU (n,) with the `number[i]` objects of (4, m) from `first[i]` on."""
    mine, theirs = area(boxes.T), area(objects.T)
    best = _iou_of_corners(boxes, objects.take(first, axis=1), mine + theirs[first])
    which, rows = first.copy(), np.arange(len(first))
    for step in range(1, number.max(initial=1)):
        rows = rows[number[rows] > step]
        now = first[rows] + step  # take, since indexing columns by an array is several times slower
        overlap = _iou_of_corners(boxes.take(rows, axis=1), objects.take(now, axis=1), mine[rows] + theirs[now])
        better = overlap > best[rows]
        improved = rows[better]
        best[improved], which[improved] = overlap[better], now[better]
    return best, which


def union_area(boxes: ArrayLike) -> float:
    """Area of the union of boxes (N, 4), exact: the plane is cut along every edge."""
    rows = _as_rows(boxes)
    xs, ys = np.unique(rows[:, [0, 2]]), np.unique(rows[:, [1, 3]])
    if len(xs) < 2 or len(ys) < 2:
        return 0.0
    inside_x = (rows[:, 0, None] <= xs[:-1]) & (xs[1:] <= rows[:, 2, None])
    inside_y = (rows[:, 1, None] <= ys[:-1]) & (ys[1:] <= rows[:, 3, None])
    covered = (inside_y[:, :, None] & inside_x[:, None, :]).any(axis=0)
    return float((np.diff(ys)[:, None] * np.diff(xs)[None, :])[covered].sum())


def _as_rows(boxes: ArrayLike) -> FloatArray:
    return np.asarray(boxes, dtype=np.float64).reshape(-1, 4)


def _iou_of_corners(a: FloatArray, b: FloatArray, areas: FloatArray) -> FloatArray:
    """IoU of boxes with their corners along the first axis, (4, ...) each, and the sum of their areas (...)."""
    with np.errstate(over="ignore", invalid="ignore"):  # corners may be as large as a file pleases
        sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0.0)
        shared = sides[0] * sides[1]
        union = areas - shared
        return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=(union > 0) & np.isfinite(union)))
