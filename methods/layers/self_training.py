"""Seeds of instance-aware self-training (MIST; Ren et al., CVPR 2020, Alg. 1): several objects of a class."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.layers.boxes import iou
from methods.layers.pseudo import Seeds


def spread_seeds(
    boxes: Tensor, scores: Tensor, labels: Tensor, *, share: float, apart: float, all_better: bool = False
) -> Seeds:
    """Select, for each class in `labels` (S,), those of its best proposals that overlap no better seed of it.

    Its best proposals are a share of boxes (R, 4), at least one, by scores (R, Y), the first ones if several are equal.
    From the best one on, each is a seed whose IoU with all seeds before is below `apart`; with `all_better`, whose IoU
    with all better proposals is.

    >>> boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 3], [8, 8, 12, 12], [0, 0, 2, 2]])
    >>> spread_seeds(boxes, torch.tensor([[0.9], [0.8], [0.7], [0.1]]), torch.tensor([0]), share=0.75, apart=0.2)
    Seeds(proposal=tensor([0, 2]), label=tensor([0, 0]))
    """
    count = max(1, int(share * len(boxes)))
    select = _apart_from_all if all_better else _apart_from_chosen
    chosen = []
    for label in labels:
        best = scores[:, label].argsort(descending=True, stable=True)[:count]
        chosen.append(best[select(iou(boxes[best], boxes[best]) < apart)])
    return Seeds(torch.cat(chosen), labels.repeat_interleave(torch.tensor([len(each) for each in chosen]).to(labels)))


def _apart_from_all(distant: Tensor) -> Tensor:
    """Return which of n proposals, best first, are distant from all before (n,); distant: (n, n) bool."""
    return ~(~distant).tril(diagonal=-1).any(dim=1)


def _apart_from_chosen(distant: Tensor) -> Tensor:
    """Return the indices (S,) of proposals, best first, that are distant from all chosen before."""
    free, chosen = torch.ones_like(distant[0]), []
    while free.any():
        chosen.append(free.int().argmax())
        free = free & distant[chosen[-1]]
        free[chosen[-1]] = False
    return torch.stack(chosen)
