"""Image-level bootstrap: confidence intervals, p-values and ranks, and the weighted sums that replicates need.

A replicate draws as many images as the split has, with replacement. It is a row of weights (N,), the number of times
each image was drawn. The same seed gives the same draws, so two results on the same images can be compared pairwise.

Shapes: B replicates, b replicates in one chunk, N images, C classes, S seeds; see docs/conventions.md.

The interval of a metric is for its value in the population that the images were drawn from. Average precision and a
best threshold are biased upwards, since they take the best of noisy values: the fewer images, the more. Replicates have
twice the noise variance, so the excess of their mean over the value estimates the value's bias: the bias equals the
excess if it grows as the variance, is 2.4 times that if it grows as the standard deviation, and up to 3.6 times in
simulations. An interval spans corrections by one to three times the excess. Its coverage is 92 to 99 % for every metric
except those of object sizes that a split hardly has; that of a percentile interval about the value can be as low as
61 % (docs/intervals.md).

Replicates of a difference are shifted so that their mean is the measured difference: the biases of the two results are
alike. Draws on which both agree stay at 0: shifted, they would all fall on one side by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bench.core.boxes import FloatArray

LEVEL = 0.95
"""Coverage of every interval."""

_BIAS = (1.0, 3.0)
"""The bias of a value lies between these multiples of the excess of its replicates' mean over it."""

ROUNDING = 1e-12
"""Differences up to this are rounding errors."""

_CHUNK = 1 << 20
"""Weights held at once: bounds memory, not results."""

_BLOCK = 64
"""Differences whose replicates are counted at once: they fit in a processor's cache."""

Metrics = dict[str, FloatArray]


def draw_weights(images: int, replicates: int, seed: int) -> Iterator[FloatArray]:
    """Yield the weights (b, N), float64, read-only, of `replicates` bootstrap replicates, in chunks of bounded size."""
    chunk = max(1, _CHUNK // max(images, 1))
    if 0 < replicates <= chunk:
        yield _draw_once(images, replicates, seed)
        return
    generator = np.random.default_rng(seed)
    for start in range(0, replicates, chunk):
        yield _draw(generator, min(chunk, replicates - start), images)


@lru_cache(maxsize=4)
def _draw_once(images: int, replicates: int, seed: int) -> FloatArray:
    """Draw all replicates at once, cached, since all results on the same images share them."""
    return _draw(np.random.default_rng(seed), replicates, images)


def _draw(generator: np.random.Generator, rows: int, images: int) -> FloatArray:
    draws = generator.integers(0, images, (rows, images)) + np.arange(rows)[:, None] * images
    weights = np.bincount(draws.ravel(), minlength=rows * images).reshape(rows, images).astype(np.float64)
    weights.flags.writeable = False
    return weights


def bootstrap(summarise: Callable[[FloatArray], Metrics], images: int, *, replicates: int, seed: int) -> Metrics:
    """Compute every metric on resampled images: `summarise` maps weights (b, N) to values (b, ...)."""
    parts = [summarise(weights) for weights in draw_weights(images, replicates, seed)] if images else []
    return {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else ())}


def class_mean(values: FloatArray) -> FloatArray:
    """Return the mean (B,) over the defined classes of values (B, C); values (B,) are returned unchanged.

    The mean is NaN where no class is defined.
    """
    if values.ndim == 1:
        return values
    defined = np.isfinite(values)
    count = defined.sum(axis=1)
    total = np.where(defined, values, 0.0).sum(axis=1)
    return np.asarray(np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0))


def interval(values: FloatArray, value: float) -> tuple[float, float] | None:
    """Return the confidence interval of a fraction from its replicates (B,), corrected for bias; it holds `value`.

    Undefined replicates are left out. None if `value` or every replicate is undefined.
    """
    bounds = centred_interval(values, value)
    if bounds is None:
        return None
    bias = float(values[np.isfinite(values)].mean()) - value
    shifts = [multiple * bias for multiple in _BIAS]
    return min(max(bounds[0] - max(shifts), 0.0), value), max(min(bounds[1] - min(shifts), 1.0), value)


def centred_interval(values: FloatArray, value: float) -> tuple[float, float] | None:
    """Return the quantile interval about `value` of its replicates (B,), as weakloc 0.1 recorded; None as above."""
    return _quantile_interval(_centre(values, value))


def difference_interval(values: FloatArray, value: float) -> tuple[float, float] | None:
    """Return the confidence interval of a difference of fractions, from its replicates (B,), clipped to [-1, 1].

    None as for `interval`.
    """
    bounds = _quantile_interval(_centre_difference(values, value))
    return bounds and (max(bounds[0], -1.0), min(bounds[1], 1.0))


def p_value(values: FloatArray, value: float) -> float | None:
    """Compute the two-sided p-value that a difference is 0, from its replicates (B,); None where it is undefined.

    Twice the smaller share of replicates on either side of 0, where replicates at 0 count on both sides and the sample
    itself counts as one more (Davison and Hinkley, 1997, Section 4.2). It is below .05 where the interval excludes 0.
    """
    shifted = _centre_difference(values, value)
    if not len(shifted):
        return None
    smaller_side = min((shifted <= ROUNDING).sum(), (shifted >= -ROUNDING).sum())
    return min(1.0, 2 * (float(smaller_side) + 1) / (len(shifted) + 1))


def rank_values(values: FloatArray, replicates: FloatArray) -> list[int]:
    """Rank n values (n,), higher is better, as 1 + the number of significantly better ones.

    replicates: (n, B), from the same draws. One value is significantly better than another if it is higher and the
    p-value of their difference is below .05. Each pair is tested on its own. Neighbours within noise share a rank
    unless a third value separates them.
    """
    if 2 / (replicates.shape[1] + 1) >= 1 - LEVEL:
        return [1] * len(values)  # too few replicates for any significant difference
    extent = np.ptp(replicates, axis=1)
    return [1 + _count_better(each, values, replicates, extent) for each in range(len(values))]


def _count_better(each: int, values: FloatArray, replicates: FloatArray, extent: FloatArray) -> int:
    """Count the values significantly better than value `each`. extent: (n,), the range of each value's replicates."""
    differences = values - values[each]
    is_clear = differences > extent + extent[each] + ROUNDING  # no replicate of the difference reaches 0
    unclear = np.flatnonzero((differences > 0) & ~is_clear)
    return int(is_clear.sum()) + sum(
        _count_significant(replicates[some] - replicates[each], differences[some])
        for some in np.array_split(unclear, len(unclear) // _BLOCK + 1)
    )


def _count_significant(replicates: FloatArray, values: FloatArray) -> int:
    """Count the differences (n,) above 0 whose `p_value` is below .05, from their replicates (n, B).

    Where at most half of the replicates are below 0, they are the smaller side.
    """
    shift = values - replicates.mean(axis=1)
    is_below = replicates <= (ROUNDING - shift)[:, None]
    raised = shift > 0
    is_below[raised] |= np.abs(replicates[raised]) <= ROUNDING  # as in `_centre_difference`
    below, draws = np.count_nonzero(is_below, axis=1), replicates.shape[1]
    is_usual = np.isfinite(shift) & (below <= draws / 2)
    others = map(p_value, replicates[~is_usual], values[~is_usual])
    unlikely = int((2 * (below[is_usual] + 1.0) / (draws + 1) < 1 - LEVEL).sum())
    return unlikely + sum(p is not None and p < 1 - LEVEL for p in others)


def average_over_seeds(replicates: FloatArray) -> FloatArray:
    """Return replicates (B,) of the mean over S seeds, from each seed's replicates (S, B) on the same images.

    Each replicate also resamples S - 1 of the S seeds, so that the mean varies with the seeds by their variance / S
    (Rao and Wu, JASA 1988). The same S gives the same draws, so results are paired by seed. With one seed, no
    variation between seeds is included.
    """
    seeds, count = replicates.shape
    if seeds == 1:
        return np.asarray(replicates[0])
    draws = np.random.default_rng(seeds).integers(0, seeds, (seeds - 1, count))
    return np.asarray(np.take_along_axis(replicates, draws, axis=0).mean(axis=0))


def _centre(values: FloatArray, value: float) -> FloatArray:
    defined = values[np.isfinite(values)]
    return defined - defined.mean() + value if len(defined) and np.isfinite(value) else defined[:0]


def _centre_difference(values: FloatArray, value: float) -> FloatArray:
    """Shift replicates of a difference; those on which both results agree stay at 0."""
    shifted = _centre(values, value)
    return np.where(np.abs(values[np.isfinite(values)]) <= ROUNDING, 0.0, shifted) if len(shifted) else shifted


def _quantile_interval(values: FloatArray) -> tuple[float, float] | None:
    if not len(values):
        return None
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="weibull")  # as `p_value` counts
    return float(low), float(high)


def count_by_class(
    weights: FloatArray,
    image: NDArray[np.integer],
    label: NDArray[np.integer],
    classes: int,
    keep: NDArray[np.bool_] | None = None,
) -> FloatArray:
    """Count the rows (n,) of each class, or those where `keep` (n,) is true, under weights (B, N): (B, C).

    image: (n,) image indices. label: (n,) class indices.
    """
    cell = image.astype(np.int64) * classes + label
    images = weights.shape[1]
    counts = np.bincount(cell if keep is None else cell[keep], minlength=images * classes)
    return np.asarray(weights @ counts.reshape(images, classes).astype(np.float64))


def ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Divide `part` by `whole`; NaN where `whole` is 0."""
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0))
