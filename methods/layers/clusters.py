"""Cluster centres of PCL (Tang et al., TPAMI 2018): the most connected proposals among the best scores by k-means."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from methods.layers.boxes import iou
from methods.layers.pseudo import Seeds

BLOCK = 256
"""Number of cluster ends processed at once; it bounds memory and does not affect results."""


def highest_cluster(scores: Tensor, clusters: int = 3) -> Tensor:
    """Return which of scores (n,) are in the highest k-means cluster, (n,) bool; equal scores stay together.

    It is exact: in one dimension, clusters of least squared error are runs of sorted values, found by dynamic
    programming. With fewer distinct scores than clusters, each distinct score is its own cluster.

    >>> highest_cluster(torch.tensor([0.9, 0.1, 0.8, 0.5]), clusters=3)
    tensor([ True, False,  True, False])
    """
    values, count = torch.unique(scores.double(), return_counts=True)
    unit = (values - values[0]) / (values[-1] - values[0]).clamp(min=torch.finfo(values.dtype).tiny)
    sums = pad(torch.stack([count.double(), count * unit, count * unit**2]).cumsum(dim=1), (1, 0))
    clusters, best = min(clusters, len(values)), _squared_error(sums)
    for _ in range(clusters - 2):
        blocks = torch.split(sums, BLOCK, dim=1)
        best = torch.cat([(best + _squared_error(ends[:, :, None] - sums[:, None])).amin(dim=1) for ends in blocks])
    start = (best + _squared_error(sums[:, -1:] - sums)).argmin() if clusters > 1 else 0
    highest: Tensor = scores >= values[start]
    return highest


def _squared_error(moments: Tensor) -> Tensor:
    """Compute the squared error around the mean from counts, sums and sums of squares (3, ...)."""
    count, first, second = moments
    return torch.where(count > 0, second - first**2 / count, torch.inf)


def find_centres(boxes: Tensor, scores: Tensor, *, overlap: float, most: int, spare: int) -> tuple[Tensor, Tensor]:
    """Find at most `most` centres among boxes (n, 4), n > 0: their indices (k,), best first, and worth (k,).

    Boxes with IoU > overlap are linked. The box with the most links (ties: the highest of scores (n,), then the first)
    becomes a centre, worth the highest score among itself and its linked boxes, which are all removed. This repeats
    until at most `spare` boxes are left.
    """
    order = scores.argsort(descending=True, stable=True)
    ranked, own = boxes[order], torch.eye(len(boxes), dtype=torch.bool, device=boxes.device)
    linked = ((iou(ranked, ranked) > overlap) | own).to(scores)
    left, chosen, worth = torch.ones_like(scores), list[Tensor](), list[Tensor]()
    while not chosen or left.sum() > spare:
        chosen.append(((linked @ left + 1) * left).argmax())
        group = linked[chosen[-1]] * left
        worth.append((group * scores[order]).amax())
        left = left - group
    best = torch.stack(worth).argsort(descending=True, stable=True)[:most]
    return order[torch.stack(chosen)[best]], torch.stack(worth)[best]


def cluster_seeds(
    boxes: Tensor, scores: Tensor, labels: Tensor, *, clusters: int, overlap: float, most: int, spare: int
) -> tuple[Seeds, Tensor]:
    """Find the centres of each class in `labels` (S,), by scores (R, Y), and their worth.

    Classes choose in order among the proposals that are not yet centres; once none is left, later classes get none.
    """
    free = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    chosen, classes, worth = [labels[:0]], [labels[:0]], [scores[:0, 0]]
    for label in labels:
        pool = free.nonzero()[:, 0]
        if not len(pool):
            break
        pool = pool[highest_cluster(scores[pool, label], clusters)]
        centre, value = find_centres(boxes[pool], scores[pool, label], overlap=overlap, most=most, spare=spare)
        free[pool[centre]] = False
        chosen.append(pool[centre])
        classes.append(label.expand(len(centre)))
        worth.append(value)
    return Seeds(torch.cat(chosen), torch.cat(classes)), torch.cat(worth)
