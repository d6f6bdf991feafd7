"""Grad-CAM: feature maps weighted by the mean of a class's gradient in each (Selvaraju et al., ICCV 2017)."""

from __future__ import annotations

from typing import ClassVar

from captum.attr import LayerGradCam
from torch import Tensor

from bench.method import Attribution, AttributionConfig, MapConfig, Task, prediction
from methods.layers.attribution import Scores, layer_of


class GradCamConfig(AttributionConfig):
    """Settings of Grad-CAM."""

    layer: str = prediction("backbone.trunk", "module whose feature maps are weighted; by default the last of them")


class GradCam(Attribution):
    """The positive part of the weighted sum."""

    Own: ClassVar = GradCamConfig

    def __init__(self, config: MapConfig, task: Task) -> None:
        super().__init__(config, task)
        layer_of(self.base, config.layer)

    def explain(self, images: Tensor, labels: Tensor) -> Tensor:
        """At the resolution of the layer."""
        found = LayerGradCam(Scores(self.base), layer_of(self.base, self.config.layer))
        return found.attribute(images.requires_grad_(), labels, relu_attributions=True)[:, 0]
