"""Gradient: saliency maps, the gradient of a class's score by the image (Simonyan et al., ICLR 2014 workshop)."""

from __future__ import annotations

from captum.attr import Saliency
from torch import Tensor

from bench.method import Attribution
from methods.layers.attribution import Scores


class Gradient(Attribution):
    """The largest magnitude of the gradient over the channels."""

    def explain(self, images: Tensor, labels: Tensor) -> Tensor:
        """Compute maps (B, H, W) at the resolution of the image."""
        gradient: Tensor = Saliency(Scores(self.base)).attribute(images.requires_grad_(), labels)
        return gradient.amax(dim=1)
