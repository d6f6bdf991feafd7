"""Erasing what one classifier found from what another one sees (ACoL, Zhang et al., CVPR 2018, Sec. 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate


def min_max(maps: Tensor) -> Tensor:
    """Compute maps (..., h, w), each brought to the range from 0 to 1; a constant one becomes 0."""
    low, high = maps.amin(dim=(-2, -1), keepdim=True), maps.amax(dim=(-2, -1), keepdim=True)
    return (maps - low) / (high - low).clamp(min=torch.finfo(maps.dtype).tiny)


def attention(maps: Tensor, chosen: Tensor) -> Tensor:
    """Compute the maximum (B, h, w) of the normalised maps (B, C, h, w) of the chosen classes (B, C) bool.

    It is 0 where no class is chosen.
    """
    return (min_max(maps) * chosen[:, :, None, None]).amax(dim=1)


def erased(features: Tensor, attention: Tensor, delta: float, *, inclusive: bool = False) -> Tensor:
    """Features (B, K, h, w), 0 where attention (B, h', w') is above delta; `inclusive`: or equals it.

    The mask is a constant: what is learned from the rest says nothing about the attention.
    """
    found = attention.detach()[:, None]
    if found.shape[2:] != features.shape[2:]:
        found = interpolate(found, features.shape[2:], mode="bilinear", align_corners=False)
    mask = found >= delta if inclusive else found > delta
    return features.masked_fill(mask, 0)
