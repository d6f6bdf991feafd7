"""Helpers of attributions: a classifier that returns scores only, and access to its layers by name."""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from typing import Any, ClassVar

import torch
from captum.attr import Deconvolution, GuidedBackprop
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from bench.errors import RequestError
from bench.method import Attribution, AttributionConfig, Cells, MapConfig, MapMethod, Task, prediction
from methods.classifier import Classifier
from methods.nets import NETS, find_net
from methods.nets.backbone import Backbone


class Scores(nn.Module):
    """A map method wrapped for captum: it returns only scores (B, C), in float32."""

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
    """Find the positions, in pixels, of a layer's cells; None for methods without a `Backbone`.

    Layers above the trunk have the cells of the trunk's last layer.
    """
    backbone = getattr(base, "backbone", None)
    if not isinstance(backbone, Backbone):
        return None
    above, _, inner = name.partition("backbone.trunk.")
    return backbone.find_cells(inner) if inner and not above else backbone.cells


def require_classifier(base: MapMethod, who: str) -> Classifier:
    """Return the base as a classifier whose layers all have a rule.

    Raises RequestError for other bases, for nets with attention or activations other than ReLU, and for residual nets,
    whose sums are outside any layer.
    """
    if not isinstance(base, Classifier):
        raise RequestError(
            f"{who} works layer by layer, which base={base.name} does not allow: use --set base=classifier."
        )
    name, net = base.config.net, find_net(base.config.net)
    if net.other_layers or net.has_sums:
        lacking = f"{net.other_layers} in {name}" if net.other_layers else f"the sums of {name}, a residual net"
        others = ", ".join(name for name, net in NETS.items() if not net.has_sums)
        raise RequestError(f"{who} has no rule for {lacking}: use one of {others}.")
    return base


class LayerwiseAttribution(Attribution):
    """An attribution that passes evidence down a classifier, layer by layer."""

    def train(self, mode: bool = True) -> LayerwiseAttribution:
        """Set the mode; evaluation folds the standardisation of frozen features into the layer above."""
        super().train(mode)
        if not mode:
            require_classifier(self.base, self.name).fold_standardisation()
        return self


class PixelConfig(AttributionConfig):
    """Settings of attributions to pixels."""

    blur: float = prediction(
        0.0,
        "width of a Gaussian over the map, as a multiple of its larger side (TorchRay: .02)",
        search=(0.0, 0.01, 0.02, 0.04),
        ge=0,
        le=1,
        before=0.0,
    )
    shorter_side: int = prediction(
        0,
        "shorter side of the images at test, which then keep their aspect; 0: squares of input_size",
        ge=0,
        le=4096,
        before=0,
    )


PUBLISHED: dict[str, dict[str, Any]] = {"published": {"blur": 0.02, "shorter_side": 224}}
"""The variant with TorchRay's settings for the published pointing accuracies (VOC07 test: gradient 76.3, deconv 67.5).

TorchRay's VGG16 slides the fully connected layers over larger images; ours pools their features to the 224 x 224 grid.
"""


class PixelAttribution(Attribution):
    """An attribution to pixels, whose map may be blurred."""

    Own: ClassVar = PixelConfig
    config: Any

    def __init__(self, config: MapConfig, task: Task) -> None:
        super().__init__(config, task)
        if self.config.shorter_side and config.test_scales:
            raise RequestError("shorter_side and test_scales both say how large images are: give one of them.")

    @abstractmethod
    def attribute(self, images: Tensor, labels: Tensor) -> Tensor:
        """Compute maps (B, H, W) of the evidence for classes (B,) in images (B, 3, H, W), before any blur."""

    def explain(self, images: Tensor, labels: Tensor) -> Tensor:
        """Compute maps (B, H, W) at the resolution of the image."""
        maps = self.attribute(images, labels)
        return blur(maps, self.config.blur * max(maps.shape[1:])) if self.config.blur else maps


def blur(maps: Tensor, sigma: float) -> Tensor:
    """Blur maps (B, H, W) by a Gaussian of `sigma` > 0 pixels, cut off at 4 sigma, with replicated borders."""
    reach = math.ceil(4 * sigma)
    steps = torch.arange(-reach, reach + 1, dtype=maps.dtype, device=maps.device)
    kernel = (-(steps**2) / (2 * sigma**2)).softmax(dim=0)
    large = pad(maps[:, None], (reach,) * 4, mode="replicate")
    return conv2d(conv2d(large, kernel[None, None, :, None]), kernel[None, None, None])[:, 0]


class RectifiedGradient(PixelAttribution):
    """The gradient with another backward rule for ReLUs; a map is its largest magnitude over the channels."""

    rule: ClassVar[type[Deconvolution] | type[GuidedBackprop]]

    def __init__(self, config: MapConfig, task: Task) -> None:
        super().__init__(config, task)
        if not any(isinstance(layer, nn.ReLU | nn.ReLU6) for layer in self.base.modules()):
            raise RequestError(
                f"{self.name} changes how ReLUs pass gradients, and {self.base.config.net} has none: use gradient or "
                f"grad-cam, or one of {', '.join(NETS)}."
            )

    def attribute(self, images: Tensor, labels: Tensor) -> Tensor:
        """Compute the gradient's largest magnitude."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Setting backward hooks on ReLU")
            gradient: Tensor = self.rule(Scores(self.base)).attribute(images.requires_grad_(), labels)
        return gradient.abs().amax(dim=1)
