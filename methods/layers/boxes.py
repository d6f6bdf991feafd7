"""Boxes on the device: IoU, and an order that makes results independent of the order of the proposals."""

from __future__ import annotations

import torch
from torch import Tensor


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Compute the intersection over union (..., N, M) of boxes (..., N, 4) and (..., M, 4).

    Corners are half-open, in pixels, as in `bench.core.boxes.iou`. Unlike torchvision's, it accepts batches, and it is
    0 rather than NaN for an empty union.

    >>> iou(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 0.0, 3.0, 2.0], [5.0, 5.0, 6.0, 6.0]]))
    tensor([[0.3333, 0.0000]])
    """
    a_sides, b_sides = _split_sides(a, dim=-1), _split_sides(b, dim=-2)
    width = torch.minimum(a_sides[2], b_sides[2]).sub_(torch.maximum(a_sides[0], b_sides[0])).clamp_(min=0)
    height = torch.minimum(a_sides[3], b_sides[3]).sub_(torch.maximum(a_sides[1], b_sides[1])).clamp_(min=0)
    shared = width.mul_(height)
    union = (_area(a_sides) + _area(b_sides)).sub_(shared)
    return shared.div_(union.clamp_(min=torch.finfo(union.dtype).tiny))


def canonical_order(boxes: Tensor) -> Tensor:
    """Return indices (R,) that sort boxes (R, 4) by x1, then y1, x2, y2, and any further columns.

    The sorted boxes do not depend on the order of the input.
    """
    order = torch.arange(len(boxes), device=boxes.device)
    for column in reversed(range(boxes.shape[1])):
        order = order[boxes[order, column].argsort(stable=True)]
    return order


def select_best(boxes: Tensor, scores: Tensor, top: int) -> Tensor:
    """Return indices (..., top) of the best proposals by score (..., R), best first.

    Equal scores are ordered by the boxes' coordinates.

    boxes: (R, 4). If R <= top, all are returned. Only boxes that can be among the best are sorted.
    """
    order, top = canonical_order(boxes), min(top, len(boxes))
    scores = scores[..., order]
    if not top:
        return scores[..., :0].long()
    value, eligible = scores.topk(min(top + 1, len(boxes)))
    last = value[..., top - 1 : top]
    if (value[..., top:] == last).any():  # topk does not specify which of equal values it returns
        eligible = scores.topk(int((scores >= last).sum(dim=-1).max())).indices
    eligible = eligible.sort(dim=-1).values
    rank = scores.gather(-1, eligible).argsort(dim=-1, descending=True, stable=True)[..., :top]
    return order[eligible.gather(-1, rank)]


def _split_sides(boxes: Tensor, dim: int) -> tuple[Tensor, ...]:
    """Return x1, y1, x2, y2, each contiguous, with a dimension to broadcast over."""
    return boxes.movedim(-1, 0).contiguous().unsqueeze(dim).unbind()


def _area(sides: tuple[Tensor, ...]) -> Tensor:
    return (sides[2] - sides[0]).clamp(min=0) * (sides[3] - sides[1]).clamp(min=0)
