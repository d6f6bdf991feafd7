"""What MELM's released code teaches a localization branch: a sample of proposals, with hard labels.

From the paper's soft labels it differs in all but the seeds: near a seed is an object, farther off is background, and
what is between or far away teaches nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from methods.layers.boxes import iou
from methods.layers.pseudo import Seeds

OBJECTS, BACKGROUND = 32, 96
"""Proposals of either side in a sample, at most."""

NEAR, CLOSE, FAR = 0.6, 0.4, 0.1
"""Objects overlap their seed by IoU >= NEAR, background by FAR <= IoU < CLOSE."""

CERTAIN = 1e-5
"""Added to p before its logarithm."""


def sample(overlap: Tensor) -> tuple[Tensor, Tensor]:
    """Draw indices of objects and of background, by torch's generator, given overlaps with the nearest seed (R,).

    Where nothing is around a seed, background is whatever is not close to it.
    """
    around = (overlap >= FAR) & (overlap < CLOSE)
    background = around if around.any() else overlap < CLOSE
    return _drawn(overlap >= NEAR, OBJECTS), _drawn(background, BACKGROUND)


def _drawn(mask: Tensor, most: int) -> Tensor:
    rows = mask.nonzero()[:, 0]
    return rows[torch.randperm(len(rows), device=rows.device)[:most].sort().values]


def sampled_loss(log_p: Tensor, boxes: Tensor, seeds: Seeds) -> Tensor:
    """Mean cross entropy of a sample of boxes (R, 4) with the class of the seed that each overlaps most.

    log_p: (R, Y + 1), background last. A seed of some area is an object itself, so the sample is never empty.
    """
    overlap, seed = iou(boxes[seeds.proposal], boxes).max(dim=0)
    objects, background = sample(overlap)
    p = torch.cat([log_p[objects, seeds.label[seed[objects]]], log_p[background, -1]]).exp()
    return -(p + CERTAIN).log().mean()
