"""Classifier: the fine-tuned net with its fully connected layers, the default base of the attribution methods.

It has no maps of its own; it returns its scores as maps of one position.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bench.method import Maps, Task
from methods.layers.map_method import ImageConfig, ImageMethod
from methods.layers.region_method import make_linear


class Classifier(ImageMethod):
    """A linear layer on the output of the net's own head for the whole image: fc7, or the mean over all positions."""

    Config = ImageConfig
    kinds: ClassVar = ("scores",)
    output_of_backbone: ClassVar = "vectors"
    recipes: ClassVar = {"shapes": {"epochs": 40, "batch_size": 8}}

    def __init__(self, config: ImageConfig, task: Task) -> None:
        super().__init__(config, task, roi_head="own")
        self.output = make_linear(self.backbone.roi_channels, len(task.classes))

    def forward(self, images: Tensor) -> Maps:
        """Compute logits (B, C), also as maps (B, C, 1, 1)."""
        scores = self.output(self.backbone.vectors(images)).float()
        return Maps(scores, scores[:, :, None, None])

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the classification loss over the classes with known labels."""
        return {"classification": self.classification(self(images).scores, labels)}

    @torch.no_grad()
    def fold_standardisation(self) -> None:
        """Fold the standardisation of a frozen net's features into the output layer, without changing the scores.

        Attributions propagate evidence down layer by layer, and need the net's original features.
        """
        for layer in self.backbone.frozen.standardise if self.backbone.frozen else ():
            self.output.weight.div_(layer.std)  # type: ignore[arg-type]
            self.output.bias.sub_(self.output.weight @ layer.mean)  # type: ignore[operator]
            layer.mean.zero_()  # type: ignore[operator]
            layer.std.fill_(1)  # type: ignore[operator]
