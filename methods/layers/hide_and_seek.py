"""Hide-and-Seek (Singh and Lee, ICCV 2017): randomly hidden patches of training images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def hide_patches(images: Tensor, sides: Sequence[int], probability: float, fill: Tensor) -> Tensor:
    """Hide random patches of images (B, 3, H, W) with the colour `fill` (3, 1, 1), using torch's generator.

    Each image draws its patch size in pixels from `sides` (0: nothing is hidden). Each patch of a grid that starts in
    the upper left corner is hidden with `probability`.
    """
    choices = torch.randint(len(sides), (len(images),)).tolist()
    masks = [_draw_mask(images.shape[2:], sides[choice], probability) for choice in choices]
    return torch.where(torch.stack(masks)[:, None].to(images.device), fill, images)


def _draw_mask(size: Sequence[int], side: int, probability: float) -> Tensor:
    """Draw which pixels (H, W) are hidden."""
    if not side:
        return torch.zeros(tuple(size), dtype=torch.bool)
    height, width = size
    grid = torch.rand(-(-height // side), -(-width // side)) < probability
    return grid.repeat_interleave(side, 0).repeat_interleave(side, 1)[:height, :width]
