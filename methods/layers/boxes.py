"""Boxes on the device: overlaps, and the order that makes a result independent of the order of the proposals."""

from __future__ import annotations

import torch
from torch import Tensor


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union (..., N, M) of boxes (..., N, 4) and (..., M, 4); 0 where the union is empty.

    Half-open corners, as `bench.core.boxes.iou`. Unlike torchvision's it takes batches and is not NaN at 0 / 0.
    """
    one, two = _sides(a, dim=-1), _sides(b, dim=-2)
    width = torch.minimum(one[2], two[2]).sub_(torch.maximum(one[0], two[0])).clamp_(min=0)
    height = torch.minimum(one[3], two[3]).sub_(torch.maximum(one[1], two[1])).clamp_(min=0)
    shared = width.mul_(height)
    union = (_area(one) + _area(two)).sub_(shared)
    return shared.div_(union.clamp_(min=torch.finfo(union.dtype).tiny))


def canonical_order(boxes: Tensor) -> Tensor:
    """Return indices (R,) that sort boxes (R, 4) by x1, then y1, x2, y2: equal for every permutation of the same boxes.

    Further columns count after those.
    """
    order = torch.arange(len(boxes), device=boxes.device)
    for column in reversed(range(boxes.shape[1])):
        order = order[boxes[order, column].argsort(stable=True)]
    return order


def best(boxes: Tensor, scores: Tensor, top: int) -> Tensor:
    """Return indices (..., top) of the best proposals by score (..., R), best first.

    Equal scores are ordered by the boxes' coordinates.

    boxes: (R, 4). All of them where there are no more than `top`. Only those that may be among the best are sorted.
    """
    order, top = canonical_order(boxes), min(top, len(boxes))
    scores = scores[..., order]
    if not top:
        return scores[..., :0].long()
    value, eligible = scores.topk(min(top + 1, len(boxes)))
    last = value[..., top - 1 : top]
    if (value[..., top:] == last).any():  # which of them topk took is not said
        eligible = scores.topk(int((scores >= last).sum(dim=-1).max())).indices
    eligible = eligible.sort(dim=-1).values
    rank = scores.gather(-1, eligible).argsort(dim=-1, descending=True, stable=True)[..., :top]
    return order[eligible.gather(-1, rank)]


def _sides(boxes: Tensor, dim: int) -> tuple[Tensor, ...]:
    """x1, y1, x2, y2, each whole in memory, with a dimension to broadcast over."""
    return boxes.movedim(-1, 0).contiguous().unsqueeze(dim).unbind()


def _area(sides: tuple[Tensor, ...]) -> Tensor:
    return (sides[2] - sides[0]).clamp(min=0) * (sides[3] - sides[1]).clamp(min=0)
