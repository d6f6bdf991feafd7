"""MANTRA: class maps pooled to half the maximum plus the minimum (Durand et al., ICCV 2015; WELDON, Eq. 3)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bench.method import training
from methods.layers.map_method import PooledConfig, PooledMaps
from methods.layers.pooling import pool_negative_evidence


class MantraConfig(PooledConfig):
    """Settings of MANTRA."""

    halve: bool = training(True, "halve the sum of maximum and minimum (WELDON, Eq. 3); false: use the sum")


class Mantra(PooledMaps):
    """A class's score is the mean of the maximum and the minimum of its map."""

    Config = MantraConfig
    recipes: ClassVar = {"shapes": {"epochs": 40, "batch_size": 8, "dropout": 0.0}}
    config: MantraConfig

    def pool(self, maps: Tensor) -> Tensor:
        """Pool maps (B, C, h, w) to scores (B, C) from their highest and lowest region."""
        return pool_negative_evidence(maps, 1, 1, halve=self.config.halve)
