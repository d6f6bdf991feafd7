"""LSE: class maps with log-mean-exp pooling (Pinheiro and Collobert, CVPR 2015; the pooling of ProNet)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bench.method import Range, training
from methods.layers.map_method import PooledConfig, PooledMaps
from methods.layers.pooling import pool_generalised


class LseConfig(PooledConfig):
    """Settings of LSE."""

    beta: float = training(
        5.0,
        "sharpness: the mean as it tends to 0, the maximum as it tends to infinity",
        search=Range(0.5, 20, log=True),
        gt=0,
    )


class Lse(PooledMaps):
    """A class's score is log(mean(exp(beta s))) / beta over its map s."""

    Config = LseConfig
    recipes: ClassVar = {"shapes": {"epochs": 40, "batch_size": 8, "dropout": 0.0}}
    config: LseConfig

    def pool(self, maps: Tensor) -> Tensor:
        """Take the soft maximum of maps (B, C, h, w) as scores (B, C)."""
        return pool_generalised(maps, self.config.beta, self.config.beta)
