"""c-MWP: excitation backprop of what is for a class less what is against it (Zhang et al., ECCV 2016, Sec. 3.4).

Against it speaks what wins where the class's own weights are negated. Both go down to the contrast layer, and their
difference from there on.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from bench.method import MapConfig, Task, prediction
from methods.layers.attribution import layer_of
from methods.layers.excitation import Excitation, ExcitationConfig, Trace


class CMwpConfig(ExcitationConfig):
    """Settings of c-MWP."""

    contrast_layer: str = prediction("backbone.roi_head", "module of the base on whose output both differ (VGG16: fc7)")


class CMwp(Excitation):
    """The positive part of the difference, summed over the channels."""

    Own: ClassVar = CMwpConfig
    config: Any

    def __init__(self, config: MapConfig, task: Task) -> None:
        super().__init__(config, task)
        layer_of(self.base, self.config.contrast_layer)

    @property
    def layers(self) -> tuple[str, ...]:
        """The contrast layer too."""
        return self.saliency, self.config.contrast_layer

    def reached(self, trace: Trace) -> Tensor:
        """Compute the difference between evidence for the class and against it."""
        contrast = self.config.contrast_layer
        difference = trace.down(contrast) - trace.down(contrast, negated=True)
        return trace.down(self.saliency, start=(contrast, difference)).sum(dim=1).clamp(min=0)
