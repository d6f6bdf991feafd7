"""What pseudo objects teach a refinement: a label and a weight for each proposal, and OICR's and PCL's losses."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from methods.layers.boxes import iou
from methods.layers.pseudo import Seeds

COUNTED = 1e-12
"""A proposal of more weight than this counts in the mean (OICR's released loss layer)."""


class Targets(NamedTuple):
    """What a refinement is to learn of each proposal.

    seed: (R,) int64, the seed that it overlaps most, of equals the first. label: (R,) int64, a column of log p.
    weight: (R,), at least 0; 0 where the proposal teaches nothing.
    """

    seed: Tensor
    label: Tensor
    weight: Tensor


def targets(
    boxes: Tensor, seeds: Seeds, worth: Tensor, *, background: int, foreground: float = 0.5, ignored: float = 0.0
) -> Targets:
    """Targets of boxes (R, 4) from at least one seed, whose scores are worth (S,).

    IoU >= foreground with its seed: the seed's class, else the column `background`; IoU < ignored: weight 0. A weight
    is the seed's score, for background too.
    """
    overlap, seed = iou(boxes[seeds.proposal], boxes).max(dim=0)
    label = torch.where(overlap >= foreground, seeds.label[seed], background)
    return Targets(seed, label, worth[seed] * (overlap >= ignored))


def counted(weight: Tensor) -> Tensor:
    """How many proposals the mean is over: those that weigh anything, at least 1."""
    return (weight > COUNTED).sum().clamp(min=1)


def refinement_loss(log_p: Tensor, learned: Targets) -> Tensor:
    """OICR: the sum of weight times cross entropy over the number of proposals that weigh; from log p (R, Y + 1)."""
    mine = log_p.gather(1, learned.label[:, None])[:, 0]
    return -(learned.weight * mine).sum() / counted(learned.weight)


def cluster_loss(log_p: Tensor, learned: Targets, seeds: Seeds, *, background: int) -> Tensor:
    """PCL, not divided: a cluster of M proposals, of weight w each, loses M w log of its mean p; background as OICR.

    log_p: (R, Y + 1). A cluster is what took its seed's label; one without any proposal loses nothing.
    """
    numbers = torch.arange(len(seeds.label), device=log_p.device)
    inside = (learned.seed == numbers[:, None]) & (learned.label != background)
    some = inside.any(dim=1)
    of_class = log_p[:, seeds.label[some]].T.masked_fill(~inside[some], -torch.inf)
    log_mean = of_class.logsumexp(dim=1) - inside[some].sum(dim=1).log()
    negative = learned.weight * (learned.label == background) * log_p[:, background]
    return -((inside[some] * learned.weight).sum(dim=1) * log_mean).sum() - negative.sum()
