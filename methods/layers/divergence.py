"""Divergent activation (DANet, Xue et al., ICCV 2019, Eq. 4): how alike the maps of one class are."""

from __future__ import annotations

import torch
from torch import Tensor


def pairwise_cosine(maps: Tensor) -> Tensor:
    """Compute the sum (...) over pairs k < k' of the cosine similarity of maps (..., K, h, w).

    A map of zeros is similar to no other.

    Of unit vectors u_k it is (|sum u_k|^2 - sum |u_k|^2) / 2: no pair is ever formed.
    """
    flat = maps.flatten(-2)
    unit = flat / torch.linalg.vector_norm(flat, dim=-1, keepdim=True).clamp(min=torch.finfo(flat.dtype).eps)
    twice: Tensor = unit.sum(dim=-2).square().sum(dim=-1) - unit.square().sum(dim=(-2, -1))
    return twice / 2
