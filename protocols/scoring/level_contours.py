"""The contours of an 8-bit map at many levels, without those too small to matter, of which noise has thousands.

Foreground is what is above a level: its components are 8-connected, the holes in them 4-connected, and each has a
contour, as OpenCV's RETR_TREE finds them. A component that fits in a window without reaching the ring around it can be
removed at all levels at once: where the ring's maximum is m, all that is above m inside the window belongs to such
components, and is clamped to m. What is left stays as it is, pixel by pixel. Holes likewise, with the ring's minimum.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.core.boxes import FloatArray

Grey = NDArray[np.uint8]

_WINDOWS = (*sorted(product(range(1, 5), repeat=2), key=np.prod), (5, 3), (3, 5), (5, 5), (7, 7), (11, 11), (15, 15))
"""Width and height of the windows, small ones first: large rings are only free once small components are gone."""

_NOISY = 0.02
"""Share of the pixels that the windows of up to 2 x 2 must change for larger ones to be worth their time."""

_GROWTH = 3
"""Pixels by which the box of a hole's contour may exceed the window: one on either side, and one where ends count."""


class Contours(NamedTuple):
    """Contours of L levels, level by level. box: (n, 4), tight. area: (n,), of the polygon. first: (L,), first row."""

    box: FloatArray
    area: FloatArray
    first: NDArray[np.intp]


def remove_small(grey: Grey, wanted: FloatArray, least: float) -> tuple[Grey, int]:
    """Remove components and holes whose box has an IoU below `least` with each of the boxes `wanted` (n, 4).

    Returns the map, and the largest polygon area that a removed contour may have; -1 where none was removed.
    """
    extent = (wanted[:, 2:] - wanted[:, :2]) * least
    area = -1
    kept = grey
    for window in _WINDOWS:
        if (extent <= np.add(window, _GROWTH)).all(axis=1).any():
            continue
        if max(window) > 2 and (kept != grey).mean() < _NOISY:
            break
        kept = _fill_holes(_clamp_components(kept, *window), *window)
        area = max(area, (window[0] + 1) * (window[1] + 1))
    return kept, area


def _clamp_components(grey: Grey, width: int, height: int) -> Grey:
    import cv2

    # Outside the map nothing is foreground.
    padded = cv2.copyMakeBorder(grey, height + 2, height + 2, width + 2, width + 2, cv2.BORDER_CONSTANT, value=0)
    across, down = (
        cv2.dilate(padded, np.ones(shape, np.uint8), anchor=(0, 0)) for shape in _line_shapes(width, height, 2)
    )
    ring = np.full_like(padded, 255)
    y, x = padded.shape[0] - height - 1, padded.shape[1] - width - 1  # positions of the ring
    sides = across[:y, :x], across[height + 1 :, :x], down[:y, :x], down[:y, width + 1 :]
    ring[1:-height, 1:-width] = np.maximum.reduce(sides)
    lowest = cv2.erode(ring, np.ones((height, width), np.uint8), anchor=(width - 1, height - 1))
    return _crop(np.minimum(padded, lowest), width, height)


def _fill_holes(grey: Grey, width: int, height: int) -> Grey:
    import cv2

    padded = cv2.copyMakeBorder(grey, height + 2, height + 2, width + 2, width + 2, cv2.BORDER_CONSTANT, value=0)
    across, down = (
        cv2.erode(padded, np.ones(shape, np.uint8), anchor=(0, 0)) for shape in _line_shapes(width, height, 0)
    )
    ring = np.zeros_like(padded)
    y, x = padded.shape[0] - height - 1, padded.shape[1] - width - 1
    # Corners are not part of the ring: a hole is 4-connected.
    top, left = slice(1, y + 1), slice(1, x + 1)
    sides = across[:y, left], across[height + 1 :, left], down[top, :x], down[top, width + 1 :]
    ring[1:-height, 1:-width] = np.minimum.reduce(sides)
    highest = cv2.dilate(ring, np.ones((height, width), np.uint8), anchor=(width - 1, height - 1))
    return _crop(np.maximum(padded, highest), width, height)


def _line_shapes(width: int, height: int, corners: int) -> tuple[tuple[int, int], tuple[int, int]]:
    return (1, width + corners), (height + corners, 1)


def _crop(padded: Grey, width: int, height: int) -> Grey:
    return np.ascontiguousarray(padded[height + 2 : -height - 2, width + 2 : -width - 2])


def trace_levels(grey: Grey, levels: Sequence[int]) -> Contours:
    """Trace the contours of the foreground at each level; a level without any has one empty box at the origin."""
    import cv2

    contours: list[Any] = []
    first = []
    for level in levels:
        first.append(len(contours))
        _, foreground = cv2.threshold(grey, level, 255, cv2.THRESH_BINARY)
        found, _ = cv2.findContours(foreground, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
        contours += found or (_NO_POINTS,)
    return Contours(*_measure(contours), np.array(first, dtype=np.intp))


_NO_POINTS = np.zeros((0, 1, 2), np.int32)


def _measure(contours: list[Any]) -> tuple[FloatArray, FloatArray]:
    """Boxes and areas, as OpenCV's boundingRect and contourArea give them one by one."""
    length = np.array([len(one) for one in contours])
    some, points = np.flatnonzero(length), np.concatenate(contours)[:, 0]
    start = (np.cumsum(length) - length)[some]
    box, area = np.zeros((len(length), 4)), np.zeros(len(length))
    if not len(some):
        return box, area
    following = np.arange(1, len(points) + 1)
    following[start + length[some] - 1] = start
    x, y = np.ascontiguousarray(points.T)
    low, high = ([extreme.reduceat(axis, start) for axis in (x, y)] for extreme in (np.minimum, np.maximum))
    box[some] = np.stack([*low, *(end + 1 for end in high)], axis=1)
    area[some] = np.abs(np.add.reduceat(x * y[following] - x[following] * y, start)) / 2
    return box, area
