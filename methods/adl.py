"""ADL: attention-based dropout, CAM trained while its strongest features are dropped (Choe and Shim, CVPR 2019).

At several levels of the net, each training step randomly either drops the most attended cells, so that less
discriminative parts are learned too, or weights all cells by their attention, which preserves accuracy (Sec. 3).
Features are unchanged at test. In a frozen net, only the last features can be changed. The paper was not at hand; this
follows general knowledge and the released code.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import ClassVar

from torch import Tensor, nn

from bench.errors import RequestError, format_count
from bench.method import Range, Task, training
from methods.layers.attention_dropout import drop_by_attention
from methods.layers.map_method import PooledConfig, PooledMaps


class AdlConfig(PooledConfig):
    """Settings of ADL."""

    drop_rate: float = training(
        0.75, "probability that a step drops cells, and does not weight them", search=Range(0.25, 0.9), ge=0, le=1
    )
    threshold: float = training(
        0.8,
        "cells of at least this share of the image's highest attention are dropped (Choe et al., CVPR 2020: 0.9)",
        search=Range(0.6, 0.95),
        ge=0,
        le=1,
    )
    levels: int = training(
        3,
        "number of levels with such a layer, the last ones (VGG16: conv3, conv4, conv5)",
        needs="!freeze_backbone or weights=none",
        ge=1,
        le=3,
    )


class Adl(PooledMaps):
    """CAM with attention-based dropout of the features in training."""

    Config = AdlConfig
    recipes: ClassVar = {"shapes": {"epochs": 40, "batch_size": 8, "dropout": 0.0, "levels": 1}}
    config: AdlConfig

    def __init__(self, config: AdlConfig, task: Task) -> None:
        super().__init__(config, task)
        there = len(self.backbone.stage_paths)
        if there < config.levels and not config.freezes_features:
            raise RequestError(
                f"adl at {config.levels} levels needs a net with maps of as many stages, and {config.net} has "
                f"{format_count(there, 'stage')}: set levels=1."
            )

    def pool(self, maps: Tensor) -> Tensor:
        """Average maps (B, C, h, w) to scores (B, C)."""
        return maps.mean(dim=(2, 3))

    def features(self, images: Tensor) -> Tensor:
        """Compute features (B, K, h, w); in training, cells are dropped or weighted at each level."""
        if not self.training:
            return super().features(images)
        inner = () if self.backbone.frozen else self.backbone.stage_paths[:-1]
        with ExitStack() as hooks:
            for path in inner[len(inner) + 1 - self.config.levels :]:
                layer = self.backbone.trunk.get_submodule(path)
                hooks.enter_context(layer.register_forward_hook(self._drop_output))
            return self._drop(super().features(images))

    def _drop(self, features: Tensor) -> Tensor:
        return drop_by_attention(features, self.config.drop_rate, self.config.threshold)

    def _drop_output(self, layer: nn.Module, given: object, out: Tensor) -> Tensor:
        return self._drop(out)
