"""MANTRA: maximum plus minimum of a class's map (Durand et al., ICCV 2015), as WELDON's paper has it: halved."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bench.method import training
from methods.layers.map_method import PooledConfig, PooledMaps
from methods.layers.pooling import negative_evidence


class MantraConfig(PooledConfig):
    """Settings of MANTRA."""

    halve: bool = training(True, "half the sum of maximum and minimum (WELDON Eq. 3); off: the sum, twice as large")


class Mantra(PooledMaps):
    """A class scores the mean of the maximum and the minimum of its map."""

    Config = MantraConfig
    recipes: ClassVar = {"shapes": {"epochs": 40, "batch_size": 8, "dropout": 0.0}}
    config: MantraConfig

    def pool(self, maps: Tensor) -> Tensor:
        """Negative-evidence pooling at one region each."""
        return negative_evidence(maps, 1, 1, halve=self.config.halve)
