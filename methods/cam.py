"""CAM: class activation maps of a net with global average pooling (Zhou et al., CVPR 2016; the papers' GAP rows).

A 1x1 convolution produces one map per class, followed by global average pooling. This equals average pooling followed
by a linear layer, but yields the maps in the forward pass (ACoL, Sec. 3.1, Eq. 1-2).
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from methods.layers.map_method import PooledConfig, PooledMaps


class Cam(PooledMaps):
    """A class's score is the mean of its map."""

    Config = PooledConfig
    recipes: ClassVar = {"shapes": {"epochs": 40, "batch_size": 8, "dropout": 0.0}}

    def pool(self, maps: Tensor) -> Tensor:
        """Average maps (B, C, h, w) to scores (B, C)."""
        return maps.mean(dim=(2, 3))
