"""Grad-CAM++: feature maps weighted by a weighted sum of positive gradients (Chattopadhay et al., WACV 2018).

For Y = exp(y) and a ReLU net, the derivatives of Y are exp(y) times powers of g = dy/dA (Eq. 16-18). Eq. 19 then
becomes alpha_ij = 1 / (2 + g_ij sum A), and a feature map's weight is sum_ij alpha_ij relu(g_ij). The factor exp(y),
which is the same over an image's whole map, is omitted.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bench.method import prediction
from methods.grad_cam import GradCamConfig
from methods.layers.gradient_maps import GradientMaps


class GradCamPlusPlusConfig(GradCamConfig):
    """Settings of Grad-CAM++."""

    shared_alphas: bool = prediction(
        False, "divide the alphas of a feature map by their sum, as the released code does and Eq. 19 does not"
    )


class GradCamPlusPlus(GradientMaps):
    """The positive part of the weighted sum."""

    Own: ClassVar = GradCamPlusPlusConfig
    variants: ClassVar = {"released": {"shared_alphas": True}}

    def combine(self, features: Tensor, gradient: Tensor) -> Tensor:
        """Compute non-negative maps."""
        alpha = find_alphas(features, gradient)
        if self.config.shared_alphas:
            total = alpha.sum(dim=(2, 3), keepdim=True)
            alpha = torch.where(total != 0, alpha / total, 0)
        weight = (alpha * gradient.relu()).sum(dim=(2, 3), keepdim=True)
        return (weight * features).sum(dim=1).relu()


def find_alphas(features: Tensor, gradient: Tensor) -> Tensor:
    """Compute alpha (B, K, h, w) of Eq. 19; 0 where the gradient is 0 or alpha is undefined."""
    below = 2 + gradient * features.sum(dim=(2, 3), keepdim=True)
    return torch.where((gradient != 0) & (below != 0), 1 / below, 0)
