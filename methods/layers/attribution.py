"""Helpers of attributions: a classifier that returns scores only, and access to its layers by name."""

from __future__ import annotations

import warnings
from typing import ClassVar

from captum.attr import Deconvolution, GuidedBackprop
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from bench.errors import RequestError
from bench.method import Attribution, Cells, MapMethod
from methods.classifier import Classifier
from methods.nets.backbone import Backbone
from methods.nets.geometry import find_cells


class Scores(nn.Module):
    """A map method as captum needs a net: it returns only scores (B, C), in float32."""

    def __init__(self, method: MapMethod) -> None:
        super().__init__()
        self.method = method

    def forward(self, images: Tensor) -> Tensor:
        """Compute scores (B, C) of images (B, 3, H, W)."""
        scores: Tensor = self.method(images).scores
        return scores.float()


def get_layer(base: MapMethod, name: str) -> nn.Module:
    """Return a module of a method by its path. Raises RequestError for an unknown path."""
    try:
        return base.get_submodule(name)
    except AttributeError:
        known = ", ".join(path for path, _ in base.named_modules() if path.count(".") == 1)
        raise RequestError(f"{base.name} has no layer {name!r}, only {known}, and the layers within them.") from None


def find_layer_cells(base: MapMethod, name: str) -> Cells | None:
    """Find where the cells of a layer of our nets lie, in pixels; None for other nets, which do not say.

    Layers above the trunk keep the cells of its last one.
    """
    backbone = getattr(base, "backbone", None)
    if not isinstance(backbone, Backbone):
        return None
    above, _, inner = name.partition("backbone.trunk")
    return backbone.cells if above else find_cells(backbone.trunk, inner.removeprefix("."))


def require_classifier(base: MapMethod, who: str) -> Classifier:
    """Return the base as a classifier that has a rule for each layer.

    Raises RequestError for another base, and for residual nets, whose sums belong to no layer.
    """
    if not isinstance(base, Classifier):
        raise RequestError(
            f"{who} works layer by layer, which base={base.name} does not allow: use --set base=classifier."
        )
    if any(isinstance(layer, BasicBlock | Bottleneck) for layer in base.modules()):
        raise RequestError(f"{who} has no rule for the sums of residual nets: use another net than {base.config.net}.")
    return base


class LayerwiseAttribution(Attribution):
    """An attribution that passes evidence down a classifier, layer by layer."""

    def train(self, mode: bool = True) -> LayerwiseAttribution:
        """Set the mode; in evaluation the layer above a frozen net takes its features as they are."""
        super().train(mode)
        if not mode:
            require_classifier(self.base, self.name).fold_standardisation()
        return self


class RectifiedGradient(Attribution):
    """The gradient with another backward rule for ReLUs; a map is its largest magnitude over the channels."""

    rule: ClassVar[type[Deconvolution] | type[GuidedBackprop]]

    def explain(self, images: Tensor, labels: Tensor) -> Tensor:
        """Compute maps (B, H, W) at the resolution of the image."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Setting backward hooks on ReLU")
            gradient: Tensor = self.rule(Scores(self.base)).attribute(images.requires_grad_(), labels)
        return gradient.abs().amax(dim=1)
