"""Classifier: the fine-tuned net with its fully connected layers, the default base of the attribution methods.

It has no maps of its own; it returns its scores as maps of one position.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d

from bench.method import Maps, Task
from methods.layers.map_method import ImageConfig, ImageMethod
from methods.layers.region_method import make_linear


class Classifier(ImageMethod):
    """A linear layer on the net's own head of the whole image: fc7, or the mean over all positions."""

    Config = ImageConfig
    kinds: ClassVar = ("scores",)
    recipes: ClassVar = {"shapes": {"epochs": 40, "batch_size": 8}}

    def __init__(self, config: ImageConfig, task: Task) -> None:
        super().__init__(config, task, roi_head="own")
        self.fully_connected = any(isinstance(layer, nn.Linear) for layer in self.backbone.roi_head.modules())
        self.output = make_linear(self.backbone.roi_channels, len(task.classes))

    def forward(self, images: Tensor) -> Maps:
        """Compute logits (B, C), also as maps (B, C, 1, 1)."""
        features = self.backbone.features(images)
        if self.fully_connected:  # its layers expect the grid that pool5 gives for 224 pixels
            features = adaptive_max_pool2d(features, self.backbone.roi_size)
        scores = self.output(self.backbone.roi_head(features)).float()
        return Maps(scores, scores[:, :, None, None])

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the classification loss over the classes with known labels."""
        return {"classification": self.classification(self(images).scores, labels)}
