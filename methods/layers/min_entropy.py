"""MELM's global and local min-entropy (Sec. 3.2.2, 3.2.3), in logarithms.

Classes are columns. `y` of the paper runs over them: its Eq. 6 weighs a class against all others.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Kernel = Literal["iou", "printed"]


def clique_scores(scores: Tensor, clique: Tensor) -> tuple[Tensor, Tensor]:
    """Mean score of each clique, the exponent of Eq. 4.

    scores: (n, Y) of the members. clique: (n,) as `Cliques.clique`. Returns the cliques' names (K,), ascending, and
    their means (K, Y).
    """
    names = torch.unique(clique)
    belongs = (clique == names[:, None]).to(scores.dtype)
    return names, belongs @ scores / belongs.sum(dim=1, keepdim=True)


def joint_log_softmax(scores: Tensor) -> Tensor:
    """log p(y, Hc) of Eq. 4 from mean scores (K, Y): one softmax over cliques and classes together.

    With a clique a proposal it is log p(y, h), as Eq. 18 differentiates it.
    """
    return scores - scores.logsumexp(dim=(0, 1))


def weighted_log_p(means: Tensor) -> Tensor:
    """log(w p(y, Hc)) of Eq. 5 (K, Y): Eq. 4 and its share among the classes of the clique, Eq. 6."""
    return joint_log_softmax(means) + means.log_softmax(dim=1)


def global_entropy(means: Tensor) -> Tensor:
    """E of Eq. 5 for each class (Y,), from mean scores (K, Y); the weight is differentiated too, as in Eq. 17."""
    return -weighted_log_p(means).logsumexp(dim=0)


def absence(log_p: Tensor) -> Tensor:
    """-sum over h of log(1 - p(y, h)), the second term of Eq. 7, for each class (Y,), from log p (R, Y).

    p is kept below 1 by the precision of its type: a lone proposal of a lone class has p = 1.
    """
    limit = -torch.finfo(log_p.dtype).eps
    return -torch.log(-torch.expm1(log_p.clamp(max=limit))).sum(dim=0)


def gaussian_kernel(overlap: Tensor, a: float) -> Tensor:
    """g(h, h*) = exp(-a (1 - IoU)^2), below Eq. 10."""
    return torch.exp(-a * (1 - overlap) ** 2)


def neighbourhood_mean(p: Tensor, g: Tensor) -> Tensor:
    """w_h p(y, h) of Eq. 10 to the letter (S,): the mean of p (S, R) weighted by g (S, R); 0 where all g are 0."""
    return (g * p).sum(dim=1) / g.sum(dim=1).clamp(min=torch.finfo(g.dtype).tiny)


def soft_labels(p: Tensor, overlap: Tensor, inside: Tensor, *, a: float, kernel: Kernel = "iou") -> Tensor:
    """t_h = w_h p(y, h) of Eq. 9 and 10 (S, R), a constant for the gradient; 0 outside the neighbourhood.

    p: (S, R), probability of seed s's class at proposal h. overlap: (S, R), IoU with the seed h*. inside: (S, R) bool,
    whether h is in the seed's neighbourhood. `printed` is Eq. 10 to the letter, which gives every h the same label;
    `iou` multiplies it by g(h, h*), so that labels fall with the overlap, as the text after Eq. 11 says.
    """
    g = gaussian_kernel(overlap, a) * inside
    return (neighbourhood_mean(p, g)[:, None] * (g if kernel == "iou" else inside)).detach()


def local_entropy(log_p: Tensor, labels: Tensor) -> Tensor:
    """E of Eq. 9 and 11 for each seed (S,): -sum over h of t_h log p(y, h), from (S, R); its gradient by p is -w_h."""
    return -(labels * log_p).sum(dim=1)


def entropy_around(log_p: Tensor, overlap: Tensor, *, radius: float, a: float, kernel: Kernel = "iou") -> Tensor:
    """E of Eq. 9 (n,) as if each proposal of a clique were h*, from log p(y, h) (n,) and overlaps (n, n).

    Eq. 8 to the letter is its arg min. It is least where p is near 1, and near 0 as well.
    """
    labels = soft_labels(log_p.exp().expand_as(overlap), overlap, overlap >= radius, a=a, kernel=kernel)
    return local_entropy(log_p, labels)
