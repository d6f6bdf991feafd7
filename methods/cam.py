"""CAM: class activation maps of a net with global average pooling (Zhou et al., CVPR 2016; the GAP rows of the papers).

A 1x1 convolution to one map a class, averaged: the same function as averaging features and a linear layer, with the
maps for free (ACoL, Sec. 3.1).
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from methods.layers.map_method import PooledConfig, PooledMaps


class Cam(PooledMaps):
    """A class scores the mean of its map."""

    Config = PooledConfig
    recipes: ClassVar = {"shapes": {"epochs": 40, "batch_size": 8, "dropout": 0.0}}

    def pool(self, maps: Tensor) -> Tensor:
        """Compute the mean over the map."""
        return maps.mean(dim=(2, 3))
