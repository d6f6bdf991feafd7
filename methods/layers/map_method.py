"""Base classes of methods with class maps: backbone, classification loss, and pooling of maps to scores."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from bench.config import FrozenConfig
from bench.errors import RequestError, format_count
from bench.method import MapConfig, MapMethod, Maps, Task, training
from bench.training.collectives import all_gather
from methods.layers.losses import multi_label_soft_margin, softmax_log_loss
from methods.nets import NETS, Backbone, RoiHead, build
from methods.nets.backbone import conv3x3, find_new_parameters
from methods.nets.frozen import Output


class ImageConfig(MapConfig, FrozenConfig):
    """Settings of methods that classify images; recipes of datasets with one class per image set `loss=softmax`."""

    loss: Literal["multi-label", "softmax"] = training(
        "multi-label", "multi-label: a logistic loss per class; softmax: for datasets with one class per image"
    )
    label_smoothing: float = training(
        0.0,
        "e: targets are 1 - e/2 and e/2 in place of 1 and 0; loss=softmax: e of the target is spread over the classes",
        ge=0,
        lt=1,
        later=True,
    )


class ImageMethod(MapMethod):
    """A map method on a backbone, trained with the classification loss of its config."""

    output_of_backbone: ClassVar[Output] = "features"
    """The backbone output that the method uses, which can be cached."""
    config: ImageConfig

    def __init__(self, config: ImageConfig, task: Task, roi_head: RoiHead | None = None) -> None:
        super().__init__(config, task)
        self.backbone = build(config.net, config.weights, roi_head=roi_head)
        if self.output_of_backbone == "stages":
            self._require_stages()
        self._freeze()

    def _freeze(self) -> None:
        if self.config.freeze_backbone:
            standardise, rounded = self.config.feature_norm == "standard", self.config.feature_precision == "float16"
            self.backbone.freeze(
                self.output_of_backbone, standardise=standardise, rounded=rounded, stages=self.count_stages()
            )

    def _require_stages(self) -> None:
        """Raise RequestError if the net has fewer stages than the method uses."""
        needed, there = self.count_stages(), len(self.backbone.stage_paths)
        if there < needed:
            raise RequestError(
                f"{self.name} takes maps of {needed} stages, and {self.config.net} has {format_count(there, 'stage')}: "
                f"use one of {', '.join(NETS)}, or a ResNet, ConvNeXt or EfficientNet of timm or torchvision."
            )

    def count_stages(self) -> int:
        """Return how many of the last stages the method uses, if `output_of_backbone` is `stages`."""
        return 3

    def assume_pretrained(self) -> None:
        """Set the method up as if initial weights had been read from a file; learned weights are loaded later."""
        self.backbone.assume_pretrained()
        self._freeze()

    def frozen_net(self) -> Backbone | None:
        """Return the backbone if everything that the maps are computed from is frozen, else None."""
        return self.backbone if self.backbone.frozen else None

    def train(self, mode: bool = True) -> ImageMethod:
        """Set the mode; a frozen backbone stays in evaluation mode, without dropout and with fixed statistics."""
        super().train(mode)
        if self.config.freeze_backbone and self.backbone.pretrained:
            self.backbone.eval()
        return self

    def classification(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the classification loss of logits (B, C) for labels (B, C) in {+1, 0, -1}."""
        loss = softmax_log_loss if self.config.loss == "softmax" else multi_label_soft_margin
        return loss(all_gather(logits), all_gather(labels), self.config.label_smoothing)

    def probabilities(self, scores: Tensor) -> Tensor:
        """Compute the softmax or the sigmoid of scores (B, C), to match the loss."""
        return scores.softmax(dim=1) if self.config.loss == "softmax" else scores.sigmoid()

    def new_parameters(self) -> list[nn.Parameter]:
        """Return all parameters except those set by pretrained weights."""
        return find_new_parameters(self, self.backbone)


class PooledConfig(ImageConfig):
    """Settings of methods that pool one map per class to scores."""

    neck: int = training(
        0, "channels of a new 3x3 convolution before the maps (CAM's VGG16-GAP: 1024); 0: no convolution", ge=0
    )
    dropout: float = training(
        0.5, "dropout of the features before the maps in training", search=(0.0, 0.25, 0.5), ge=0, lt=1
    )
    dropout_of: Literal["channels", "positions"] = training(
        "channels",
        "whole channels, as dropout after pooling drops them; or single positions, which pooling averages away",
        before="positions",
        requires="dropout",
    )


class PooledMaps(ImageMethod):
    """One map per class from a 1x1 convolution without its bias; a score is the pooled map plus the bias."""

    config: PooledConfig

    def __init__(self, config: PooledConfig, task: Task) -> None:
        super().__init__(config, task)
        self.neck = make_neck(self.backbone.channels, config.neck)
        self.dropout = (nn.Dropout2d if config.dropout_of == "channels" else nn.Dropout)(config.dropout)
        self.maps = make_map_layer(config.neck or self.backbone.channels, len(task.classes))

    @abstractmethod
    def pool(self, maps: Tensor) -> Tensor:
        """Pool maps (B, C, h, w) to scores (B, C); adding a constant to a map must add it to the score."""

    def features(self, images: Tensor) -> Tensor:
        """Compute the features (B, K, h, w) that are the input of the neck and maps."""
        return self.backbone.features(images)

    def forward(self, images: Tensor) -> Maps:
        """Compute logits (B, C) and class maps (B, C, h, w)."""
        features = self.dropout(self.neck(self.features(images)))
        maps = nn.functional.conv2d(features, self.maps.weight).float()
        return Maps(self.pool(maps) + self.maps.bias, maps, cells=self.backbone.cells)  # type: ignore[operator]

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the classification loss over the classes with known labels."""
        return {"classification": self.classification(self(images).scores, labels)}


def make_neck(before: int, after: int, groups: int = 1) -> nn.Module:
    """Build a 3x3 convolution with ReLU; nothing if `after` is 0. Raises RequestError."""
    if not after:
        return nn.Identity()
    if before % groups or after % groups:
        raise RequestError(f"groups={groups} does not divide a convolution of {before} to {after} channels.")
    return nn.Sequential(conv3x3(before, after, groups), nn.ReLU(inplace=True))


def make_map_layer(channels: int, maps: int) -> nn.Conv2d:
    """Build a 1x1 convolution to maps: weights from N(0, 0.01), bias 0."""
    layer = nn.Conv2d(channels, maps, 1)
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def make_map_head(before: int, width: int, maps: int) -> nn.Sequential:
    """Build a classifier as in ACoL and DANet: two new 3x3 convolutions with ReLU, and a 1x1 convolution to maps."""
    convolutions: list[Any] = [make_neck(before, width), make_neck(width, width)]
    return nn.Sequential(*convolutions, make_map_layer(width, maps))
