"""LSE: log-mean-exp pooling, between mean and maximum (Pinheiro and Collobert, CVPR 2015; the pooling of ProNet)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bench.method import training
from methods.layers.map_method import PooledConfig, PooledMaps
from methods.layers.pooling import generalised


class LseConfig(PooledConfig):
    """Settings of LSE."""

    beta: float = training(5.0, "sharpness: towards 0 the mean, towards infinity the maximum", gt=0)


class Lse(PooledMaps):
    """A class scores log(mean(exp(beta s))) / beta."""

    Config = LseConfig
    recipes: ClassVar = {"shapes": {"epochs": 40, "batch_size": 8, "dropout": 0.0}}
    config: LseConfig

    def pool(self, maps: Tensor) -> Tensor:
        """Compute the soft maximum over the map."""
        return generalised(maps, self.config.beta, self.config.beta)
