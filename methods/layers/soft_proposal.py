"""Soft proposals (SPN, Zhu et al., ICCV 2017, Sec. 3.1): objectness of positions from their dissimilarity to others."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def dissimilarity(features: Tensor, epsilon: float) -> Tensor:
    """Compute D'_ij = |u_i - u_j| exp(-d_ij^2 / (2 epsilon^2)) (B, N, N) of features u (B, K, h, w), N = h * w.

    Positions are in row-major order and d_ij is their distance in cells. D' is symmetric; distances within rounding
    error are set to 0, so equal vectors have distance 0 exactly.
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
    """Compute the Gaussian (N, N) of distances between positions: a Kronecker product over rows and columns."""
    rows, columns = (torch.arange(side, dtype=torch.float64) for side in (height, width))
    down, across = ((-((axis[:, None] - axis) ** 2) / (2 * epsilon**2)).exp() for axis in (rows, columns))
    return torch.kron(down, across)


def stable_state(dissimilarities: Tensor) -> Tensor:
    """Compute M = rowsum(D') / sum(D') (B, N), the stable state of the random walk over D' (B, N, N).

    The closed form holds because D' is symmetric. If D' is bipartite (only two distinct feature vectors), the walk
    oscillates between two states, and M is their mean. M is uniform if D' is 0, and sums to 1.

    >>> stable_state(torch.tensor([[[0.0, 1.0, 1.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]]))
    tensor([[0.5000, 0.2500, 0.2500]])
    """
    rows = dissimilarities.sum(dim=2)
    total = rows.sum(dim=1, keepdim=True)
    return torch.where(total > 0, rows / total, 1 / rows.shape[1])


def walk(dissimilarities: Tensor, *, steps: int = 20, tolerance: float = 1e-4) -> Tensor:
    """Compute M (B, N) by at most `steps` of M <- D M, starting uniform (Eq. 1); D is D' (B, N, N), columns normalised.

    An image stops when a step would change M by less than `tolerance` (Euclidean norm). M is uniform if D' is 0.
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
