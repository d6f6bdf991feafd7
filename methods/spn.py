"""SPN: soft proposal network, features coupled with an objectness map from a random walk (Zhu et al., ICCV 2017).

The last features U, after a new 3x3 convolution (as in the released heads), are coupled with the objectness map M
computed from them (Sec. 3.1): V = U * M is summed over positions and classified by a linear layer. Class maps are
R_c = sum_k w_kc U_k * M. M is the detached stable state of the walk. Boxes enclose the cells that reach the mean of a
map (Sec. 4.3). `released-voc` walks at most 20 steps, with the far wider neighbourhood of the released VOC models,
treats classes with only difficult objects as absent, and draws boxes around 4-connected components. The released
evaluation differs: it pools the boxes of three models, with sides of at least 50 pixels, by non-maximum suppression,
and enlarges maps with aligned corners.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from bench.method import Maps, Range, Task, prediction, training
from bench.predictions.decode import BoxRule
from methods.layers.map_method import ImageConfig, ImageMethod, make_neck
from methods.layers.region_method import make_linear
from methods.layers.soft_proposal import dissimilarity, stable_state, walk


class SpnConfig(ImageConfig):
    """Settings of SPN."""

    lr: float = training(0.01, "learning rate", search=Range(1e-3, 1, log=True), gt=0)
    head_lr_multiplier: float = training(1.0, "learning rate of the new layers, as a multiple of lr", gt=0)
    neck: int = training(1024, "channels of the new 3x3 convolution before the soft proposal; 0: none", ge=0)
    groups: int = training(2, "number of groups of that convolution", ge=1)
    dropout: float = training(0.5, "dropout of the summed features in training", search=(0.0, 0.25, 0.5), ge=0, lt=1)
    epsilon: float = training(
        0.15, "width of the neighbourhood, as a multiple of epsilon_of", search=Range(0.05, 0.5, log=True), gt=0
    )
    epsilon_of: Literal["side", "cells"] = training(
        "side", "the side of the map in cells (the paper's), or their number (the released VOC models')"
    )
    proposal: Literal["stable", "walk"] = training(
        "stable", "the stable state of the walk in closed form, or some steps of it"
    )
    steps: int = training(20, "maximum number of steps, for proposal=walk", ge=1)
    tolerance: float = training(1e-4, "stop after a smaller step, for proposal=walk", ge=0)
    box_rule: BoxRule = prediction("mean", "foreground that boxes enclose; mean does not use box_threshold")


class Spn(ImageMethod):
    """A net whose features are coupled with their soft proposal map."""

    Config = SpnConfig
    kinds: ClassVar = (*ImageMethod.kinds, "objectness")
    variants: ClassVar = {
        "walk": {"proposal": "walk"},
        "released-voc": {
            "proposal": "walk",
            "epsilon_of": "cells",
            "box_rule": "mean-components-4",
            "map_alignment": "resize",
            "difficult_labels": "negative",
        },
    }
    recipes: ClassVar = {"shapes": {"epochs": 40, "batch_size": 8, "dropout": 0.0, "neck": 128}}
    config: SpnConfig

    def __init__(self, config: SpnConfig, task: Task) -> None:
        super().__init__(config, task)
        self.neck = make_neck(self.backbone.channels, config.neck, config.groups)
        self.dropout = nn.Dropout(config.dropout)
        self.output = make_linear(config.neck or self.backbone.channels, len(task.classes))

    def proposal(self, features: Tensor) -> Tensor:
        """Compute the objectness M (B, h, w), which sums to 1, from features (B, K, h, w)."""
        config, (height, width) = self.config, features.shape[2:]
        cells = height * width
        epsilon = config.epsilon * (cells**0.5 if config.epsilon_of == "side" else cells)
        distances = dissimilarity(features, epsilon)
        stable = config.proposal == "stable"
        objectness = (
            stable_state(distances) if stable else walk(distances, steps=config.steps, tolerance=config.tolerance)
        )
        return objectness.view(-1, height, width)

    def forward(self, images: Tensor) -> Maps:
        """Compute logits (B, C), response maps (B, C, h, w), and M.

        Without dropout and bias, a logit is the sum of its response map.
        """
        features = self.neck(self.backbone.features(images)).float()
        proposal = self.proposal(features)
        coupled = features * proposal[:, None]
        scores = self.output(self.dropout(coupled.sum(dim=(2, 3))))
        maps = nn.functional.conv2d(coupled, self.output.weight[:, :, None, None])
        return Maps(scores.float(), maps.float(), proposal, self.backbone.cells)

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the classification loss over the classes with known labels."""
        return {"classification": self.classification(self(images).scores, labels)}
