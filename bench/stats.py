"""How sure a number is: the image-level bootstrap, and the sums over images that it repeats.

A replicate draws as many images as the split has, with replacement. It is a row of weights (N,), how often each image
was drawn; the same seed gives the same draws, so that two results on the same images can be compared pairwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from bench.boxes import FloatArray

LEVEL = 0.95
"""Coverage of every interval."""

_CHUNK = 1 << 20
"""Weights held at once: bounds memory, not results."""

Metrics = dict[str, FloatArray]


def replicate_weights(images: int, replicates: int, seed: int) -> Iterator[FloatArray]:
    """Weights (b, N) of `replicates` bootstrap replicates in all, some at a time."""
    generator = np.random.default_rng(seed)
    at_once = max(1, _CHUNK // max(images, 1))
    for start in range(0, replicates, at_once):
        rows = min(at_once, replicates - start)
        drawn = generator.integers(0, images, (rows, images)) + np.arange(rows)[:, None] * images
        yield np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images).astype(np.float64)


def bootstrap(summarise: Callable[[FloatArray], Metrics], images: int, *, replicates: int, seed: int) -> Metrics:
    """Every metric under resampled images: `summarise` maps weights (b, N) to values (b, ...)."""
    parts = [summarise(weights) for weights in replicate_weights(images, replicates, seed)] if images else []
    return {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else ())}


def class_mean(values: FloatArray) -> FloatArray:
    """Mean (B,) over the defined classes of values (B, C); values (B,) stay. NaN where no class is defined."""
    if values.ndim == 1:
        return values
    defined = np.isfinite(values)
    count = defined.sum(axis=1)
    total = np.where(defined, values, 0.0).sum(axis=1)
    return np.asarray(np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0))


def interval(values: FloatArray) -> tuple[float, float] | None:
    """Percentile interval of replicates (B,), undefined ones left out; None if none is defined."""
    defined = values[np.isfinite(values)]
    if not len(defined):
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def totals(
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
