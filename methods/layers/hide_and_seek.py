"""Hide-and-Seek (Singh and Lee, ICCV 2017): patches of training images are hidden at random."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def hide(images: Tensor, sides: Sequence[int], probability: float, fill: Tensor) -> Tensor:
    """Images (B, 3, H, W) with patches of colour `fill` (3, 1, 1); what is hidden is drawn from torch's generator.

    Each image draws the side of its patches, in pixels, from `sides` (0: nothing is hidden), and each patch of the
    grid that begins in the upper left corner is hidden with this probability.
    """
    drawn = torch.randint(len(sides), (len(images),)).tolist()
    masks = [_mask(images.shape[2:], sides[one], probability) for one in drawn]
    return torch.where(torch.stack(masks)[:, None].to(images.device), fill, images)


def _mask(size: Sequence[int], side: int, probability: float) -> Tensor:
    """Whether a pixel (H, W) is hidden."""
    if not side:
        return torch.zeros(tuple(size), dtype=torch.bool)
    height, width = size
    grid = torch.rand(-(-height // side), -(-width // side)) < probability
    return grid.repeat_interleave(side, 0).repeat_interleave(side, 1)[:height, :width]
