"""CAM: class activation maps of a net with global average pooling (Zhou et al., CVPR 2016; the GAP rows of the papers).

A 1x1 convolution to one map a class, averaged: the same function as averaging features and a linear layer, with the
maps for free (ACoL, Sec. 3.1).
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from bench.method import MapConfig, MapMethod, Maps, Task, training
from methods.layers.losses import multi_label_soft_margin
from methods.nets import build
from methods.nets.backbone import conv3x3


class CamConfig(MapConfig):
    """Settings of CAM."""

    neck: int = training(0, "channels of a new 3x3 convolution before the maps (CAM's VGG16-GAP: 1024); 0: none", ge=0)
    dropout: float = training(0.5, "share of the features dropped before the maps at training", ge=0, lt=1)


class Cam(MapMethod):
    """Global average pooling over class maps, learned with the multi-label soft margin loss."""

    Config = CamConfig
    recipes: ClassVar = {"shapes": {"epochs": 40, "batch_size": 8, "dropout": 0.0}}

    def __init__(self, config: CamConfig, task: Task) -> None:
        super().__init__(config, task)
        self.backbone = build(config.net, config.weights)
        self.neck = _neck(self.backbone.channels, config.neck)
        self.dropout = nn.Dropout(config.dropout)
        self.maps = nn.Conv2d(config.neck or self.backbone.channels, len(task.classes), 1)
        nn.init.normal_(self.maps.weight, std=0.01)
        nn.init.zeros_(self.maps.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Maps:
        """Logits (B, C) and class maps (B, C, h, w), without the bias: a logit is its map's mean plus its bias."""
        features = self.dropout(self.neck(self.backbone.features(images)))
        maps = nn.functional.conv2d(features, self.maps.weight).float()
        return Maps(maps.mean(dim=(2, 3)) + self.maps.bias, maps)

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Multi-label soft margin over the classes whose label is known."""
        return {"classification": multi_label_soft_margin(self(images).scores, labels)}

    def new_parameters(self) -> list[nn.Parameter]:
        """The neck, the maps, and what of the backbone no weights set."""
        return [*self.neck.parameters(), *self.maps.parameters(), *self.backbone.new_parameters()]


def _neck(before: int, after: int) -> nn.Module:
    if not after:
        return nn.Identity()
    return nn.Sequential(conv3x3(before, after), nn.ReLU(inplace=True))
