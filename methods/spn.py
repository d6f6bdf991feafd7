"""SPN: soft proposal network, features weighted by how much a position differs from others (Zhu et al., ICCV 2017).

The last features U of the net, through a new 3x3 convolution (the released heads), are coupled with the objectness map
M that they give rise to: V = U * M is summed over positions, then linear. Class maps are R_c = sum_k w_kc U_k * M.
M is a constant for the gradient. It is taken at its stable state; `released-voc` walks at most 20 steps, with the far
wider neighbourhood of the released VOC models. A box encloses what reaches the mean of a map (Sec. 4.3).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from bench.method import Maps, Task, prediction, training
from bench.predictions.decode import BoxRule
from methods.layers.map_method import ImageConfig, ImageMethod, neck
from methods.layers.region_method import linear
from methods.layers.soft_proposal import dissimilarity, stable_state, walk


class SpnConfig(ImageConfig):
    """Settings of SPN."""

    lr: float = training(0.01, "learning rate", gt=0)
    head_lr_multiplier: float = training(1.0, "learning rate of the new layers, as a multiple of lr", gt=0)
    neck: int = training(1024, "channels of the new 3x3 convolution before the soft proposal; 0: none", ge=0)
    groups: int = training(2, "groups of that convolution", ge=1)
    dropout: float = training(0.5, "share of the summed features dropped at training", ge=0, lt=1)
    epsilon: float = training(0.15, "width of the neighbourhood, as a multiple of epsilon_of", gt=0)
    epsilon_of: Literal["side", "cells"] = training(
        "side", "the side of the map in cells (the paper's), or their number (the released VOC models')"
    )
    proposal: Literal["stable", "walk"] = training("stable", "the walk's stable state in one pass, or some steps of it")
    steps: int = training(20, "proposal=walk: at most so many steps", ge=1)
    tolerance: float = training(1e-4, "proposal=walk: a smaller step is the last", ge=0)
    box_rule: BoxRule = prediction("mean", "what of the foreground boxes enclose; the mean has no box_threshold")


class Spn(ImageMethod):
    """A net whose features are coupled with their soft proposal."""

    Config = SpnConfig
    kinds: ClassVar = (*ImageMethod.kinds, "objectness")
    variants: ClassVar = {
        "walk": {"proposal": "walk"},
        "released-voc": {"proposal": "walk", "epsilon_of": "cells", "box_rule": "mean-components"},
    }
    recipes: ClassVar = {"shapes": {"epochs": 40, "batch_size": 8, "dropout": 0.0, "neck": 128}}
    config: SpnConfig

    def __init__(self, config: SpnConfig, task: Task) -> None:
        super().__init__(config, task)
        self.neck = neck(self.backbone.channels, config.neck, config.groups)
        self.dropout = nn.Dropout(config.dropout)
        self.output = linear(config.neck or self.backbone.channels, len(task.classes))

    def proposal(self, features: Tensor) -> Tensor:
        """Compute the objectness M (B, h, w) of features (B, K, h, w), which sums to 1."""
        config, (height, width) = self.config, features.shape[2:]
        cells = height * width
        epsilon = config.epsilon * (cells**0.5 if config.epsilon_of == "side" else cells)
        apart = dissimilarity(features, epsilon)
        stable = config.proposal == "stable"
        found = stable_state(apart) if stable else walk(apart, steps=config.steps, tolerance=config.tolerance)
        return found.view(-1, height, width)

    def forward(self, images: Tensor) -> Maps:
        """Logits (B, C), response maps (B, C, h, w), whose sums are the logits but for dropout and bias, and M."""
        features = self.neck(self.backbone.features(images)).float()
        proposal = self.proposal(features)
        coupled = features * proposal[:, None]
        scores = self.output(self.dropout(coupled.sum(dim=(2, 3))))
        maps = nn.functional.conv2d(coupled, self.output.weight[:, :, None, None])
        return Maps(scores.float(), maps.float(), proposal)

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the classification loss over the classes whose label is known."""
        return {"classification": self.classification(self(images).scores, labels)}
