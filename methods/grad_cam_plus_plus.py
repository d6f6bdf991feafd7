"""Grad-CAM++: feature maps weighted by a weighted sum of positive gradients (Chattopadhay et al., WACV 2018).

With Y = exp(y) of a net of ReLUs, whose higher derivatives are powers of g = dy/dA (Eq. 16-18), Eq. 19 is
alpha_ij = 1 / (2 + g_ij sum A), and the weight of a map is sum_ij alpha_ij relu(g_ij). The factor exp(y), common to
all of an image's map, is left out.
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
        """Compute maps, which are at least 0."""
        alpha = find_alphas(features, gradient)
        if self.config.shared_alphas:
            total = alpha.sum(dim=(2, 3), keepdim=True)
            alpha = torch.where(total != 0, alpha / total, 0)
        weight = (alpha * gradient.relu()).sum(dim=(2, 3), keepdim=True)
        return (weight * features).sum(dim=1).relu()


def find_alphas(features: Tensor, gradient: Tensor) -> Tensor:
    """Compute alpha (B, K, h, w) of Eq. 19; it is 0 where the gradient is, or where it has no value."""
    below = 2 + gradient * features.sum(dim=(2, 3), keepdim=True)
    return torch.where((gradient != 0) & (below != 0), 1 / below, 0)
