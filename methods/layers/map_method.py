"""What methods with class maps share: the backbone, the loss that fits the labels, and pooling maps to scores."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal

from torch import Tensor, nn

from bench.errors import RequestError
from bench.method import MapConfig, MapMethod, Maps, Task, training
from bench.training.collectives import all_gather
from methods.layers.losses import multi_label_soft_margin, softmax_log_loss
from methods.nets import RoiHead, build
from methods.nets.backbone import conv3x3


class ImageConfig(MapConfig):
    """Settings of methods that classify images. Datasets with one class an image say `loss=softmax` in their recipe."""

    loss: Literal["multi-label", "softmax"] = training(
        "multi-label", "a logistic loss for each class, or, where an image has one class, softmax over all classes"
    )
    freeze_backbone: bool = training(False, "keep what the weights set as it is: only new layers learn")


class ImageMethod(MapMethod):
    """A map method on a backbone, which learns by the loss of its config."""

    config: ImageConfig

    def __init__(self, config: ImageConfig, task: Task, roi_head: RoiHead | None = None) -> None:
        super().__init__(config, task)
        self.backbone = build(config.net, config.weights, roi_head=roi_head)
        for name, parameter in self.backbone.named_parameters():
            parameter.requires_grad_(not config.freeze_backbone or name not in self.backbone.pretrained)

    def train(self, mode: bool = True) -> ImageMethod:
        """As every module's; a frozen backbone keeps its statistics and drops nothing."""
        super().train(mode)
        if self.config.freeze_backbone and self.backbone.pretrained:
            self.backbone.eval()
        return self

    def classification(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of logits (B, C) by labels (B, C) in {+1, 0, -1}."""
        loss = softmax_log_loss if self.config.loss == "softmax" else multi_label_soft_margin
        return loss(all_gather(logits), all_gather(labels))

    def probabilities(self, scores: Tensor) -> Tensor:
        """Compute the softmax or the sigmoid of scores (B, C), as they were learned."""
        return scores.softmax(dim=1) if self.config.loss == "softmax" else scores.sigmoid()

    def new_parameters(self) -> list[nn.Parameter]:
        """Everything but what the weights set."""
        old = {id(one) for one in self.backbone.parameters()} - {id(one) for one in self.backbone.new_parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in old]


class PooledConfig(ImageConfig):
    """Settings of methods whose scores are pooled from one map a class."""

    neck: int = training(0, "channels of a new 3x3 convolution before the maps (CAM's VGG16-GAP: 1024); 0: none", ge=0)
    dropout: float = training(0.5, "share of the features dropped before the maps at training", ge=0, lt=1)


class PooledMaps(ImageMethod):
    """One map a class by a 1x1 convolution, without its bias; a score is the map pooled, plus the bias."""

    config: PooledConfig

    def __init__(self, config: PooledConfig, task: Task) -> None:
        super().__init__(config, task)
        self.neck = neck(self.backbone.channels, config.neck)
        self.dropout = nn.Dropout(config.dropout)
        self.maps = map_layer(config.neck or self.backbone.channels, len(task.classes))

    @abstractmethod
    def pool(self, maps: Tensor) -> Tensor:
        """Scores (B, C) of maps (B, C, h, w); of maps plus a constant, the scores plus that constant."""

    def forward(self, images: Tensor) -> Maps:
        """Logits (B, C) and class maps (B, C, h, w)."""
        features = self.dropout(self.neck(self.backbone.features(images)))
        maps = nn.functional.conv2d(features, self.maps.weight).float()
        return Maps(self.pool(maps) + self.maps.bias, maps)  # type: ignore[operator]

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the classification loss over the classes whose label is known."""
        return {"classification": self.classification(self(images).scores, labels)}


def neck(before: int, after: int, groups: int = 1) -> nn.Module:
    """Build a 3x3 convolution with ReLU; nothing if `after` is 0. Raises RequestError."""
    if not after:
        return nn.Identity()
    if before % groups or after % groups:
        raise RequestError(f"groups={groups} does not divide a convolution of {before} to {after} channels.")
    return nn.Sequential(conv3x3(before, after, groups), nn.ReLU(inplace=True))


def map_layer(channels: int, maps: int) -> nn.Conv2d:
    """Build a 1x1 convolution to maps: weights from N(0, 0.01), bias 0."""
    layer = nn.Conv2d(channels, maps, 1)
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def map_head(before: int, width: int, maps: int) -> nn.Sequential:
    """Build a classifier as in ACoL and DANet: two new 3x3 convolutions with ReLU, and a 1x1 convolution to maps."""
    convolutions: list[Any] = [neck(before, width), neck(width, width)]
    return nn.Sequential(*convolutions, map_layer(width, maps))
