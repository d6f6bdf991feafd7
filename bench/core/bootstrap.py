"""How sure a number is: the image-level bootstrap, what it says of one number and of two, and the sums it repeats.

A replicate draws as many images as the split has, with replacement. It is a row of weights (N,), how often each image
was drawn; the same seed gives the same draws, so that two results on the same images can be compared pairwise.

Replicates are moved so that their mean is the number itself. A resampled split holds fewer different images, which
raises average precision: of a mean over 20 classes on 150 images, unmoved quantiles cover 82 % instead of 95 %. Of two
numbers, draws on which both agree stay at a difference of 0: moved, they would all fall on one side of it, by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from bench.core.boxes import FloatArray

LEVEL = 0.95
"""Coverage of every interval."""

_ROUNDING = 1e-12
"""Differences up to this are of the arithmetic."""

_CHUNK = 1 << 20
"""Weights held at once: bounds memory, not results."""

Metrics = dict[str, FloatArray]


def draw_weights(images: int, replicates: int, seed: int) -> Iterator[FloatArray]:
    """Weights (b, N) of `replicates` bootstrap replicates in all, some at a time."""
    generator = np.random.default_rng(seed)
    at_once = max(1, _CHUNK // max(images, 1))
    for start in range(0, replicates, at_once):
        rows = min(at_once, replicates - start)
        drawn = generator.integers(0, images, (rows, images)) + np.arange(rows)[:, None] * images
        yield np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images).astype(np.float64)


def bootstrap(summarise: Callable[[FloatArray], Metrics], images: int, *, replicates: int, seed: int) -> Metrics:
    """Every metric under resampled images: `summarise` maps weights (b, N) to values (b, ...)."""
    parts = [summarise(weights) for weights in draw_weights(images, replicates, seed)] if images else []
    return {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else ())}


def class_mean(values: FloatArray) -> FloatArray:
    """Mean (B,) over the defined classes of values (B, C); values (B,) stay. NaN where no class is defined."""
    if values.ndim == 1:
        return values
    defined = np.isfinite(values)
    count = defined.sum(axis=1)
    total = np.where(defined, values, 0.0).sum(axis=1)
    return np.asarray(np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0))


def interval(values: FloatArray, value: float) -> tuple[float, float] | None:
    """Interval of `value` from its replicates (B,), undefined ones left out; None if none is defined, or it is not."""
    return _quantile_interval(_centre(values, value))


def difference_interval(values: FloatArray, value: float) -> tuple[float, float] | None:
    """Interval of a difference of fractions from its replicates (B,); None as for `interval`."""
    found = _quantile_interval(_centre_difference(values, value))
    return found and (max(found[0], -1.0), min(found[1], 1.0))


def p_value(values: FloatArray, value: float) -> float | None:
    """Two-sided p-value of a difference, from its replicates (B,): could it be 0? None where it is undefined.

    Twice the smaller share of replicates on either side of 0, those at 0 on both, the split itself counted as one more
    (Davison and Hinkley, 1997, Section 4.2): under .05 where the interval leaves 0 out.
    """
    moved = _centre_difference(values, value)
    if not len(moved):
        return None
    tail = min((moved <= _ROUNDING).sum(), (moved >= -_ROUNDING).sum())
    return min(1.0, 2 * (float(tail) + 1) / (len(moved) + 1))


def rank_values(values: FloatArray, replicates: FloatArray) -> list[int]:
    """Rank of n numbers, higher ones better: 1 + how many are significantly better; (n,), and (n, B) from one draw.

    One is significantly better than another where it is higher and the p-value of their difference is under .05, which
    is asked of each pair alone. Neighbours within noise share a rank unless a third sets them apart.
    """
    enough = 2 / (replicates.shape[1] + 1) < 1 - LEVEL
    reach = np.ptp(replicates, axis=1) if enough else np.full(len(values), np.inf)

    def better(one: int, mine: int) -> bool:
        apart = float(values[one] - values[mine])
        if apart > reach[one] + reach[mine] + _ROUNDING:  # no replicate of the difference gets to 0
            return True
        return apart > 0 and _is_significant(replicates[one] - replicates[mine], apart)

    return [1 + sum(better(one, mine) for one in range(len(values))) for mine in range(len(values))]


def average_over_seeds(replicates: FloatArray) -> FloatArray:
    """Replicates (B,) of the mean over S seeds, from those of each (S, B) on the same images.

    Each draws seeds too, one fewer than there are, so that the mean varies with the seeds by their variance / S (Rao
    and Wu, JASA 1988); as many seeds give the same draws, so seeds are paired. One seed says nothing of other seeds.
    """
    seeds, count = replicates.shape
    if seeds == 1:
        return np.asarray(replicates[0])
    drawn = np.random.default_rng(seeds).integers(0, seeds, (seeds - 1, count))
    return np.asarray(np.take_along_axis(replicates, drawn, axis=0).mean(axis=0))


def _is_significant(values: FloatArray, value: float) -> bool:
    p = p_value(values, value)
    return p is not None and p < 1 - LEVEL


def _centre(values: FloatArray, value: float) -> FloatArray:
    defined = values[np.isfinite(values)]
    return defined - defined.mean() + value if len(defined) and np.isfinite(value) else defined[:0]


def _centre_difference(values: FloatArray, value: float) -> FloatArray:
    """Replicates of a difference, moved; those on which both agree are left at 0."""
    moved = _centre(values, value)
    return np.where(np.abs(values[np.isfinite(values)]) <= _ROUNDING, 0.0, moved) if len(moved) else moved


def _quantile_interval(values: FloatArray) -> tuple[float, float] | None:
    if not len(values):
        return None
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def count_by_class(
    weights: FloatArray,
    image: NDArray[np.integer],
    label: NDArray[np.integer],
    classes: int,
    keep: NDArray[np.bool_] | None = None,
) -> FloatArray:
    """How many rows (n,), of those kept, each class has under weights (B, N): (B, C)."""
    cell = image.astype(np.int64) * classes + label
    images = weights.shape[1]
    counts = np.bincount(cell if keep is None else cell[keep], minlength=images * classes)
    return np.asarray(weights @ counts.reshape(images, classes).astype(np.float64))


def ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    """`part / whole`, NaN where the whole is nothing."""
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0))
