"""ACoL: two classifiers, of which the second sees only what the first did not find (Zhang et al., CVPR 2018).

A's map of the image's class, brought to the range from 0 to 1, erases B's features where it is above delta; both learn
to classify, and the maximum of their normalised maps is the object. Of several classes in an image, each erases. At
test A's best class erases; scores are A's (the paper does not say whose).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, one_hot

from bench.method import Maps, Task, training
from methods.layers.erasing import attention, erased, min_max
from methods.layers.map_method import ImageConfig, ImageMethod, map_head


class AcolConfig(ImageConfig):
    """Settings of ACoL."""

    net: str = training("vgg16-stride8", "backbone, by name (methods/nets)")
    delta: float = training(
        0.6, "what A's map is above is erased (ILSVRC: .6, CUB: .7, both chosen at test)", ge=0, le=1
    )
    inclusive: bool = training(False, "what equals delta is erased too (released)")
    smooth: bool = training(False, "features are averaged over 3x3 cells before the classifiers (released)")
    branches: Literal[2, 3] = training(
        2, "classifiers; a third is erased where A's and B's maps together are above delta"
    )
    width: int = training(1024, "channels of each classifier's two 3x3 convolutions", ge=1)


class Acol(ImageMethod):
    """Parallel classifiers on one backbone, each erased by what those before it found."""

    Config = AcolConfig
    variants: ClassVar = {"released": {"inclusive": True, "smooth": True}, "third-branch": {"branches": 3}}
    recipes: ClassVar = {
        "shapes": {"epochs": 40, "batch_size": 8, "width": 32},
        "cub": {"delta": 0.7},
    }
    config: AcolConfig

    def __init__(self, config: AcolConfig, task: Task) -> None:
        super().__init__(config, task)
        head = self.backbone.channels, config.width, len(task.classes)
        self.classifiers = nn.ModuleList(map_head(*head) for _ in range(config.branches))

    def forward(self, images: Tensor) -> Maps:
        """A's logits (B, C), and the fused maps (B, C, h, w) between 0 and 1."""
        features = self._features(images)
        first = self.classifiers[0](features).float()
        scores = first.mean(dim=(2, 3))
        best = one_hot(scores.argmax(dim=1), scores.shape[1]).bool()
        maps = torch.stack([min_max(one) for one in self._maps(features, best, first)])
        return Maps(scores, maps.amax(dim=0))

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the classification loss of each classifier; the classes that are present erase."""
        features = self._features(images)
        maps = self._maps(features, labels > 0, self.classifiers[0](features).float())
        losses = [self.classification(one.mean(dim=(2, 3)), labels) for one in maps]
        return {f"classifier {name}": loss for name, loss in zip("ABC", losses, strict=False)}

    def _features(self, images: Tensor) -> Tensor:
        features = self.backbone.features(images)
        return avg_pool2d(features, 3, stride=1, padding=1) if self.config.smooth else features

    def _maps(self, features: Tensor, chosen: Tensor, first: Tensor) -> list[Tensor]:
        """Every classifier's maps (B, C, h, w); the chosen classes (B, C) erase."""
        maps, found = [first], attention(first, chosen)
        for classifier in list(self.classifiers)[1:]:
            left = erased(features, found, self.config.delta, inclusive=self.config.inclusive)
            maps.append(classifier(left).float())
            found = torch.maximum(found, attention(maps[-1], chosen))
        return maps
