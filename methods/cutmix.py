"""CutMix: CAM trained on images with a part of another pasted in, and on both images' labels (Yun et al., ICCV 2019).

Choe et al. (CVPR 2020) evaluate it as a localization method. The paper mixes one-hot labels. Here, as images may have
several classes, the losses for both images' labels are averaged, weighted by their shares of the pixels (Eq. 1); for a
logistic loss with all labels known, this equals the loss for mixed labels. A class whose label is unknown for one of
the images is left out of that image's loss. The papers were not at hand; this follows general knowledge and the
released code.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bench.method import Range, training
from methods.layers.map_method import PooledConfig, PooledMaps
from methods.layers.mixing import cut_and_mix


class CutMixConfig(PooledConfig):
    """Settings of CutMix."""

    beta: float = training(
        1.0, "the share kept is drawn from Beta(beta, beta); 1: evenly", search=Range(0.2, 2, log=True), gt=0
    )
    mixed: float = training(1.0, "probability that a step mixes (CIFAR: 0.5)", search=(0.5, 1.0), ge=0, le=1)


class CutMix(PooledMaps):
    """CAM on mixed images; nothing is mixed at test."""

    Config = CutMixConfig
    recipes: ClassVar = {"shapes": {"epochs": 40, "batch_size": 8, "dropout": 0.0}}
    config: CutMixConfig

    def pool(self, maps: Tensor) -> Tensor:
        """Average maps (B, C, h, w) to scores (B, C)."""
        return maps.mean(dim=(2, 3))

    def alters_images(self) -> bool:
        """Return True: parts are pasted anew each time."""
        return True

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the classification loss of mixed images for both labels, weighted by their shares of the pixels."""
        if torch.rand(()) >= self.config.mixed:
            return super().loss(images, labels)
        mix = cut_and_mix(images, self.config.beta)
        scores = self(mix.images).scores
        own, pasted = (self.classification(scores, each) for each in (labels, labels[mix.source]))
        return {"classification": mix.kept * own + (1 - mix.kept) * pasted}
