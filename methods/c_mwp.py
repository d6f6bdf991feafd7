"""Contrastive excitation backprop (c-MWP): relevance for a class minus relevance against it (Zhang et al., ECCV 2016).

Relevance against a class (Sec. 3.4) is computed with that class's weights negated. Both are propagated down to the
contrast layer, and their difference from there to the saliency layer.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from bench.method import MapConfig, Task, prediction
from methods.layers.attribution import get_layer
from methods.layers.excitation import Excitation, ExcitationConfig, Trace


class CMwpConfig(ExcitationConfig):
    """Settings of c-MWP."""

    contrast_layer: str = prediction(
        "backbone.roi_head", "module of the base at whose output the two are subtracted (VGG16: fc7)"
    )


class CMwp(Excitation):
    """The positive part of the contrastive relevance, summed over the channels."""

    Own: ClassVar = CMwpConfig
    config: Any

    def __init__(self, config: MapConfig, task: Task) -> None:
        super().__init__(config, task)
        get_layer(self.base, self.config.contrast_layer)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers whose mass is recorded: the saliency layer and the contrast layer."""
        return self.saliency, self.config.contrast_layer

    def compute_mass(self, trace: Trace) -> Tensor:
        """Compute the mass for the class minus the mass against it, (B, h, w), at least 0."""
        contrast = self.config.contrast_layer
        difference = trace.propagate(contrast) - trace.propagate(contrast, negated=True)
        return trace.propagate(self.saliency, start=(contrast, difference)).sum(dim=1).clamp(min=0)
