"""Clique partition of MELM, Sec. 3.2.1, and that of its released code, as tensor arithmetic."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from methods.layers.boxes import best, iou


class Cliques(NamedTuple):
    """A partition of the best proposals.

    members: (..., n) int64, indices of those proposals, best first. clique: (..., n) int64, for each member the
    position in `members` of the first member of its clique.
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
    """Compute connected components of symmetric graphs (..., n, n), bool.

    Each node is given the first node of its component.

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


def complete_linkage(boxes: Tensor, scores: Tensor, *, tau: float = 0.7, top: int = 100, window: int = 40) -> Cliques:
    """Cliques of the `top` proposals by score (R,) as MELM's released code finds them; boxes (R, 4), members as given.

    One after the other, a member that is in no clique yet starts one, which those among the next `window - 1` members
    join that overlap all who have joined it by IoU >= tau; they leave the clique that they were in.
    """
    members = best(boxes, scores, top).sort().values
    chosen = boxes[members]
    joined = _cliques_of_all(iou(chosen, chosen) >= tau, window)
    numbers = torch.arange(len(members), device=boxes.device)
    starts = _starting(joined & (numbers > numbers[:, None]))
    clique = torch.where(joined & starts[:, None], numbers[:, None], 0)
    return Cliques(members, clique.amax(dim=0) if len(members) else numbers)


def _cliques_of_all(linked: Tensor, window: int) -> Tensor:
    """Who would be in the clique that each of n members starts (n, n), from who may be with whom (n, n)."""
    n = len(linked)
    joined = torch.eye(n, dtype=torch.bool, device=linked.device)
    for ahead in range(1, min(window, n)):
        suits = ~(joined[:-ahead] & ~linked[ahead:]).any(dim=1)
        joined.diagonal(ahead).copy_(suits)
    return joined


def _starting(taken: Tensor) -> Tensor:
    """Which of n members start a clique (n,): those that no earlier one that does takes; taken: (n, n), by row.

    Each round settles at least the next member, and in practice most.
    """
    starts = torch.ones(len(taken), dtype=torch.bool, device=taken.device)
    while True:
        settled = ~(taken & starts[:, None]).any(dim=0)
        if settled.equal(starts):
            return starts
        starts = settled
