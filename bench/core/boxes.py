"""Boxes in one convention: float, 0-based, half-open corners x1, y1, x2, y2, in pixels of the original image.

A box's width is `x2 - x1`. Only readers and writers convert; everything else computes with these. Arrays are float64.
Shapes: n, m boxes; see docs/conventions.md.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

_ROWS = 1 << 16
"""Boxes processed at once: bounds memory, not results."""


def from_voc(boxes: ArrayLike) -> FloatArray:
    """Convert VOC's 1-based inclusive `xmin, ymin, xmax, ymax` (n, 4) to half-open corners; VOC's "+1" areas are kept.

    >>> from_voc([[1, 1, 10, 20]])
    array([[ 0.,  0., 10., 20.]])
    """
    return np.subtract(_as_rows(boxes), [1.0, 1.0, 0.0, 0.0])


def to_voc(boxes: ArrayLike) -> FloatArray:
    """Convert half-open corners (n, 4) to VOC's 1-based inclusive `xmin, ymin, xmax, ymax`."""
    return np.add(_as_rows(boxes), [1.0, 1.0, 0.0, 0.0])


def from_coco(boxes: ArrayLike) -> FloatArray:
    """Convert COCO's `x, y, width, height` (n, 4) to half-open corners."""
    rows = _as_rows(boxes)
    with np.errstate(over="ignore"):
        return np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:]], axis=1)


def to_coco(boxes: ArrayLike) -> FloatArray:
    """Convert half-open corners (n, 4) to COCO's `x, y, width, height`.

    A side is rounded to nine decimals if that still gives the same corner, so that values read from a file come back:

    >>> 33.3 + 100.0 - 33.3, to_coco(from_coco([[33.3, 0.0, 100.0, 1.0]])).tolist()
    (100.00000000000001, [[33.3, 0.0, 100.0, 1.0]])
    """
    start, end = np.hsplit(_as_rows(boxes), 2)
    with np.errstate(over="ignore", invalid="ignore"):
        side = end - start
        short = np.round(side, 9)
        return np.concatenate([start, np.where(start + short == end, short, side)], axis=1)


def area(boxes: ArrayLike) -> FloatArray:
    """Return the areas (n,) of boxes (n, 4); an inverted box has area 0."""
    rows = _as_rows(boxes)
    with np.errstate(over="ignore", invalid="ignore"):  # infinity times 0 is not a number
        sides = np.maximum(rows[:, 2:] - rows[:, :2], 0.0)
        return np.asarray(sides[:, 0] * sides[:, 1])


def iou(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """Compute the intersection over union (n, m) of boxes (n, 4) and (m, 4); 0 where the union is empty.

    >>> iou([[0, 0, 2, 2]], [[0, 0, 2, 2], [1, 0, 3, 2], [2, 0, 4, 2]]).round(3)
    array([[1.   , 0.333, 0.   ]])
    """
    rows, columns = _as_rows(a), _as_rows(b)
    return _iou_of_corners(rows.T[:, :, None], columns.T[:, None, :], area(rows)[:, None] + area(columns)[None, :])


def find_best_overlaps(
    boxes: FloatArray,
    key: NDArray[np.int64],
    objects: FloatArray,
    object_key: NDArray[np.int64],
    *,
    plus_one: bool = True,
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Return each box's (n, 4) largest IoU (n,) with an object (m, 4) of the same key, and that object's index (n,).

    Ties go to the first object; a box without an object of its key gets IoU 0 and index -1. Without `plus_one` a width
    is `xmax - xmin` of VOC's inclusive corners, one pixel less than here.
    """
    by_key = np.argsort(object_key, kind="stable")
    keys, first, number = np.unique(object_key[by_key], return_index=True, return_counts=True)
    trim = np.array([[0.0], [0.0], [0.0], [0.0]] if plus_one else [[0.0], [0.0], [1.0], [1.0]])
    corners, others = np.ascontiguousarray(boxes.T), np.ascontiguousarray(objects[by_key].T) - trim
    best, which = np.zeros(len(boxes)), np.full(len(boxes), -1, dtype=np.int64)
    group_of = _look_up(keys, key)
    candidates = np.flatnonzero(group_of >= 0)
    for start in range(0, len(candidates), _ROWS):
        rows = candidates[start : start + _ROWS]
        group = group_of[rows]
        chunk = corners.take(rows, axis=1) - trim
        best[rows], position = _best_in_group(chunk, others, first[group], number[group])
        which[rows] = by_key[position]
    return best, which


def _look_up(keys: NDArray[np.int64], key: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the index (n,) of each `key` (n,) in the sorted `keys`, or -1; by a table, since keys are cells."""
    table = np.zeros(max(keys.max(initial=-1), key.max(initial=-1)) + 1, dtype=np.int32)
    table[keys] = np.arange(1, len(keys) + 1)
    return np.asarray(table[key] - 1)


def _best_in_group(
    boxes: FloatArray, objects: FloatArray, first: NDArray[np.int64], number: NDArray[np.int64]
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Return each box's (4, n) largest IoU (n,) with objects (4, m), and the first such object (n,).

    Box i is compared with the `number[i]` objects from `first[i]` on."""
    box_area, object_area = area(boxes.T), area(objects.T)
    best = _iou_of_corners(boxes, objects.take(first, axis=1), box_area + object_area[first])
    which, rows = first.copy(), np.arange(len(first))
    for step in range(1, number.max(initial=1)):
        rows = rows[number[rows] > step]
        other = first[rows] + step
        areas = box_area[rows] + object_area[other]
        # take: indexing columns by an array is several times slower
        overlap = _iou_of_corners(boxes.take(rows, axis=1), objects.take(other, axis=1), areas)
        better = overlap > best[rows]
        improved = rows[better]
        best[improved], which[improved] = overlap[better], other[better]
    return best, which


def union_area(boxes: ArrayLike) -> float:
    """Return the area of the union of boxes (n, 4), exactly: the plane is cut along every edge."""
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
    """Return IoUs (...) from corners along the first axis, (4, ...) each, and the sums of their areas (...)."""
    with np.errstate(over="ignore", invalid="ignore"):  # a file's corners may be arbitrarily large
        sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0.0)
        shared = sides[0] * sides[1]
        union = areas - shared
        return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=(union > 0) & np.isfinite(union)))
