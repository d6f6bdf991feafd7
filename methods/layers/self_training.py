"""Seeds of instance-aware self-training (MIST; Ren et al., CVPR 2020, Alg. 1): several objects of a class."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.layers.boxes import iou
from methods.layers.pseudo import Seeds


def spread_seeds(
    boxes: Tensor, scores: Tensor, labels: Tensor, *, share: float, apart: float, all_better: bool = False
) -> Seeds:
    """Select, for each class in `labels` (S,), the best proposals that do not overlap a better seed of the class.

    Candidates are a `share` of boxes (R, 4), at least one, with the best scores (R, Y); ties go to the first. From the
    best one on, a candidate becomes a seed if its IoU with all earlier seeds is below `apart`; with `all_better`, if
    its IoU with all better candidates is.

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
    """Return which of n proposals (n,), best first, are distant from all earlier ones; distant: (n, n) bool."""
    return ~(~distant).tril(diagonal=-1).any(dim=1)


def _apart_from_chosen(distant: Tensor) -> Tensor:
    """Return the indices (S,) of proposals, best first, that are distant from all chosen earlier."""
    free, chosen = torch.ones_like(distant[0]), []
    while free.any():
        chosen.append(free.int().argmax())
        free = free & distant[chosen[-1]]
        free[chosen[-1]] = False
    return torch.stack(chosen)
