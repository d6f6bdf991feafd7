"""Gradient: saliency maps, the image gradient of a class's score (Simonyan et al., ICLR 2014 workshop)."""

from __future__ import annotations

from typing import ClassVar

from captum.attr import Saliency
from torch import Tensor

from methods.layers.attribution import PUBLISHED, PixelAttribution, Scores


class Gradient(PixelAttribution):
    """The gradient's largest magnitude over the channels."""

    variants: ClassVar = PUBLISHED

    def attribute(self, images: Tensor, labels: Tensor) -> Tensor:
        """Compute the gradient's largest magnitude."""
        gradient: Tensor = Saliency(Scores(self.base)).attribute(images.requires_grad_(), labels)
        return gradient.amax(dim=1)
