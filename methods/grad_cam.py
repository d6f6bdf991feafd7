"""Grad-CAM: feature maps weighted by the mean of a class's gradient in each (Selvaraju et al., ICCV 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from bench.errors import RequestError
from bench.method import Attribution, AttributionConfig, MapConfig, Task, prediction
from methods.layers.attribution import layer_of


class GradCamConfig(AttributionConfig):
    """Settings of Grad-CAM."""

    layer: str = prediction("backbone.trunk", "module whose feature maps are weighted; by default the last of them")


class GradCam(Attribution):
    """The positive part of the weighted sum. Not captum's, which takes a pass a class, each back to the pixels."""

    Own: ClassVar = GradCamConfig
    config: Any

    def __init__(self, config: MapConfig, task: Task) -> None:
        super().__init__(config, task)
        layer_of(self.base, self.config.layer)

    def explain(self, images: Tensor, labels: Tensor) -> Tensor:
        """At the resolution of the layer."""
        return self.explain_each(images, [labels])[0]

    def explain_each(self, images: Tensor, labels: Sequence[Tensor]) -> list[Tensor]:
        """As `explain`, all from one pass. Raises RequestError for a layer without maps."""
        kept: list[Tensor] = []
        layer = layer_of(self.base, self.config.layer)
        with layer.register_forward_hook(lambda layer, given, out: kept.append(out)):
            scores = self.base(images.detach().clone().requires_grad_()).scores
        if kept[-1].ndim != 4:
            raise RequestError(f"layer={self.config.layer} gives no feature maps, but {tuple(kept[-1].shape[1:])}.")
        return [self._weighted(kept[-1], scores.gather(1, classes[:, None])) for classes in labels]

    def _weighted(self, features: Tensor, scores: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(scores.sum(), features, retain_graph=True)
        return (gradient.mean(dim=(2, 3), keepdim=True) * features).sum(dim=1).relu().detach()
