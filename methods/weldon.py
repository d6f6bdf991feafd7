"""WELDON: pooling of the highest and the lowest regions of a class's map (ResNet-WELDON, Durand et al., TPAMI 2019).

Learned by a logistic loss a class, softmax, or ranking the images of a batch by average precision (`ap`). The rows of
Table 7 are variants: a) max, b) fine-tuning, c) k regions, d) min. `multi-scale` is Table 3: one net on seven sizes of
the image, its scores averaged (the paper names an "Object-Bank strategy" and released no code for it).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import model_validator
from torch import Tensor
from torch.nn.functional import interpolate

from bench.config import Side
from bench.method import Maps, training
from bench.training.collectives import all_gather
from methods.layers.ap_ranking import Pairs, ap_ranking_loss
from methods.layers.map_method import PooledConfig, PooledMaps
from methods.layers.pooling import negative_evidence

K_BY_SIZE = {224: 5, 280: 10, 320: 20, 374: 30, 448: 50, 560: 75, 747: 100}
"""Table 3: k+ and k- for each size of the image."""


class WeldonConfig(PooledConfig):
    """Settings of WELDON."""

    net: str = training("resnet101", "backbone, by name (methods/nets)")
    input_size: int = training(448, "side of the square input in pixels", ge=32, le=4096)
    dropout: float = training(0.0, "share of the features dropped before the maps at training", ge=0, lt=1)
    loss: Literal["multi-label", "softmax", "ap"] = training(  # type: ignore[assignment]
        "multi-label",
        "a logistic loss for each class; where an image has one class, softmax over all classes; ap ranks the batch",
    )
    ap_pairs: Pairs = training("sum", "loss=ap: pairs of images are summed (Eq. 12), or averaged as Yue et al. do")
    k_plus: float | None = training(
        None, "how many of the highest regions count, or which share of them; none: Table 3's for the size", gt=0
    )
    k_minus: float | None = training(
        None, "how many of the lowest regions count, or which share of them; none: as k_plus; 0: no lowest", ge=0
    )
    halve: bool = training(True, "half the sum of highest and lowest (Eq. 11); off: the sum")
    scales: tuple[Side, ...] = training(
        (), "sides of the input whose scores are averaged, at most input_size; empty: input_size"
    )

    @model_validator(mode="after")
    def _ranks_what_decouples(self) -> WeldonConfig:
        if self.loss == "ap" and self.k_minus not in (None, self.k_plus):
            raise ValueError("loss=ap needs k_minus = k_plus: only then is its inference exact (Proposition 1)")
        if self.scales and max(self.scales) > self.input_size:
            raise ValueError(f"scales may not be above input_size ({self.input_size}), but one is {max(self.scales)}")
        return self


class Weldon(PooledMaps):
    """A class scores the mean of its k+ highest and k- lowest regions."""

    Config = WeldonConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "a": {"freeze_backbone": True, "k_plus": 1, "k_minus": 0},
        "a+b": {"k_plus": 1, "k_minus": 0},
        "a+b+c": {"k_plus": 30, "k_minus": 0},
        "a+b+d": {"k_plus": 1, "k_minus": 1},
        "a+b+c+d": {"k_plus": 30, "k_minus": 30},
        "ap": {"loss": "ap", "k_plus": 1, "k_minus": 1},
        "multi-scale": {"input_size": 747, "scales": tuple(K_BY_SIZE), "k_plus": None, "k_minus": None},
    }
    recipes: ClassVar = {"shapes": {"epochs": 40, "batch_size": 8}}
    config: WeldonConfig

    def pool(self, maps: Tensor) -> Tensor:
        """Negative-evidence pooling of maps of the config's size."""
        return self._pooled(maps, self.config.input_size)

    def forward(self, images: Tensor) -> Maps:
        """Logits (B, C) and class maps (B, C, h, w): the means over the scales, maps at the size of the largest."""
        if not self.config.scales:
            return self._at(images, max(images.shape[2:]))
        found = [self._scaled(images, side) for side in self.config.scales]
        size = max((one.maps.shape[2:] for one in found), key=lambda shape: shape.numel())
        maps = [interpolate(one.maps, size, mode="bilinear", align_corners=False) for one in found]
        return Maps(torch.stack([one.scores for one in found]).mean(0), torch.stack(maps).mean(0))

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the ranking loss, or a classification loss over the classes whose label is known."""
        if self.config.loss != "ap":
            return super().loss(images, labels)
        return {"ranking": ap_ranking_loss(all_gather(self(images).scores), all_gather(labels), pairs=self.config.ap_pairs)}

    def _scaled(self, images: Tensor, side: int) -> Maps:
        resized = interpolate(images, (side, side), mode="bilinear", align_corners=False, antialias=True)
        return self._at(resized, side)

    def _at(self, images: Tensor, side: int) -> Maps:
        maps = super().forward(images).maps
        return Maps(self._pooled(maps, side) + self.maps.bias, maps)  # type: ignore[operator]

    def _pooled(self, maps: Tensor, side: int) -> Tensor:
        """Scores of the maps of an image of this side, by its own k where the config has none."""
        config, nearest = self.config, min(K_BY_SIZE, key=lambda one: abs(one - side))
        k_plus = K_BY_SIZE[nearest] if config.k_plus is None else config.k_plus
        return negative_evidence(maps, k_plus, k_plus if config.k_minus is None else config.k_minus, halve=config.halve)
