"""Clique partition of MELM, Sec. 3.2.1, as one piece of tensor arithmetic."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from methods.layers.boxes import best, iou


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
    members = best(boxes, scores, top)
    chosen = boxes[members]
    return Cliques(members, components(iou(chosen, chosen) > tau))


def components(linked: Tensor) -> Tensor:
    """Connected components of symmetric graphs (..., n, n), bool: for each node the first node of its component.

    Each round every node, and the node it points to, takes the first of its neighbours' labels, then labels are
    followed once: a few rounds for any n. Only the links are looked at, and all graphs are one.
    """
    n = max(linked.shape[-1], 1)
    link = linked.flatten().nonzero()[:, 0]
    here, there = link // n, link // n**2 * n + link % n
    label = torch.arange(linked.numel() // n, device=linked.device)
    while True:
        first = label.scatter_reduce(0, here, label[there], "amin")
        first = first.scatter_reduce(0, label, first, "amin")
        first = first[first]
        if first.equal(label):
            return (label % n).view(linked.shape[:-1])
        label = first
