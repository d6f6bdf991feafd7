"""CutMix (Yun et al., ICCV 2019, Sec. 3.1): a rectangle of another training image is pasted into each one."""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Beta


class Mix(NamedTuple):
    """Images (B, 3, H, W) with a pasted rectangle, the indices (B,) int64 of the source images, and the share kept."""

    images: Tensor
    source: Tensor
    kept: float


def cut_and_mix(images: Tensor, beta: float) -> Mix:
    """Paste a rectangle, the same for the whole batch, from permuted images into images (B, 3, H, W).

    Its sides are sqrt(1 - lambda) of the image's, with lambda from Beta(beta, beta), and its centre is a uniformly
    drawn pixel (torch's generator); parts outside the image are cut off (Eq. 2). The share kept is 1 minus the share
    actually pasted.
    """
    source = torch.randperm(len(images))
    rows, columns = draw_rectangle((images.shape[2], images.shape[3]), float(Beta(beta, beta).sample()))
    mixed = images.clone()
    mixed[:, :, rows, columns] = images[source.to(images.device), :, rows, columns]
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return Mix(mixed, source.to(images.device), 1 - area / (images.shape[2] * images.shape[3]))


def draw_rectangle(size: tuple[int, int], kept: float) -> tuple[slice, slice]:
    """Draw the rows and columns of a rectangle that leaves a share `kept` of an image of size (H, W) uncovered."""
    slices = []
    for side in size:
        half, centre = int(side * sqrt(1 - kept)) // 2, int(torch.randint(side, ()))
        slices.append(slice(max(0, centre - half), min(side, centre + half)))
    return slices[0], slices[1]
