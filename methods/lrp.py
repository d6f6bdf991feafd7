"""LRP: layer-wise relevance propagation, in proportion to each input's contribution (Bach et al., PLoS ONE 2015).

It uses the epsilon rule at every layer with weights (Eq. 58); a pixel's relevance is the sum over its normalised
channels.
"""

from __future__ import annotations

from typing import Any, ClassVar

from captum.attr import LRP
from captum.attr._utils.lrp_rules import EpsilonRule
from torch import Tensor, nn

from bench.method import AttributionConfig, MapConfig, Range, Task, prediction
from methods.layers.attribution import LayerwiseAttribution, Scores, require_classifier


class LrpConfig(AttributionConfig):
    """Settings of LRP."""

    epsilon: float = prediction(
        0.01,
        "added to the magnitude of a layer's outputs before dividing by them",
        search=Range(1e-4, 1, log=True),
        gt=0,
    )


class Lrp(LayerwiseAttribution):
    """Signed relevance; evidence against a class is negative."""

    Own: ClassVar = LrpConfig
    config: Any

    def __init__(self, config: MapConfig, task: Task) -> None:
        super().__init__(config, task)
        require_classifier(self.base, "lrp")

    def explain(self, images: Tensor, labels: Tensor) -> Tensor:
        """Compute relevance maps (B, H, W), which sum to the score minus the share of biases and epsilon."""
        for layer in self.base.modules():  # captum removes the rules afterwards
            if not list(layer.children()) and not isinstance(layer, nn.ReLU | nn.Dropout):
                layer.rule = EpsilonRule(self.config.epsilon) if hasattr(layer, "weight") else EpsilonRule()
        relevance: Tensor = LRP(Scores(self.base)).attribute(images.requires_grad_(), labels)
        return (relevance * require_classifier(self.base, "lrp").backbone.std).sum(dim=1)
