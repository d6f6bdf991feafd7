"""WELDON: class maps pooled over their highest and lowest regions (ResNet-WELDON, Durand et al., TPAMI 2019).

It is trained with a logistic loss per class, softmax, or average-precision ranking of a batch's images (`ap`). The rows
of Table 7 are variants: a) max, b) fine-tuning, c) k regions, d) min. `multi-scale` is Table 3: one net applied at
seven image sizes, with averaged scores (the paper calls this an "Object-Bank strategy"; its code was not released).
`wildcat` (Durand et al., CVPR 2017) averages several maps per class and down-weights the lowest regions, as in its
released code.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, cast

import torch
from pydantic import model_validator
from torch import Tensor
from torch.nn.functional import interpolate

from bench.config import Side
from bench.method import Maps, Range, Task, training
from bench.training.collectives import all_gather
from bench.training.map_alignment import View, average_views
from methods.layers.ap_ranking import Pairs, ap_ranking_loss
from methods.layers.map_method import PooledConfig, PooledMaps, make_map_layer
from methods.layers.pooling import pool_negative_evidence

K_BY_SIZE = {224: 5, 280: 10, 320: 20, 374: 30, 448: 50, 560: 75, 747: 100}
"""k+ and k- for each image size (Table 3)."""


class WeldonConfig(PooledConfig):
    """Settings of WELDON."""

    net: str = training("resnet101", "backbone, by name (methods/nets)")
    input_size: int = training(448, "side of the square input in pixels", ge=32, le=4096)
    dropout: float = training(0.0, "dropout of the features before the maps in training", ge=0, lt=1)
    loss: Literal["multi-label", "softmax", "ap"] = training(  # type: ignore[assignment]
        "multi-label",
        "multi-label: a logistic loss per class; softmax: for images with one class; ap: rank the images of the batch",
    )
    ap_pairs: Pairs = training(
        "sum", "for loss=ap: sum over pairs of images (Eq. 12), or average them as Yue et al. do"
    )
    k_plus: float | None = training(
        None,
        "k+, the number or fraction of highest regions; none: the value of Table 3 for the input size",
        search=Range(0.02, 0.5, log=True),
        gt=0,
    )
    k_minus: float | None = training(
        None, "k-, the number or fraction of lowest regions; none: as k_plus; 0: none of them", ge=0
    )
    alpha: float = training(
        1.0,
        "weight of the lowest regions relative to the highest (WILDCAT: .7)",
        search=Range(0, 1),
        ge=0,
        later=True,
    )
    maps: int = training(1, "number of maps per class, of which the mean is pooled (WILDCAT: 8)", ge=1, later=True)
    halve: bool = training(True, "halve the sum of highest and lowest (Eq. 11); false: use the sum")
    scales: tuple[Side, ...] = training(
        (), "input sizes whose scores are averaged, each at most input_size; empty: input_size only"
    )

    @model_validator(mode="after")
    def _check_ranking_and_scales(self) -> WeldonConfig:
        if self.loss == "ap" and self.alpha != 1:
            raise ValueError("loss=ap needs alpha=1, because its inference is exact only then (Proposition 1)")
        if self.loss == "ap" and self.k_minus not in (None, self.k_plus):
            raise ValueError("loss=ap needs k_minus = k_plus, because its inference is exact only then (Proposition 1)")
        if self.loss == "ap" and self.label_smoothing:
            raise ValueError("label_smoothing needs loss=multi-label or softmax: loss=ap ranks images")
        if self.scales and max(self.scales) > self.input_size:
            raise ValueError(f"scales may not be above input_size ({self.input_size}), but one is {max(self.scales)}")
        return self


class Weldon(PooledMaps):
    """A class's score is the mean of its k+ highest and k- lowest regions."""

    Config = WeldonConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "a": {"freeze_backbone": True, "k_plus": 1, "k_minus": 0},
        "a+b": {"k_plus": 1, "k_minus": 0},
        "a+b+c": {"k_plus": 30, "k_minus": 0},
        "a+b+d": {"k_plus": 1, "k_minus": 1},
        "a+b+c+d": {"k_plus": 30, "k_minus": 30},
        "ap": {"loss": "ap", "k_plus": 1, "k_minus": 1, "alpha": 1.0},
        "wildcat": {"maps": 8, "alpha": 0.7, "k_plus": 0.2, "k_minus": 0.2},
        "multi-scale": {"input_size": 747, "scales": tuple(K_BY_SIZE), "k_plus": None, "k_minus": None},
    }
    recipes: ClassVar = {"shapes": {"epochs": 40, "batch_size": 8}}
    config: WeldonConfig

    def __init__(self, config: WeldonConfig, task: Task) -> None:
        super().__init__(config, task)
        if config.maps > 1:
            self.maps = make_map_layer(self.maps.in_channels, len(task.classes) * config.maps)

    def alters_images(self) -> bool:
        """Return whether images are resized to several scales."""
        return bool(self.config.scales)

    def pool(self, maps: Tensor) -> Tensor:
        """Pool maps (B, C, h, w) of images of the configured input size to scores (B, C)."""
        return self._pool_at(maps, self.config.input_size)

    def forward(self, images: Tensor) -> Maps:
        """Compute logits (B, C) and class maps (B, C, h, w), averaged over the scales at the largest map size."""
        if not self.config.scales:
            return self._forward_at(images, max(images.shape[2:]))
        sides, is_placed = self.config.scales, self.config.map_alignment == "cells"
        outputs = [self._forward_resized(images, side) for side in sides]
        cells = [self.backbone.cells.scale(1 / side) if is_placed else None for side in sides]
        maps, common = average_views([View(one.maps, own) for one, own in zip(outputs, cells, strict=True)])
        scores = torch.stack([output.scores for output in outputs]).mean(0)
        return Maps(scores, maps, cells=common and common.scale(images.shape[-1]))

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the ranking loss, or a classification loss over the classes with known labels."""
        if self.config.loss != "ap":
            return super().loss(images, labels)
        return {
            "ranking": ap_ranking_loss(all_gather(self(images).scores), all_gather(labels), pairs=self.config.ap_pairs)
        }

    def _forward_resized(self, images: Tensor, side: int) -> Maps:
        resized = interpolate(images, (side, side), mode="bilinear", align_corners=False, antialias=True)
        return self._forward_at(resized, side)

    def _forward_at(self, images: Tensor, side: int) -> Maps:
        found, bias = super().forward(images), cast("Tensor", self.maps.bias)
        shape = len(self.task.classes), self.config.maps, *found.maps.shape[2:]
        maps = found.maps.view(-1, *shape).mean(dim=2)
        scores = self._pool_at(maps, side) + bias.view(*shape[:2]).mean(dim=1)
        return found._replace(scores=scores, maps=maps)

    def _pool_at(self, maps: Tensor, side: int) -> Tensor:
        """Pool the maps of images of this size; where the config sets no k, use Table 3's for the nearest size."""
        config, nearest = self.config, min(K_BY_SIZE, key=lambda size: abs(size - side))
        k_plus = K_BY_SIZE[nearest] if config.k_plus is None else config.k_plus
        return pool_negative_evidence(
            maps, k_plus, k_plus if config.k_minus is None else config.k_minus, halve=config.halve, alpha=config.alpha
        )
