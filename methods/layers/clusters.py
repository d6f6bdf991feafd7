"""PCL's cluster centres (Tang et al., TPAMI 2018): the best scores by k-means, and the most connected among them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from methods.layers.boxes import iou
from methods.layers.pseudo import Seeds

BLOCK = 256
"""Ends of clusters looked at in one go: bounds memory, not results."""


def highest_cluster(scores: Tensor, clusters: int = 3) -> Tensor:
    """Which of scores (n,) are in the highest of so many k-means clusters (n,), bool; equal scores stay together.

    Exact: on a line the clusters of least squared error are runs of sorted values, found by dynamic programming. With
    fewer different scores than clusters each has its own.
    """
    values, count = torch.unique(scores.double(), return_counts=True)
    unit = (values - values[0]) / (values[-1] - values[0]).clamp(min=torch.finfo(values.dtype).tiny)
    sums = pad(torch.stack([count.double(), count * unit, count * unit**2]).cumsum(dim=1), (1, 0))
    clusters, best = min(clusters, len(values)), _error(sums)
    for _ in range(clusters - 2):
        blocks = torch.split(sums, BLOCK, dim=1)
        best = torch.cat([(best + _error(ends[:, :, None] - sums[:, None])).amin(dim=1) for ends in blocks])
    start = (best + _error(sums[:, -1:] - sums)).argmin() if clusters > 1 else 0
    highest: Tensor = scores >= values[start]
    return highest


def _error(moments: Tensor) -> Tensor:
    """Squared error around their mean of values of which there are these many, sums and sums of squares (3, ...)."""
    count, first, second = moments
    return torch.where(count > 0, second - first**2 / count, torch.inf)


def centres(boxes: Tensor, scores: Tensor, *, overlap: float, most: int, spare: int) -> tuple[Tensor, Tensor]:
    """Return indices (k,) of at most `most` centres among boxes (n, 4), n > 0, best first, and their worth (k,).

    Boxes of IoU > overlap are linked. The box with most links (of equals the best by scores (n,), then the first) is a
    centre, worth the best score among those it is linked to; it leaves with them, and so on until no more than `spare`
    are left.
    """
    order = scores.argsort(descending=True, stable=True)
    ranked, own = boxes[order], torch.eye(len(boxes), dtype=torch.bool, device=boxes.device)
    linked = ((iou(ranked, ranked) > overlap) | own).to(scores)
    left, found, worth = torch.ones_like(scores), list[Tensor](), list[Tensor]()
    while not found or left.sum() > spare:
        found.append(((linked @ left + 1) * left).argmax())
        group = linked[found[-1]] * left
        worth.append((group * scores[order]).amax())
        left = left - group
    best = torch.stack(worth).argsort(descending=True, stable=True)[:most]
    return order[torch.stack(found)[best]], torch.stack(worth)[best]


def cluster_seeds(
    boxes: Tensor, scores: Tensor, labels: Tensor, *, clusters: int, overlap: float, most: int, spare: int
) -> tuple[Seeds, Tensor]:
    """Centres of each class in `labels` (S,), by scores (R, Y), and what they are worth.

    The classes choose in order, each among the proposals that are no centre yet; a class that finds none left has none.
    """
    free = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    chosen, of, worth = [labels[:0]], [labels[:0]], [scores[:0, 0]]
    for label in labels:
        pool = free.nonzero()[:, 0]
        if not len(pool):
            break
        pool = pool[highest_cluster(scores[pool, label], clusters)]
        centre, value = centres(boxes[pool], scores[pool, label], overlap=overlap, most=most, spare=spare)
        free[pool[centre]] = False
        chosen.append(pool[centre])
        of.append(label.expand(len(centre)))
        worth.append(value)
    return Seeds(torch.cat(chosen), torch.cat(of)), torch.cat(worth)
