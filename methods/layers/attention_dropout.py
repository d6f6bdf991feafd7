"""Attention-based dropout layer (ADL; Choe and Shim, CVPR 2019, Sec. 3) on feature maps."""

from __future__ import annotations

import torch
from torch import Tensor


def drop_by_attention(features: Tensor, drop_rate: float, threshold: float) -> Tensor:
    """Multiply features (B, K, h, w) by a drop mask or an importance map, one of both for the whole batch.

    Both come from the attention, the mean over the channels. The drop mask, taken with probability `drop_rate`, is 0
    where the attention is at least `threshold` times its maximum over the image; the importance map is its sigmoid.
    Drawn by torch's generator. Where the maximum is not above 0, as standardised features may have it, nothing is
    dropped.

    >>> drop_by_attention(torch.tensor([[[[1.0, 4.0, 5.0]]]]), drop_rate=1.0, threshold=0.8)
    tensor([[[[1., 0., 0.]]]])
    """
    attention = features.mean(dim=1, keepdim=True)
    if torch.rand(()) < drop_rate:
        highest = attention.amax(dim=(2, 3), keepdim=True)
        return features.masked_fill((attention >= threshold * highest) & (highest > 0), 0)
    return features * attention.sigmoid()
