"""Pooling of class maps to scores: negative evidence and generalised pooling (WELDON, Durand et al., TPAMI 2019)."""

from __future__ import annotations

import math

from torch import Tensor


def pool_negative_evidence(
    maps: Tensor, k_plus: float, k_minus: float, *, halve: bool = True, alpha: float = 1.0
) -> Tensor:
    """Pool maps (B, C, h, w) to scores (B, C): the mean of the k+ highest plus the k- lowest regions (Eq. 9-11).

    k >= 1 is a number of regions, capped at their total; 0 < k < 1 is a fraction of them. k- = 0 gives the mean of the
    highest regions only. halve: divide the sum by 2, as in Eq. 11, if k- > 0. alpha: weight of the lowest (WILDCAT).

    >>> import torch
    >>> pool_negative_evidence(torch.tensor([[[[4.0, 2.0], [0.0, -6.0]]]]), k_plus=2, k_minus=1)  # (3 - 6) / 2
    tensor([[-1.5000]])
    """
    regions = maps.flatten(2)
    highest = regions.topk(_count_regions(k_plus, regions), dim=2, sorted=False).values.mean(dim=2)
    if not k_minus:
        return highest
    lowest = regions.topk(_count_regions(k_minus, regions), dim=2, largest=False, sorted=False).values.mean(dim=2)
    total = highest + lowest if alpha == 1 else highest + alpha * lowest
    return total / 2 if halve else total


def _count_regions(k: float, regions: Tensor) -> int:
    number = regions.shape[2]
    return min(int(k), number) if k >= 1 else max(1, round(k * number))


def pool_generalised(maps: Tensor, beta_plus: float, beta_minus: float) -> Tensor:
    """Pool maps (B, C, h, w) to scores (B, C): the mean of the soft maxima at beta+ and beta- (Eq. 8).

    The soft maximum is log(mean(exp(beta s))) / beta: the mean at beta = 0, the maximum at inf, the minimum at -inf.
    Special cases: GAP (both 0), max pooling (both inf), MANTRA's (max + min) / 2 (inf and -inf), log-mean-exp or LSE
    (both equal and positive).

    >>> import torch
    >>> pool_generalised(torch.tensor([[[[4.0, 2.0], [0.0, -6.0]]]]), math.inf, -math.inf)
    tensor([[-1.]])
    """
    regions = maps.flatten(2)
    return (_soft_maximum(regions, beta_plus) + _soft_maximum(regions, beta_minus)) / 2


def _soft_maximum(regions: Tensor, beta: float) -> Tensor:
    if beta == 0:
        return regions.mean(dim=2)
    if math.isinf(beta):
        return regions.amax(dim=2) if beta > 0 else regions.amin(dim=2)
    return ((beta * regions).logsumexp(dim=2) - math.log(regions.shape[2])) / beta
