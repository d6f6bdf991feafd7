"""The structured ranking loss on average precision (WELDON Eq. 12-14), its inference exact (Yue et al., SIGIR 2007)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Pairs = Literal["sum", "mean"]


def ap_ranking_loss(scores: Tensor, labels: Tensor, *, pairs: Pairs = "sum") -> Tensor:
    """Mean over classes of max_y [1 - AP(y) + s(y)] - s(y*): y ranks the batch's images, y* is a right ranking.

    s(y) is the sum, over pairs of a positive and a negative image, of their difference in score, negated where y has
    the negative first (Eq. 12); `mean` divides it by the number of pairs, as Yue et al. do.
    scores: (B, C). labels: (B, C) in {+1, 0, -1}; 0 is left out, and so are classes without both kinds of images.

    The scores stand for all regions: choosing these decouples from ranking (Proposition 1) only where s_w pools as
    many highest as lowest ones, k+ = k-.
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
    first = loss_augmented(difference.detach(), weight)
    place = torch.arange(1, len(positive) + 1, device=positive.device, dtype=positive.dtype)
    precision = place / (place + first.sum(dim=0))
    return 1 - precision.mean() - 2 * weight * (difference * first).sum()


def loss_augmented(difference: Tensor, weight: float) -> Tensor:
    """Compute the worst ranking, argmax_y [1 - AP(y) + weight * s(y)].

    The result is (N, P) bool: whether negative j is ranked before positive i.

    difference: (N, P), scores of positives less those of negatives, both in descending order, in which any best y
    keeps them. Then each negative chooses its place for itself: the j-th one, moved up past the i-th positive, costs
    that one i/(i+j-1) - i/(i+j) of its precision.
    """
    negatives, positives = difference.shape
    j = torch.arange(1, negatives + 1, device=difference.device, dtype=difference.dtype)[:, None]
    i = torch.arange(1, positives + 1, device=difference.device, dtype=difference.dtype)
    gain = (i / (i + j - 1) - i / (i + j)) / positives - 2 * weight * difference
    past = gain.flip(1).cumsum(dim=1).flip(1)
    before = torch.cat([past, torch.zeros_like(past[:, :1])], dim=1).argmax(dim=1)
    return torch.arange(positives, device=difference.device) >= before[:, None]
