"""Adversarial erasing (ACoL, Zhang et al., CVPR 2018, Sec. 3.2): one classifier's map erases another's features."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate


def min_max(maps: Tensor) -> Tensor:
    """Normalise each of the maps (..., h, w) to [0, 1]: (m - min m) / (max m - min m); a constant map becomes 0.

    >>> min_max(torch.tensor([[[1.0, 3.0], [2.0, 5.0]]])).tolist()
    [[[0.0, 0.5], [0.25, 1.0]]]
    """
    low, high = maps.amin(dim=(-2, -1), keepdim=True), maps.amax(dim=(-2, -1), keepdim=True)
    return (maps - low) / (high - low).clamp(min=torch.finfo(maps.dtype).tiny)


def compute_attention(maps: Tensor, chosen: Tensor) -> Tensor:
    """Compute the maximum (B, h, w) of the normalised maps (B, C, h, w) of the chosen classes (B, C) bool.

    The result is 0 if no class is chosen.
    """
    return (min_max(maps) * chosen[:, :, None, None]).amax(dim=1)


def erase(features: Tensor, attention: Tensor, delta: float, *, inclusive: bool = False) -> Tensor:
    """Set features (B, K, h, w) to 0 where attention (B, h', w') is above delta (with `inclusive`, at least delta).

    The mask is detached, so no gradient of the loss on the remaining features reaches the attention.
    """
    mask = attention.detach()[:, None]
    if mask.shape[2:] != features.shape[2:]:
        mask = interpolate(mask, features.shape[2:], mode="bilinear", align_corners=False)
    return features.masked_fill(mask >= delta if inclusive else mask > delta, 0)
