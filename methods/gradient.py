"""Gradient: how much a class's score moves with each pixel (Simonyan et al., ICLR 2014 workshop)."""

from __future__ import annotations

from captum.attr import Saliency
from torch import Tensor

from bench.method import Attribution
from methods.layers.attribution import Scores


class Gradient(Attribution):
    """The largest magnitude over the channels."""

    def explain(self, images: Tensor, labels: Tensor) -> Tensor:
        """At the resolution of the image."""
        gradient: Tensor = Saliency(Scores(self.base)).attribute(images.requires_grad_(), labels)
        return gradient.amax(dim=1)
