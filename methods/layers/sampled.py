"""Loss of a localization branch in the released codes of MELM and C-MIL: a sample of proposals with hard labels.

In MELM it replaces the paper's soft labels: proposals with high overlap with a seed are objects, those with low overlap
are background, and those with medium or almost no overlap are left out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from methods.layers.boxes import iou
from methods.layers.pseudo import Seeds

OBJECTS, BACKGROUND = 32, 96
"""Maximum number of objects and of background proposals in a sample."""

NEAR, CLOSE, FAR = 0.6, 0.4, 0.1
"""IoU with the nearest seed: objects have IoU >= NEAR, background FAR <= IoU < CLOSE."""

CERTAIN = 1e-5
"""Added to p before its logarithm."""


def draw_sample(overlap: Tensor, near: float = NEAR, close: float = CLOSE, far: float = FAR) -> tuple[Tensor, Tensor]:
    """Draw indices of objects and background (torch's generator) from overlaps (R,) with the nearest seed.

    If no proposal has far <= IoU < close, background is drawn from all with IoU < close.
    """
    around = (overlap >= far) & (overlap < close)
    background = around if around.any() else overlap < close
    return _draw(overlap >= near, OBJECTS), _draw(background, BACKGROUND)


def _draw(mask: Tensor, most: int) -> Tensor:
    rows = mask.nonzero()[:, 0]
    return rows[torch.randperm(len(rows), device=rows.device)[:most].sort().values]


def sampled_loss(
    log_p: Tensor, boxes: Tensor, seeds: Seeds, near: float = NEAR, close: float = CLOSE, far: float = FAR
) -> Tensor:
    """Compute the mean cross entropy of a sample of boxes (R, 4): the nearest seed's class, or background.

    log_p: (R, Y + 1), background last. near, close, far: as in `draw_sample`. A seed with non-zero area is itself an
    object, so the sample is never empty.
    """
    overlap, seed = iou(boxes[seeds.proposal], boxes).max(dim=0)
    objects, background = draw_sample(overlap, near, close, far)
    p = torch.cat([log_p[objects, seeds.label[seed[objects]]], log_p[background, -1]]).exp()
    return -(p + CERTAIN).log().mean()
