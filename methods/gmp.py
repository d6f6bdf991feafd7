"""GMP: class maps with global max pooling (DeepMIL, Oquab et al., CVPR 2015; "ResNet-max")."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from methods.layers.map_method import PooledConfig, PooledMaps


class Gmp(PooledMaps):
    """A class's score is the maximum of its map."""

    Config = PooledConfig
    recipes: ClassVar = {"shapes": {"epochs": 40, "batch_size": 8, "dropout": 0.0}}

    def pool(self, maps: Tensor) -> Tensor:
        """Take the maximum of maps (B, C, h, w) as scores (B, C)."""
        return maps.amax(dim=(2, 3))
