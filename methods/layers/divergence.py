"""Divergent activation (DANet, Xue et al., ICCV 2019, Eq. 4): the similarity of the maps of one class."""

from __future__ import annotations

import torch
from torch import Tensor


def pairwise_cosine(maps: Tensor) -> Tensor:
    """Compute the sum (...) over pairs k < k' of the cosine similarity of maps (..., K, h, w).

    A map of zeros has similarity 0 to every other.

    For unit vectors u_k the sum is (|sum_k u_k|^2 - sum_k |u_k|^2) / 2, so no pair is formed explicitly.

    >>> pairwise_cosine(torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]], [[0.0, 3.0]]]))
    tensor(1.)
    """
    flat = maps.flatten(-2)
    unit = flat / torch.linalg.vector_norm(flat, dim=-1, keepdim=True).clamp(min=torch.finfo(flat.dtype).eps)
    twice: Tensor = unit.sum(dim=-2).square().sum(dim=-1) - unit.square().sum(dim=(-2, -1))
    return twice / 2
