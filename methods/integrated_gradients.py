"""Integrated gradients: mean gradient from blank to image, times their difference (Sundararajan et al., ICML 2017).

Eq. 1, approximated by the sum of Eq. 3; a pixel's evidence is the sum over its channels. The method is complete: a map
sums to the score minus the blank image's score, up to the approximation error.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from captum.attr import IntegratedGradients as CaptumIntegratedGradients
from torch import Tensor

from bench.method import prediction
from methods.layers.attribution import PixelAttribution, PixelConfig, Scores
from methods.layers.perturbation import find_zero

RULES = {"right": "riemann_right", "trapezoid": "riemann_trapezoid", "gauss-legendre": "gausslegendre"}


class IntegratedGradientsConfig(PixelConfig):
    """Settings of integrated gradients."""

    path_points: int = prediction(50, "points on the way at which gradients are taken (paper: 20 to 300)", ge=2)
    path_rule: Literal["right", "trapezoid", "gauss-legendre"] = prediction(
        "right", "where the points are, and their weights: right: Eq. 3; trapezoid: both ends too (released)"
    )
    blank: Literal["black", "mean"] = prediction(
        "black", "the image at which the way begins: black (paper), or of the mean colour, which is 0 to the net"
    )
    magnitude: bool = prediction(False, "sum the magnitudes over the channels, in place of the signed values")


class IntegratedGradients(PixelAttribution):
    """Signed evidence of pixels, computed by captum."""

    Own: ClassVar = IntegratedGradientsConfig
    variants: ClassVar = {"released": {"path_rule": "trapezoid", "path_points": 51}}
    recipes: ClassVar = {"shapes": {"path_points": 20}}

    def attribute(self, images: Tensor, labels: Tensor) -> Tensor:
        """Compute maps (B, H, W)."""
        blank = find_zero(self.base).expand_as(images) if self.config.blank == "mean" else torch.zeros_like(images)
        found: Tensor = CaptumIntegratedGradients(Scores(self.base)).attribute(
            images.requires_grad_(),
            blank.to(images),
            labels,
            n_steps=self.config.path_points,
            method=RULES[self.config.path_rule],
            internal_batch_size=max(self.config.batch_size, len(images)),
        )
        if self.config.path_rule == "trapezoid":  # captum's weights assume one more interval
            found = found * (self.config.path_points / (self.config.path_points - 1))
        return (found.abs() if self.config.magnitude else found).sum(dim=1).detach().to(images.dtype)
