"""What attributions share: a net that gives scores alone, its layers by name, and what cannot be explained."""

from __future__ import annotations

import warnings
from typing import ClassVar

from captum.attr import Deconvolution, GuidedBackprop
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from bench.errors import RequestError
from bench.method import Attribution, MapMethod
from methods.classifier import Classifier


class Scores(nn.Module):
    """A map method's scores (B, C) in float32, as captum wants a net."""

    def __init__(self, method: MapMethod) -> None:
        super().__init__()
        self.method = method

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B, C) of images (B, 3, H, W)."""
        scores: Tensor = self.method(images).scores
        return scores.float()


def layer_of(base: MapMethod, name: str) -> nn.Module:
    """Return a module of a method, by its path. Raises RequestError."""
    try:
        return base.get_submodule(name)
    except AttributeError:
        known = ", ".join(path for path, _ in base.named_modules() if path.count(".") == 1)
        raise RequestError(f"{base.name} has no layer {name!r}, but {known}, and those within them.") from None


def need_layers(base: MapMethod, who: str) -> Classifier:
    """Raise RequestError for a net of which not every sum is a layer's: rules for layers would miss some."""
    if not isinstance(base, Classifier):
        raise RequestError(f"{who} goes layer by layer, which base={base.name} cannot be: give --set base=classifier.")
    if any(isinstance(layer, BasicBlock | Bottleneck) for layer in base.modules()):
        raise RequestError(f"{who} has no rule for the sums of residual nets: give another net than {base.config.net}.")


class RectifiedGradient(Attribution):
    """The gradient, its largest magnitude over the channels, with another backward rule for ReLUs."""

    rule: ClassVar[type[Deconvolution] | type[GuidedBackprop]]

    def explain(self, images: Tensor, labels: Tensor) -> Tensor:
        """At the resolution of the image."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Setting backward hooks on ReLU")
            gradient: Tensor = self.rule(Scores(self.base)).attribute(images.requires_grad_(), labels)
        return gradient.abs().amax(dim=1)
