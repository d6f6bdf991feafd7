"""Boxes on the device: overlaps, and the order that makes a result independent of the order of the proposals."""

from __future__ import annotations

import torch
from torch import Tensor


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union (..., N, M) of boxes (..., N, 4) and (..., M, 4); 0 where the union is empty.

    Half-open corners, as `bench.boxes.iou`; differs from torchvision's by its batches and by not being NaN at 0 / 0.
    """
    one, two = _sides(a, dim=-1), _sides(b, dim=-2)
    width = torch.minimum(one[2], two[2]).sub_(torch.maximum(one[0], two[0])).clamp_(min=0)
    height = torch.minimum(one[3], two[3]).sub_(torch.maximum(one[1], two[1])).clamp_(min=0)
    shared = width.mul_(height)
    union = (_area(one) + _area(two)).sub_(shared)
    return shared.div_(union.clamp_(min=torch.finfo(union.dtype).tiny))


def canonical_order(boxes: Tensor) -> Tensor:
    """Indices (R,) that sort boxes (R, 4) by x1, then y1, x2, y2: equal for every permutation of the same boxes."""
    order = torch.arange(len(boxes), device=boxes.device)
    for column in (3, 2, 1, 0):
        order = order[boxes[order, column].argsort(stable=True)]
    return order


def ranked(boxes: Tensor, scores: Tensor) -> Tensor:
    """Indices (..., R) of proposals by score (..., R), best first; equal scores by the boxes' coordinates, (R, 4)."""
    order = canonical_order(boxes)
    return order[scores[..., order].argsort(dim=-1, descending=True, stable=True)]


def _sides(boxes: Tensor, dim: int) -> tuple[Tensor, ...]:
    """x1, y1, x2, y2, each whole in memory, with a dimension to broadcast over."""
    return boxes.movedim(-1, 0).contiguous().unsqueeze(dim).unbind()


def _area(sides: tuple[Tensor, ...]) -> Tensor:
    return (sides[2] - sides[0]).clamp(min=0) * (sides[3] - sides[1]).clamp(min=0)
