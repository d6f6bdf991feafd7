"""COCO masks, given as polygons or run lengths, converted to one checked form: compressed run lengths.

Run lengths go down the columns of an image and start with background. pycocotools, written in C, trusts its input, so
everything is checked before it gets there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BIT, _CHUNK, _MORE, _SIGN = 48, 5, 0x20, 0x10
_LONGEST_NUMBER = 7
_AT_ONCE = 1 << 14
"""Characters that are checked together: bounds memory, not results."""


def to_rle(segmentation: Any, width: int, height: int) -> bytes:
    """Convert polygons `[[x, y, ...], ...]`, or `{"size": [h, w], "counts": ...}`, to compressed run lengths.

    Raises ValueError, naming the rule, for anything that is no mask of a width x height image.
    """
    from pycocotools import mask

    if isinstance(segmentation, list):
        polygons = [_check_polygon(points, width, height) for points in segmentation]
        if not polygons:
            raise ValueError("a segmentation needs at least one polygon")
        parts = mask.frPyObjects(polygons, height, width)
        return bytes((parts[0] if len(parts) == 1 else mask.merge(parts))["counts"])
    if not isinstance(segmentation, dict) or segmentation.get("size") != [height, width]:
        raise ValueError(f"expected polygons, or run lengths of size {[height, width]}")
    counts = segmentation.get("counts")
    if isinstance(counts, str | bytes):
        return check_rle(counts, width, height)
    _check_runs(counts, width, height)
    return bytes(mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)["counts"])


def check_rle(counts: str | bytes, width: int, height: int) -> bytes:
    """Return the compressed run lengths. Raise ValueError if they are not those of a width x height image."""
    text = counts.encode("utf-8", "replace") if isinstance(counts, str) else counts
    _check_runs(decode_runs(text), width, height)
    return text


def are_rles(counts: Sequence[bytes], pixels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each text (n,) is compressed run lengths of as many pixels (n,): `check_rle` of all at once."""
    length = np.array([len(one) for one in counts], dtype=np.int64)
    valid, some = pixels[: len(length)] == 0, np.flatnonzero(length)
    for rows in np.split(some, np.flatnonzero(np.diff(np.cumsum(length[some]) // _AT_ONCE)) + 1):
        if len(rows):
            valid[rows] = _check_part([counts[row] for row in rows.tolist()], length[rows], pixels[rows])
    return np.asarray(valid)


def _check_part(counts: Sequence[bytes], length: NDArray[np.int64], pixels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Check texts that are not empty."""
    bits = np.frombuffer(b"".join(counts), dtype=np.uint8) - np.uint8(_BIT)
    start = np.cumsum(length) - length
    is_end = (bits & _MORE) == 0
    is_cut = ~is_end[start + length - 1]
    is_end[start + length - 1] = True
    end = np.flatnonzero(is_end)
    first = np.searchsorted(end, start)  # the first number of each text
    begin = np.append(0, end[:-1] + 1)
    values = _join_digits(bits, begin, end)
    runs = _add_differences(values, first)
    is_bad = (end - begin >= _LONGEST_NUMBER) | (runs < 0)
    is_foreign = np.logical_or.reduceat(bits >= 2 * _MORE, start)
    is_short = np.add.reduceat(runs, first) != pixels
    return np.asarray(~(is_foreign | is_cut | is_short | np.logical_or.reduceat(is_bad, first)))


def _join_digits(bits: NDArray[np.uint8], begin: NDArray[np.intp], end: NDArray[np.intp]) -> NDArray[np.int64]:
    """Join the five bits of each character from `begin` to `end` (n,), low bits first; the last has the sign."""
    value = (bits[begin] & np.uint8(_MORE - 1)).astype(np.int64)
    shift = np.minimum(end - begin + 1, _LONGEST_NUMBER) * _CHUNK
    for place in range(1, _LONGEST_NUMBER):
        rows = np.flatnonzero(end - begin >= place)
        value[rows] |= (bits[begin[rows] + place] & np.uint8(_MORE - 1)).astype(np.int64) << (_CHUNK * place)
    negative = np.flatnonzero(bits[end] & _SIGN)
    value[negative] -= np.int64(1) << shift[negative]
    return value


def _add_differences(values: NDArray[np.int64], first: NDArray[np.intp]) -> NDArray[np.int64]:
    """Add to each number of a text, from its fourth on, the run before the last. first: the first number of each."""
    totals = values.copy()
    totals[first] = 0
    for parity in (0, 1):
        totals[parity::2] = np.cumsum(totals[parity::2])
    before = np.where(first > 0, totals[first - 1], 0)
    runs = totals
    bases = [np.where(first % 2 == parity, totals[first], before) for parity in (0, 1)]
    for parity, base in enumerate(bases):
        inside = np.diff((np.append(first, len(values)) + 1 - parity) // 2)
        runs[parity::2] -= np.repeat(base, inside)
    runs[first] = values[first]
    return runs


def to_mask(counts: bytes, width: int, height: int) -> NDArray[np.bool_]:
    """Return the pixels (H, W), bool, of checked run lengths; pycocotools' own decoder warns under numpy 2."""
    runs = decode_runs(counts)
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def decode_runs(counts: bytes) -> list[int]:
    """Decode compressed run lengths: 5 bits a character, low ones first, as differences from the run before the last.

    Raises ValueError for invalid text.
    """
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        bits = character - _BIT
        if not 0 <= bits < 2 * _MORE or shift >= _CHUNK * _LONGEST_NUMBER:
            raise ValueError("not compressed run lengths")
        value |= (bits & (_MORE - 1)) << shift
        shift += _CHUNK
        if bits & _MORE:
            continue
        value -= (1 << shift) if bits & _SIGN else 0
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("compressed run lengths end in the middle of a number")
    return runs


def _check_runs(runs: Any, width: int, height: int) -> None:
    if not isinstance(runs, list) or not all(type(run) is int and run >= 0 for run in runs):
        raise ValueError("run lengths must be whole numbers, 0 or more")
    if sum(runs) != width * height:
        raise ValueError(f"run lengths make {sum(runs)} pixels, but the image has {width * height}")


def _check_polygon(points: Any, width: int, height: int) -> list[float]:
    """Return a polygon whose corners lie at most one image side outside, and whose outline is short enough to trace."""
    if not isinstance(points, list) or len(points) < 6 or len(points) % 2:
        raise ValueError("a polygon needs three corners or more, as x, y, x, y ...")
    for axis, side in enumerate((width, height)):
        if not all(type(value) in (int, float) and -side <= value <= 2 * side for value in points[axis::2]):
            raise ValueError(f"a polygon's corners must be numbers within the {width}x{height} image")
    limit = width * height + 4 * (width + height)
    if len(points) * 3 * max(width, height) > 2 * limit and _outline_length(points) > limit:
        raise ValueError(f"a polygon's outline must not be longer than {limit} pixels")
    return points


def _outline_length(points: list[float]) -> float:
    """Return the length of a closed outline, in pixels."""
    corners = np.array(points, dtype=np.float64).reshape(-1, 2)
    return float(np.abs(corners - np.roll(corners, 1, axis=0)).max(axis=1).sum())
