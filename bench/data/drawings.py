"""Detection of photographs with boxes drawn on them: a hint for inspection, never a reason to omit an image."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from bench.core.boxes import FloatArray

SATURATED, SHARP, EVEN, CLOSE = 90, 50, 48, 60
"""Thresholds for lines: least saturation, least excess of it over both neighbours, greatest change along the line;
greatest difference between the colours of a box's sides.

All in 0..255. With them, 18 of 5,008 photographs of VOC 2007 trainval are suspects; with their true boxes drawn on
them, at least 2 pixels wide and saved twice as JPEG, 9 of 10 are. Lines of 1 pixel are mostly missed.
"""

BESIDE, STEP, SHORTEST = 6, 8, 40
"""In pixels: the distance of the compared pixels beside a line, and along it, and the least length of a line."""


def has_drawn_box(pixels: NDArray[np.uint8]) -> bool:
    """Whether an image (H, W, 3) has a horizontal and a vertical thin straight line of one pure colour.

    Boxes that a detector has drawn on a photograph have such lines; few photographs do.
    """
    if min(pixels.shape[:2]) < SHORTEST:
        return False
    across = _list_line_colours(pixels)
    down = _list_line_colours(np.ascontiguousarray(pixels.transpose(1, 0, 2))) if len(across) else across
    return bool((np.abs(across[:, None] - down).max(axis=2, initial=0) < CLOSE).any())


def _list_line_colours(pixels: NDArray[np.uint8]) -> FloatArray:
    """Return the colour of each row with a line in it: (n, 3)."""
    import cv2

    red, green, blue = cv2.split(pixels)
    saturation = cv2.subtract(cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue))
    sharp = np.zeros_like(saturation)
    inner, above, below = saturation[BESIDE:-BESIDE], saturation[: -2 * BESIDE], saturation[2 * BESIDE :]
    sharp[BESIDE:-BESIDE] = cv2.min(cv2.subtract(inner, above), cv2.subtract(inner, below))
    line = (sharp > SHARP) & (saturation > SATURATED)
    for channel in (red, green, blue):
        line[:, STEP:] &= cv2.absdiff(channel[:, STEP:], channel[:, :-STEP]) < EVEN
    length = np.ones((1, max(SHORTEST, pixels.shape[1] // 10)), dtype=np.uint8)
    long = cast("NDArray[np.uint8]", cv2.morphologyEx(line.astype(np.uint8), cv2.MORPH_OPEN, length)) > 0
    rows = np.flatnonzero(long.any(axis=1))
    return np.array([np.median(pixels[row][long[row]], axis=0) for row in rows], dtype=np.float64).reshape(-1, 3)
