"""What methods on region proposals share: the backbone, an order of the proposals, and images that teach nothing."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from bench.method import ProposalConfig, ProposalMethod, Task
from methods.layers.boxes import canonical_order
from methods.nets import build


class RegionNet(ProposalMethod):
    """Scores from the features of regions.

    Regions come to `score` sorted by their coordinates, so that the order in which an image's proposals are given
    permutes the scores and changes nothing else, to the last bit.
    """

    config: ProposalConfig

    def __init__(self, config: ProposalConfig, task: Task) -> None:
        super().__init__(config, task)
        self.backbone = build(config.net, config.weights, roi_head=config.roi_head, roi_pooling=config.roi_pooling)
        for name, parameter in self.backbone.named_parameters():
            parameter.requires_grad_(not config.freeze_backbone or name not in self.backbone.pretrained)

    @abstractmethod
    def score(self, features: Tensor) -> Tensor:
        """Scores (R, C), at least 0, from region features (R, D); R > 0."""

    def train(self, mode: bool = True) -> RegionNet:
        """As every module's; batch normalisation keeps the statistics that the weights set: images come one by one."""
        super().train(mode)
        for module in self.backbone.modules() if self.backbone.pretrained else ():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, image: Tensor, proposals: Tensor) -> Tensor:
        """Scores (R, C) of proposals (R, 4), or (R, 5) as `features` takes them, in pixels of image (1, 3, H, W)."""
        if not len(proposals):
            return image.new_zeros((0, len(self.task.classes)))
        order = canonical_order(proposals)
        return self.score(self.features(image, proposals[order]))[order.argsort()]

    def features(self, image: Tensor, proposals: Tensor) -> Tensor:
        """Features (R, D) of proposals (R, 4); of (R, 5), their own scores weigh what is pooled, by `box_scores`."""
        own = proposals[:, 4:]
        weight = 1 + self.config.box_scores * own[:, 0] if own.shape[1] else None  # type: ignore[attr-defined]
        return self.backbone.regions(image, proposals[:, :4], weight).float()

    def new_parameters(self) -> list[nn.Parameter]:
        """Everything but what the weights set."""
        old = {id(one) for one in self.backbone.parameters()} - {id(one) for one in self.backbone.new_parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in old]

    def nothing(self, *names: str) -> dict[str, Tensor]:
        """Terms that are all 0, with gradients of 0: the loss of an image that teaches nothing."""
        zero = torch.stack([parameter.sum() for parameter in self.parameters()]).sum() * 0
        return dict.fromkeys(names, zero)


class RegionMethod(RegionNet):
    """Scores and loss from the features of regions, which come to `terms` sorted too."""

    names: ClassVar[tuple[str, ...]]
    """Names of the loss terms."""

    @abstractmethod
    def terms(self, features: Tensor, boxes: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the loss from region features (R, D), boxes (R, 4) and labels (C,) in {+1, 0, -1}; R > 0.

        Classes of label 0 are to be left out before any softmax, so that nothing about them is learned.
        """

    def loss(self, image: Tensor, proposals: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Named terms; all 0, with gradients of 0, for an image without proposals or without any known label."""
        if not len(proposals) or not labels.any():
            return self.nothing(*self.names)
        proposals = proposals[canonical_order(proposals)]
        return self.terms(self.features(image, proposals), proposals[:, :4], labels)


def linear(before: int, after: int, std: float = 0.01) -> nn.Linear:
    """Build a linear layer as the papers initialise it: weights from N(0, std), bias 0."""
    layer = nn.Linear(before, after)
    nn.init.normal_(layer.weight, std=std)
    nn.init.zeros_(layer.bias)
    return layer
