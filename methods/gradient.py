"""Gradient: saliency maps, the gradient of a class's score by the image (Simonyan et al., ICLR 2014 workshop)."""

from __future__ import annotations

from typing import ClassVar

from captum.attr import Saliency
from torch import Tensor

from methods.layers.attribution import PUBLISHED, PixelAttribution, Scores


class Gradient(PixelAttribution):
    """The largest magnitude of the gradient over the channels."""

    variants: ClassVar = PUBLISHED

    def attribute(self, images: Tensor, labels: Tensor) -> Tensor:
        """Compute the gradient's largest magnitude."""
        gradient: Tensor = Saliency(Scores(self.base)).attribute(images.requires_grad_(), labels)
        return gradient.amax(dim=1)
