"""From a class's map to its score: negative evidence, and the family of poolings that it stands in (WELDON)."""

from __future__ import annotations

import math

from torch import Tensor


def negative_evidence(maps: Tensor, k_plus: float, k_minus: float, *, halve: bool = True) -> Tensor:
    """Scores (B, C) of maps (B, C, h, w): the mean of the k+ highest regions plus that of the k- lowest (Eq. 9-11).

    A k from 1 on is a number of regions, at most all of them; between 0 and 1 it is a share of them. k- = 0 gives the
    mean of the highest alone. halve: Eq. 11's one half, where there is a k-.
    """
    regions = maps.flatten(2)
    highest = regions.topk(_count(k_plus, regions), dim=2, sorted=False).values.mean(dim=2)
    if not k_minus:
        return highest
    lowest = regions.topk(_count(k_minus, regions), dim=2, largest=False, sorted=False).values.mean(dim=2)
    return (highest + lowest) / 2 if halve else highest + lowest


def _count(k: float, regions: Tensor) -> int:
    number = regions.shape[2]
    return min(int(k), number) if k >= 1 else max(1, round(k * number))


def generalised(maps: Tensor, beta_plus: float, beta_minus: float) -> Tensor:
    """Scores (B, C) of maps (B, C, h, w) by Eq. 8: half the soft maximum at beta+ plus half that at beta-.

    A soft maximum is log(mean(exp(beta s))) / beta: the mean for beta 0, the maximum for inf, the minimum for -inf.
    Both 0 is GAP, both inf max pooling, inf and -inf MANTRA's (max + min) / 2, both b > 0 log-mean-exp (LSE).
    """
    regions = maps.flatten(2)
    return (_soft_maximum(regions, beta_plus) + _soft_maximum(regions, beta_minus)) / 2


def _soft_maximum(regions: Tensor, beta: float) -> Tensor:
    if beta == 0:
        return regions.mean(dim=2)
    if math.isinf(beta):
        return regions.amax(dim=2) if beta > 0 else regions.amin(dim=2)
    return ((beta * regions).logsumexp(dim=2) - math.log(regions.shape[2])) / beta
