"""LRP: a class's score handed down layer by layer, in proportion to what each input adds (Bach et al., PLoS ONE 2015).

The epsilon rule at every layer with weights (Eq. 58); a pixel's relevance is the sum over its normalised channels.
"""

from __future__ import annotations

from typing import Any, ClassVar

from captum.attr import LRP
from captum.attr._utils.lrp_rules import EpsilonRule
from torch import Tensor, nn

from bench.method import Attribution, AttributionConfig, MapConfig, Task, prediction
from methods.layers.attribution import Scores, need_layers


class LrpConfig(AttributionConfig):
    """Settings of LRP."""

    epsilon: float = prediction(0.01, "what is added to a layer's outputs, away from 0, before dividing by them", gt=0)


class Lrp(Attribution):
    """Relevance of either sign: what speaks against a class is negative."""

    Own: ClassVar = LrpConfig
    config: Any

    def __init__(self, config: MapConfig, task: Task) -> None:
        super().__init__(config, task)
        need_layers(self.base, "lrp")

    def explain(self, images: Tensor, labels: Tensor) -> Tensor:
        """Relevance; all pixels together have the score, less what biases and epsilon take."""
        for layer in self.base.modules():  # captum takes the rules off again
            if not list(layer.children()) and not isinstance(layer, nn.ReLU | nn.Dropout):
                layer.rule = EpsilonRule(self.config.epsilon) if hasattr(layer, "weight") else EpsilonRule()
        relevance: Tensor = LRP(Scores(self.base)).attribute(images.requires_grad_(), labels)
        return (relevance * need_layers(self.base, "lrp").backbone.std).sum(dim=1)
