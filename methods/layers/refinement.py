"""Targets and losses of refinements: OICR (Tang et al., CVPR 2017) and PCL (Tang et al., TPAMI 2018)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from methods.layers.boxes import iou
from methods.layers.pseudo import Seeds

COUNTED = 1e-12
"""Proposals with a larger weight count in the mean (OICR's released loss layer)."""


class Targets(NamedTuple):
    """Targets of a refinement for each proposal.

    seed: (R,) int64, the seed of largest overlap, the first in case of a tie. label: (R,) int64, a column of log p.
    weight: (R,), at least 0; 0 leaves the proposal out of the loss.
    """

    seed: Tensor
    label: Tensor
    weight: Tensor


def assign_targets(
    boxes: Tensor, seeds: Seeds, worth: Tensor, *, background: int, foreground: float = 0.5, ignored: float = 0.0
) -> Targets:
    """Assign targets to boxes (R, 4) from at least one seed; worth (S,) are the seeds' scores.

    A box takes the class of the seed it overlaps most if IoU >= foreground, otherwise the column `background`. Its
    weight is the seed's score, also for background, or 0 if IoU < ignored.
    """
    overlap, seed = iou(boxes[seeds.proposal], boxes).max(dim=0)
    label = torch.where(overlap >= foreground, seeds.label[seed], background)
    return Targets(seed, label, worth[seed] * (overlap >= ignored))


def count_weighted(weight: Tensor) -> Tensor:
    """Count the proposals with a non-zero weight, at least 1."""
    return (weight > COUNTED).sum().clamp(min=1)


def refinement_loss(log_p: Tensor, learned: Targets) -> Tensor:
    """Compute OICR's loss -sum_r w_r log p_r / #{w_r > 0} from log p (R, Y + 1); p_r belongs to r's label."""
    mine = log_p.gather(1, learned.label[:, None])[:, 0]
    return -(learned.weight * mine).sum() / count_weighted(learned.weight)


def cluster_loss(log_p: Tensor, learned: Targets, seeds: Seeds, *, background: int) -> Tensor:
    """Compute PCL's unnormalised loss: -M w log(mean p) for a cluster of M proposals; background as in OICR.

    log_p: (R, Y + 1). w is the weight of the cluster's proposals. A cluster consists of the proposals that took its
    seed's label; an empty one adds nothing.
    """
    numbers = torch.arange(len(seeds.label), device=log_p.device)
    inside = (learned.seed == numbers[:, None]) & (learned.label != background)
    some = inside.any(dim=1)
    of_class = log_p[:, seeds.label[some]].T.masked_fill(~inside[some], -torch.inf)
    log_mean = of_class.logsumexp(dim=1) - inside[some].sum(dim=1).log()
    negative = learned.weight * (learned.label == background) * log_p[:, background]
    return -((inside[some] * learned.weight).sum(dim=1) * log_mean).sum() - negative.sum()
