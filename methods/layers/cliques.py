"""Partitions of proposals: cliques of MELM (Wan et al., TPAMI 2019, Sec. 3.2.1) and its released code, and C-MIL's."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from methods.layers.boxes import iou, select_best


class Cliques(NamedTuple):
    """A partition of the best proposals.

    members: (..., n) int64, indices of those proposals, best first. clique: (..., n) int64, for each member the
    position in `members` of the first member of its clique.
    """

    members: Tensor
    clique: Tensor


def partition(boxes: Tensor, scores: Tensor, *, tau: float = 0.7, top: int = 200) -> Cliques:
    """Partition the `top` proposals by score into the connected components of IoU > tau (Eq. 2).

    boxes: (R, 4). scores: (..., R); each row is partitioned separately. The paper starts a clique with the best
    remaining proposal and adds proposals that overlap any member until none is left, which gives the component. Equal
    scores, also at rank `top`, are ordered by the boxes' coordinates, so the order of the proposals does not matter.
    """
    members = select_best(boxes, scores, top)
    selected = boxes[members]
    return Cliques(members, connected_components(iou(selected, selected) > tau))


def connected_components(linked: Tensor) -> Tensor:
    """Compute connected components of symmetric graphs (..., n, n), bool.

    The result (..., n) holds, for each node, the first node of its component.

    In each round every node, and the node its label points to, takes the smallest label among its neighbours; then each
    label is replaced by the label it points to. A few rounds thus suffice for any n. Only edges are visited, and all
    graphs are processed as one.

    >>> connected_components(torch.tensor([[1, 0, 1], [0, 1, 0], [1, 0, 1]]).bool())
    tensor([0, 1, 0])
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


def partition_complete_linkage(
    boxes: Tensor, scores: Tensor, *, tau: float = 0.7, top: int = 100, window: int = 40
) -> Cliques:
    """Partition the `top` proposals by score (R,) as MELM's released code does; boxes (R, 4), members in given order.

    In order, each member without a clique starts one. Any of the next `window - 1` members that overlaps all of the
    clique's members so far with IoU >= tau joins the clique and leaves its earlier one.
    """
    members = select_best(boxes, scores, top).sort().values
    selected = boxes[members]
    joined = _join_window(iou(selected, selected) >= tau, window)
    numbers = torch.arange(len(members), device=boxes.device)
    starts = _find_starts(joined & (numbers > numbers[:, None]))
    clique = torch.where(joined & starts[:, None], numbers[:, None], 0)
    return Cliques(members, clique.amax(dim=0) if len(members) else numbers)


def partition_around_best(boxes: Tensor, scores: Tensor, *, tau: float, top: int) -> Cliques:
    """Partition the `top` proposals by score (R,) around the best ones, as C-MIL does (Wan et al., CVPR 2019).

    The best remaining box (R, 4) and all remaining boxes with IoU >= tau to it form a clique, and so on.
    """
    members = select_best(boxes, scores, top)
    selected, numbers = boxes[members], torch.arange(len(members), device=boxes.device)
    linked = (iou(selected, selected) >= tau) | (numbers == numbers[:, None])
    starts = _find_starts(linked & (numbers > numbers[:, None]))
    return Cliques(members, (linked & starts[:, None]).int().argmax(dim=0) if len(members) else numbers)


def _join_window(linked: Tensor, window: int) -> Tensor:
    """Compute the members of the clique that each of n members would start (n, n), from the links (n, n)."""
    n = len(linked)
    joined = torch.eye(n, dtype=torch.bool, device=linked.device)
    for ahead in range(1, min(window, n)):
        fits = ~(joined[:-ahead] & ~linked[ahead:]).any(dim=1)
        joined.diagonal(ahead).copy_(fits)
    return joined


def _find_starts(taken: Tensor) -> Tensor:
    """Find which of n members (n,) start a clique: those that no earlier start takes. taken: (n, n), by row.

    Each round settles at least one more member, and in practice most of them.
    """
    starts = torch.ones(len(taken), dtype=torch.bool, device=taken.device)
    while True:
        settled = ~(taken & starts[:, None]).any(dim=0)
        if settled.equal(starts):
            return starts
        starts = settled
