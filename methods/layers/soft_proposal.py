"""Soft proposals (Zhu et al., ICCV 2017, Sec. 3.1): objectness of a position, from how much it differs from others."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def dissimilarity(features: Tensor, epsilon: float) -> Tensor:
    """D' (B, N, N) between the N = h * w positions of features (B, K, h, w), in row-major order.

    The distance of two feature vectors times exp(-d^2 / (2 epsilon^2)), d being the distance of their positions in
    cells. Symmetric; distances too small to be told from rounding are 0, so equal vectors have exactly none.
    """
    flat = features.flatten(2).transpose(1, 2)
    flat = flat if flat.dtype == torch.float64 else flat.float()
    with torch.autocast(flat.device.type, enabled=False):
        flat = flat - flat.mean(dim=1, keepdim=True)
        lengths = flat.square().sum(dim=2)
        scale = lengths[:, :, None] + lengths[:, None]
        squares = torch.baddbmm(scale, flat, flat.transpose(1, 2), alpha=-2)
        noise = 4 * torch.finfo(flat.dtype).eps * flat.shape[2] ** 0.5
        squares.masked_fill_(squares <= noise * scale, 0)
        return squares.sqrt_().mul_(_nearness(features.shape[2], features.shape[3], epsilon).to(squares))


def _nearness(height: int, width: int, epsilon: float) -> Tensor:
    """L (N, N) of the positions of a map: a Gaussian of their distance, which is one of rows times one of columns."""
    rows, columns = (torch.arange(side, dtype=torch.float64) for side in (height, width))
    down, across = ((-((one[:, None] - one) ** 2) / (2 * epsilon**2)).exp() for one in (rows, columns))
    return torch.kron(down, across)


def stable_state(dissimilarities: Tensor) -> Tensor:
    """M (B, N), summing to 1, to which the random walk over D' (B, N, N) converges.

    D' is symmetric, so with columns normalised its stable state is rowsum(D') / sum(D'). Where the walk does not
    converge, because D' is bipartite (positions of two kinds only: it oscillates for ever), this is the mean of its
    two states. Uniform where D' is 0.
    """
    rows = dissimilarities.sum(dim=2)
    total = rows.sum(dim=1, keepdim=True)
    return torch.where(total > 0, rows / total, 1 / rows.shape[1])


def walk(dissimilarities: Tensor, *, steps: int = 20, tolerance: float = 1e-4) -> Tensor:
    """M (B, N) after at most `steps` of M <- D M from uniform (Eq. 1); D is D' (B, N, N) with columns summing to 1.

    An image stops when a step would move M by less than `tolerance` (Euclidean). Uniform where D' is 0.
    """
    columns = dissimilarities.sum(dim=1, keepdim=True)
    transfer = dissimilarities / columns.clamp(min=torch.finfo(columns.dtype).tiny)
    state = torch.full_like(columns, 1 / columns.shape[2]).transpose(1, 2)
    moving = (columns.sum(dim=2) > 0)[:, :, None]
    for _ in range(steps):
        with torch.autocast(transfer.device.type, enabled=False):
            moved = transfer @ state
        moving = moving & (torch.linalg.vector_norm(moved - state, dim=1, keepdim=True) >= tolerance)
        if not moving.any():
            break
        state = torch.where(moving, moved, state)
    return state[:, :, 0]
