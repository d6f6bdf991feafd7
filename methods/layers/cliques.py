"""Clique partition of MELM, Sec. 3.2.1, as one piece of tensor arithmetic."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from methods.layers.boxes import iou, ranked


class Cliques(NamedTuple):
    """A partition of the best proposals.

    members: (..., n) int64, indices of those proposals, best first. clique: (..., n) int64, for each member the
    position in `members` of the best member of its clique.
    """

    members: Tensor
    clique: Tensor


def partition(boxes: Tensor, scores: Tensor, *, tau: float = 0.7, top: int = 200) -> Cliques:
    """Cliques of the `top` proposals by score: the connected components of IoU > tau (MELM, Eq. 2).

    boxes: (R, 4). scores: (..., R), each row partitioned for itself. The paper grows the clique of the best proposal
    left by whatever overlaps any of its members, to closure: that is the component. Equal scores, at rank `top` too,
    go by the boxes' coordinates, so that the order of the proposals has no say.
    """
    members = ranked(boxes, scores)[..., :top]
    chosen = boxes[members]
    return Cliques(members, components(iou(chosen, chosen) > tau))


def components(linked: Tensor) -> Tensor:
    """Connected components of symmetric graphs (..., n, n), bool: for each node the first node of its component.

    Each round every node, and the node it points to, takes the first of its neighbours' labels, then labels are
    followed once: a few rounds for any n.
    """
    n = linked.shape[-1]
    nodes = torch.arange(n, dtype=torch.int32, device=linked.device)
    linked = linked | (nodes[:, None] == nodes)
    label = nodes.expand(linked.shape[:-1])
    while n:
        first = torch.where(linked, label[..., None, :], n).amin(dim=-1)
        first = first.scatter_reduce(-1, label.long(), first, "amin")
        first = first.gather(-1, first.long())
        if torch.equal(first, label):
            break
        label = first
    return label.long()
