"""Grad-CAM: feature maps weighted by the mean gradient of a class's score (Selvaraju et al., ICCV 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from bench.errors import RequestError
from bench.method import Attribution, AttributionConfig, Cells, MapConfig, Task, prediction
from methods.layers.attribution import find_layer_cells, get_layer


class GradCamConfig(AttributionConfig):
    """Settings of Grad-CAM."""

    layer: str = prediction(
        "backbone.trunk", "module whose feature maps are weighted; the default is the last one with maps"
    )


class GradCam(Attribution):
    """The positive part of the weighted sum: relu(sum_k mean(dy/dA_k) A_k).

    Captum's version is not used, because it needs one pass per class, each back to the pixels.
    """

    Own: ClassVar = GradCamConfig
    config: Any

    def __init__(self, config: MapConfig, task: Task) -> None:
        super().__init__(config, task)
        get_layer(self.base, self.config.layer)

    def explain(self, images: Tensor, labels: Tensor) -> Tensor:
        """Compute maps (B, h, w) at the resolution of the layer."""
        return self.explain_each(images, [labels])[0]

    def explain_each(self, images: Tensor, labels: Sequence[Tensor]) -> list[Tensor]:
        """Explain all classes from one pass. Raises RequestError for a layer without maps."""
        outputs: list[Tensor] = []
        layer = get_layer(self.base, self.config.layer)
        with layer.register_forward_hook(lambda layer, given, out: outputs.append(out)):
            scores = self.base(images.detach().clone().requires_grad_()).scores
        if outputs[-1].ndim != 4:
            raise RequestError(
                f"layer={self.config.layer} gives no feature maps, but outputs of shape {tuple(outputs[-1].shape[1:])}."
            )
        return [self._weight(outputs[-1], scores.gather(1, classes[:, None])) for classes in labels]

    def find_cells(self) -> Cells | None:
        """Return the positions of the layer's cells."""
        return find_layer_cells(self.base, self.config.layer)

    def _weight(self, features: Tensor, scores: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(scores.sum(), features, retain_graph=True)
        return (gradient.mean(dim=(2, 3), keepdim=True) * features).sum(dim=1).relu().detach()
