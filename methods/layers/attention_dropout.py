"""Attention-based dropout layer (ADL; Choe and Shim, CVPR 2019, Sec. 3) on feature maps."""

from __future__ import annotations

import torch
from torch import Tensor


def drop_by_attention(features: Tensor, drop_rate: float, threshold: float) -> Tensor:
    """Multiply features (B, K, h, w) by a drop mask or an importance map, the same kind for the whole batch.

    Both are computed from the attention, the mean over the channels. The drop mask, used with probability `drop_rate`
    (torch's generator), is 0 where the attention is at least `threshold` times its maximum over the image; the
    importance map is the sigmoid of the attention. Images whose maximum is not positive, which happens with
    standardised features, are left unchanged by the drop mask.

    >>> drop_by_attention(torch.tensor([[[[1.0, 4.0, 5.0]]]]), drop_rate=1.0, threshold=0.8)
    tensor([[[[1., 0., 0.]]]])
    """
    attention = features.mean(dim=1, keepdim=True)
    if torch.rand(()) < drop_rate:
        highest = attention.amax(dim=(2, 3), keepdim=True)
        return features.masked_fill((attention >= threshold * highest) & (highest > 0), 0)
    return features * attention.sigmoid()
