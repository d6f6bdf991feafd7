"""COCO's matching: which detections find an object, at ten IoUs and in four ranges of size, all images at once.

In each image and class, up to 100 detections choose in the order of their scores, each among the free objects that it
overlaps enough: objects to be found before those to be ignored, then the largest overlap, then the last of equals.
Crowd regions and objects outside the size range are ignored, and so are detections that find them, or that find nothing
and are themselves outside the range. Any number may find a crowd region (pycocotools, `COCOeval.evaluateImg`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.core.boxes import FloatArray, area, to_coco
from bench.data.ground_truth import GroundTruth
from bench.predictions.table import ResolvedPredictions
from bench.scoring.average_precision import rank_within_images

IOUS = np.linspace(0.5, 0.95, 10)
EVERY_IOU = np.uint16((1 << len(IOUS)) - 1)
"""The bits of all IoUs."""
_BIT = (1 << np.arange(len(IOUS))).astype(np.uint16)
SIZES = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Square pixels of an object or a detection, both ends included."""
MOST = 100
"""The most detections of an image and class that count."""

_PAIRS = 1 << 18
"""Pairs of a detection and an object processed at once: limits memory, does not change results."""

Flags = NDArray[np.bool_]
Integers = NDArray[np.integer]
Overlaps = Callable[[Integers, Integers], FloatArray]
"""From rows of detections (p,) and objects (p,) to their overlaps (p,). A group, a class in an image, is passed whole:
its first detection with each of its objects, then its second with the same objects ..."""


class Things(NamedTuple):
    """Objects to find. wanted: (m, sizes), neither crowd nor out of range. crowd: (m,)."""

    wanted: Flags
    crowd: Flags


class Matches(NamedTuple):
    """Matches of n detections. place: (n,), rank in image and class, from 0. hit, ignored: (n, sizes), a bit per IoU.

    thing: (n,), the object that each found at the first IoU, of any size; -1 if none.
    """

    place: Integers
    hit: Integers
    ignored: Integers
    thing: Integers


def collect_things(truth: GroundTruth) -> Things:
    """Collect the objects of a ground truth."""
    o = truth.objects
    crowd = np.zeros(len(o), dtype=np.bool_) if o.crowd is None else o.crowd
    return Things(~(is_outside(area(o.box) if o.area is None else o.area) | crowd[:, None]), crowd)


def is_outside(size: FloatArray) -> Flags:
    """Return which sizes (n,) lie outside each range, (n, sizes)."""
    low, high = np.array(list(SIZES.values())).T
    return np.asarray((size[:, None] < low) | (size[:, None] > high))


def match(truth: GroundTruth, found: ResolvedPredictions, size: FloatArray, overlaps: Overlaps) -> Matches:
    """Match detections of `size` (n,) square pixels; those beyond the first `MOST` of a group find nothing."""
    key, thing_key = (truth.pair(rows.image, rows.label) for rows in (found, truth.objects))
    place = rank_within_images(key, np.zeros_like(key), found.score)
    hit, ignored = np.zeros((2, len(key), len(SIZES)), dtype=np.uint16)
    matches = Matches(place, hit, ignored, np.full(len(key), -1, dtype=np.int64))
    things = collect_things(truth)
    taken = np.zeros((*things.wanted.shape, len(IOUS)), dtype=np.bool_)
    for row, thing in _group_pairs(key, thing_key, place < MOST):
        overlap = overlaps(row, thing)
        rows = np.flatnonzero(overlap >= IOUS[0])
        rows = rows[np.lexsort((thing[rows], overlap[rows], row[rows], place[row[rows]]))]
        turns = np.flatnonzero(np.diff(place[row[rows]])) + 1
        for turn in np.split(rows, turns) if len(rows) else ():
            _choose(row[turn], thing[turn], overlap[turn], things, matches, taken)
    ignored |= np.where(is_outside(size), EVERY_IOU & ~hit, 0)
    return matches


def _choose(
    row: Integers, thing: Integers, overlap: FloatArray, things: Things, matches: Matches, taken: Flags
) -> None:
    """Match all detections of one rank at once, as they are of different groups. Pairs are sorted by row, best last."""
    free = (overlap[:, None, None] >= IOUS) & ~taken[thing]
    rank = np.arange(1, len(row) + 1)[:, None] + len(row) * things.wanted[thing]
    wish = np.where(free, rank[:, :, None], 0)
    first = np.flatnonzero(np.diff(row, prepend=-1))
    best = np.repeat(np.maximum.reduceat(wish, first), np.diff(first, append=len(row)), axis=0)
    pair, size, iou = np.nonzero(free & (wish == best))
    mine, theirs = row[pair], thing[pair]
    wanted = things.wanted[theirs, size]
    for bits, these in ((matches.hit, wanted), (matches.ignored, ~wanted)):
        np.bitwise_or.at(bits, (mine[these], size[these]), _BIT[iou[these]])
    taken[theirs, size, iou] = ~things.crowd[theirs]
    first = (size == 0) & (iou == 0)
    matches.thing[mine[first]] = theirs[first]


def box_overlaps(truth: GroundTruth, found: ResolvedPredictions) -> Overlaps:
    """IoU of boxes as from `x, y, width, height`, to the last bit; for a crowd region, intersection over detection."""
    mine, theirs, crowd = to_coco(found.box), to_coco(truth.objects.box), collect_things(truth).crowd

    def overlaps(row: Integers, thing: Integers) -> FloatArray:
        a, b = mine[row], theirs[thing]
        with np.errstate(over="ignore", invalid="ignore"):  # a file may have corners of any size
            sides = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
            shared = np.where((sides > 0).all(axis=1), sides.prod(axis=1), 0.0)
            own = a[:, 2:].prod(axis=1)
            union = np.where(crowd[thing], own, own + b[:, 2:].prod(axis=1) - shared)
            return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0))

    return overlaps


def mask_sizes(masks: list[Any]) -> FloatArray:
    """Return the areas (n,), in square pixels, of masks given as hotcoco's run lengths."""
    from hotcoco import mask

    return np.asarray(mask.area(masks), dtype=np.float64).reshape(-1)


def mask_overlaps(truth: GroundTruth, mine: list[Any], theirs: list[Any]) -> Overlaps:
    """IoU of masks given as hotcoco's run lengths; for a crowd region, intersection over detection."""
    from hotcoco import mask

    crowd, o = collect_things(truth).crowd, truth.objects

    def overlaps(row: Integers, thing: Integers) -> FloatArray:
        groups = np.flatnonzero(np.diff(truth.pair(o.image[thing], o.label[thing]), prepend=-1))
        found = [np.zeros(0)]
        for start, end in pairwise([*groups, len(row)]):
            mates = thing[start:end][row[start:end] == row[start]]
            masks = [mine[one] for one in row[start : end : len(mates)]]
            found.append(mask.iou(masks, [theirs[one] for one in mates], crowd[mates].tolist()).ravel())
        return np.concatenate(found)

    return overlaps


def _group_pairs(key: Integers, thing_key: Integers, keep: Flags) -> Iterator[tuple[Integers, Integers]]:
    """Yield kept detections paired with all objects of the same key, about `_PAIRS` at once, never splitting a key."""
    by_key = np.argsort(thing_key, kind="stable")
    first, last = (np.searchsorted(thing_key[by_key], key, side=side) for side in ("left", "right"))
    rows = np.flatnonzero(keep & (last > first))
    rows = rows[np.argsort(key[rows], kind="stable")]
    groups = np.flatnonzero(np.diff(key[rows], prepend=-1))
    part = np.cumsum(last[rows] - first[rows])[groups] // _PAIRS
    for piece in np.split(rows, groups[1:][np.diff(part) > 0]):
        count = last[piece] - first[piece]
        start = np.cumsum(count) - count
        yield np.repeat(piece, count), by_key[np.arange(count.sum()) + np.repeat(first[piece] - start, count)]
