"""Structured loss of average-precision ranking (WELDON, Eq. 12-14), with exact inference (Yue et al., SIGIR 2007)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Pairs = Literal["sum", "mean"]


def ap_ranking_loss(scores: Tensor, labels: Tensor, *, pairs: Pairs = "sum") -> Tensor:
    """Compute the mean over classes of max_y [1 - AP(y) + s(y)] - s(y*) (Eq. 14).

    y is a ranking of the batch's images and y* a correct one. s(y) is the sum, over pairs of a positive and a negative
    image, of their score difference, negated if y ranks the negative first (Eq. 12); `mean` divides it by the number
    of pairs, as Yue et al. do.
    scores: (B, C). labels: (B, C) in {+1, 0, -1}; 0 is left out, as are classes without both positives and negatives.

    The scores are already pooled over regions. The choice of regions is independent of the ranking (Proposition 1) only
    if s_w pools equally many highest and lowest regions, k+ = k-.

    >>> ap_ranking_loss(torch.tensor([[9.0], [-9.0]]), torch.tensor([[1], [-1]]))
    tensor(0.)
    """
    losses = [
        _hinge(scores[labels[:, c] > 0, c], scores[labels[:, c] < 0, c], pairs)
        for c in range(scores.shape[1])
        if (labels[:, c] > 0).any() and (labels[:, c] < 0).any()
    ]
    return torch.stack(losses).mean() if losses else scores.sum() * 0


def _hinge(positive: Tensor, negative: Tensor, pairs: Pairs) -> Tensor:
    """Compute the loss of one class from the scores of its positives (P,) and negatives (N,)."""
    weight = 1.0 if pairs == "sum" else 1 / (len(positive) * len(negative))
    positive, negative = positive.sort(descending=True).values, negative.sort(descending=True).values
    difference = positive - negative[:, None]
    is_before = find_worst_ranking(difference.detach(), weight)
    rank = torch.arange(1, len(positive) + 1, device=positive.device, dtype=positive.dtype)
    precision = rank / (rank + is_before.sum(dim=0))
    return 1 - precision.mean() - 2 * weight * (difference * is_before).sum()


def find_worst_ranking(difference: Tensor, weight: float) -> Tensor:
    """Compute the worst ranking, argmax_y [1 - AP(y) + weight * s(y)].

    The result is (N, P) bool: whether negative j is ranked before positive i.

    difference: (N, P), scores of positives minus scores of negatives, each in descending order. Every optimal y keeps
    these orders, so the rank of each negative can be chosen independently: moving the j-th negative above the i-th
    positive lowers the precision at that positive by i/(i+j-1) - i/(i+j).
    """
    negatives, positives = difference.shape
    j = torch.arange(1, negatives + 1, device=difference.device, dtype=difference.dtype)[:, None]
    i = torch.arange(1, positives + 1, device=difference.device, dtype=difference.dtype)
    gain = (i / (i + j - 1) - i / (i + j)) / positives - 2 * weight * difference
    past = gain.flip(1).cumsum(dim=1).flip(1)
    before = torch.cat([past, torch.zeros_like(past[:, :1])], dim=1).argmax(dim=1)
    return torch.arange(positives, device=difference.device) >= before[:, None]
