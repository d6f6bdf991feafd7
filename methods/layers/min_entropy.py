"""Global and local min-entropy of MELM (Wan et al., TPAMI 2019, Sec. 3.2.2 and 3.2.3), in logarithms.

Columns are classes, the paper's `y`; Eq. 6 weights a class against all others.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Kernel = Literal["iou", "printed"]


def clique_scores(scores: Tensor, clique: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the mean score of each clique, the exponent of Eq. 4.

    scores: (n, Y) of the members. clique: (n,) as `Cliques.clique`. Returns the distinct values of `clique` (K,),
    ascending, and the cliques' means (K, Y).
    """
    names = torch.unique(clique)
    belongs = (clique == names[:, None]).to(scores.dtype)
    return names, belongs @ scores / belongs.sum(dim=1, keepdim=True)


def joint_log_softmax(scores: Tensor) -> Tensor:
    """Compute log p(y, Hc) (K, Y) of Eq. 4 from mean scores (K, Y): one softmax over all cliques and classes.

    If each proposal is its own clique, this is log p(y, h), as differentiated in Eq. 18.

    >>> joint_log_softmax(torch.zeros(2, 2)).exp()
    tensor([[0.2500, 0.2500],
            [0.2500, 0.2500]])
    """
    return scores - scores.logsumexp(dim=(0, 1))


def weighted_log_p(means: Tensor) -> Tensor:
    """Compute log(w p(y, Hc)) (K, Y) of Eq. 5: Eq. 4 times the weight w = p(y, Hc) / sum_y p(y, Hc) of Eq. 6."""
    return joint_log_softmax(means) + means.log_softmax(dim=1)


def global_entropy(means: Tensor) -> Tensor:
    """Compute E = -log sum_c w p(y, Hc) (Y,) of Eq. 5 from mean scores (K, Y); w is differentiated too (Eq. 17)."""
    return -weighted_log_p(means).logsumexp(dim=0)


def absence(log_p: Tensor) -> Tensor:
    """Compute -sum_h log(1 - p(y, h)) (Y,), the second term of Eq. 7, from log p (R, Y).

    p is kept below 1 by its type's machine epsilon, because a single proposal of a single class has p = 1.
    """
    limit = -torch.finfo(log_p.dtype).eps
    return -torch.log(-torch.expm1(log_p.clamp(max=limit))).sum(dim=0)


def gaussian_kernel(overlap: Tensor, a: float) -> Tensor:
    """Compute g(h, h*) = exp(-a (1 - IoU)^2), below Eq. 10."""
    return torch.exp(-a * (1 - overlap) ** 2)


def neighbourhood_mean(p: Tensor, g: Tensor) -> Tensor:
    """Compute w_h p(y, h) (S,) of Eq. 10 as printed: the mean of p (S, R) weighted by g (S, R); 0 if all g are 0."""
    return (g * p).sum(dim=1) / g.sum(dim=1).clamp(min=torch.finfo(g.dtype).tiny)


def soft_labels(p: Tensor, overlap: Tensor, inside: Tensor, *, a: float, kernel: Kernel = "iou") -> Tensor:
    """Compute the detached soft labels t_h = w_h p(y, h) (S, R) of Eq. 9 and 10; 0 outside the neighbourhood.

    p: (S, R), probability of seed s's class at proposal h. overlap: (S, R), IoU with the seed h*. inside: (S, R) bool,
    whether h is in the seed's neighbourhood. `printed` is Eq. 10 as printed, which gives every h the same label; `iou`
    multiplies it by g(h, h*), so that labels decrease with the overlap, as described after Eq. 11.
    """
    g = gaussian_kernel(overlap, a) * inside
    return (neighbourhood_mean(p, g)[:, None] * (g if kernel == "iou" else inside)).detach()


def local_entropy(log_p: Tensor, labels: Tensor) -> Tensor:
    """Compute E = -sum_h t_h log p(y, h) (S,) of Eq. 9 and 11 from (S, R); its gradient with respect to p is -w_h."""
    return -(labels * log_p).sum(dim=1)


def entropy_around(log_p: Tensor, overlap: Tensor, *, radius: float, a: float, kernel: Kernel = "iou") -> Tensor:
    """Compute E of Eq. 9 (n,) with each proposal of a clique as h*, from log p(y, h) (n,) and overlaps (n, n).

    Eq. 8, taken literally, is the arg min of this E, which is smallest for p near 1 but also for p near 0.
    """
    labels = soft_labels(log_p.exp().expand_as(overlap), overlap, overlap >= radius, a=a, kernel=kernel)
    return local_entropy(log_p, labels)
