"""HaS: Hide-and-Seek, CAM trained on images with randomly hidden patches (Singh and Lee, ICCV 2017).

`has:32` is HaS-32, with patches of 32 pixels only.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from bench.method import Range, training
from methods.layers.hide_and_seek import hide_patches
from methods.layers.map_method import PooledConfig, PooledMaps


class HasConfig(PooledConfig):
    """Settings of HaS."""

    patches: tuple[Annotated[int, Field(ge=0)], ...] = training(
        (0, 16, 32, 44, 56), "patch sizes in pixels, one drawn per image; 0 hides nothing", min_length=1
    )
    hidden: float = training(0.5, "probability that a patch is hidden", search=Range(0.2, 0.7), ge=0, le=1)


class Has(PooledMaps):
    """CAM with patches of the training images replaced by the mean colour; nothing is hidden at test."""

    Config = HasConfig
    variants: ClassVar = {"32": {"patches": (32,)}}
    recipes: ClassVar = {"shapes": {"epochs": 40, "batch_size": 8, "dropout": 0.0, "patches": (0, 12, 20)}}
    config: HasConfig

    def pool(self, maps: Tensor) -> Tensor:
        """Average maps (B, C, h, w) to scores (B, C)."""
        return maps.mean(dim=(2, 3))

    def alters_images(self) -> bool:
        """Return True: patches are hidden anew each time."""
        return True

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the classification loss of images with patches hidden."""
        return super().loss(hide_patches(images, self.config.patches, self.config.hidden, self.backbone.mean), labels)
