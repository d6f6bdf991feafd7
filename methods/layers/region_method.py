"""Base classes of methods on region proposals: backbone, order of the proposals, and empty losses."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from bench.method import ProposalConfig, ProposalMethod, Task
from methods.layers.boxes import canonical_order
from methods.nets import Backbone, build
from methods.nets.backbone import find_new_parameters


class RegionNet(ProposalMethod):
    """Scores from the features of regions.

    `score` receives regions sorted by their coordinates, so permuting an image's proposals permutes the scores and
    changes nothing else, bit for bit.
    """

    config: ProposalConfig

    def __init__(self, config: ProposalConfig, task: Task) -> None:
        super().__init__(config, task)
        self.backbone = build(config.net, config.weights, roi_head=config.roi_head, roi_pooling=config.roi_pooling)
        self._freeze()

    def _freeze(self) -> None:
        if self.config.freeze_backbone:
            standardise, rounded = self.config.feature_norm == "standard", self.config.feature_precision == "float16"
            self.backbone.freeze("regions", standardise=standardise, rounded=rounded)

    def assume_pretrained(self) -> None:
        """Set the method up as if initial weights had been read from a file."""
        self.backbone.assume_pretrained()
        self._freeze()

    @abstractmethod
    def score(self, features: Tensor) -> Tensor:
        """Compute scores (R, C), at least 0, from region features (R, D); R > 0."""

    def train(self, mode: bool = True) -> RegionNet:
        """Set the mode; pretrained batch normalisation keeps its statistics, because a batch is one image.

        A frozen backbone whose output can be cached also has no dropout.
        """
        super().train(mode)
        if self.backbone.frozen and self.backbone.rounds:
            self.backbone.eval()
        for module in self.backbone.modules() if self.backbone.pretrained else ():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, image: Tensor, proposals: Tensor) -> Tensor:
        """Compute scores (R, C) of proposals (R, 4) in pixels of image (1, 3, H, W), or (R, 5) as in `features`."""
        if not len(proposals):
            return self.backbone.mean.new_zeros((0, len(self.task.classes)))
        order = canonical_order(proposals)
        return self.score(self.features(image, proposals[order]))[order.argsort()]

    def frozen_net(self) -> Backbone | None:
        """Return the backbone if everything that computes region vectors is frozen, else None."""
        return self.backbone if self.backbone.frozen else None

    def alters_images(self) -> bool:
        """Return whether features also depend on the proposals' own scores (`box_scores`)."""
        return bool(getattr(self.config, "box_scores", 0))

    def features(self, image: Tensor, proposals: Tensor) -> Tensor:
        """Compute features (R, D) of proposals (R, 4); scores in a fifth column weight the features by `box_scores`."""
        box_scores = proposals[:, 4:]
        weight = 1 + self.config.box_scores * box_scores[:, 0] if box_scores.shape[1] else None  # type: ignore[attr-defined]
        return self.backbone.regions(image, proposals[:, :4], weight).float()

    def new_parameters(self) -> list[nn.Parameter]:
        """Return all parameters except those set by pretrained weights."""
        return find_new_parameters(self, self.backbone)

    def zero_losses(self, *names: str) -> dict[str, Tensor]:
        """Return terms that are all 0, with a zero gradient for every parameter."""
        zero = torch.stack([parameter.sum() for parameter in self.parameters()]).sum() * 0
        return dict.fromkeys(names, zero)


class RegionMethod(RegionNet):
    """A region net whose loss comes from region features, sorted by coordinates like those of `score`."""

    names: ClassVar[tuple[str, ...]]
    """Names of the loss terms."""

    @abstractmethod
    def terms(self, features: Tensor, boxes: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the loss terms from region features (R, D), boxes (R, 4) and labels (C,) in {+1, 0, -1}; R > 0.

        Classes with label 0 must be left out before any softmax, so that they do not affect the loss.
        """

    def loss(self, image: Tensor, proposals: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute named terms; all are 0, with zero gradients, for an image without proposals or known labels."""
        if not len(proposals) or not labels.any():
            return self.zero_losses(*self.names)
        proposals = proposals[canonical_order(proposals)]
        return self.terms(self.features(image, proposals), proposals[:, :4], labels)


def make_linear(before: int, after: int, std: float = 0.01) -> nn.Linear:
    """Build a linear layer as the papers initialise it: weights from N(0, std), bias 0."""
    layer = nn.Linear(before, after)
    nn.init.normal_(layer.weight, std=std)
    nn.init.zeros_(layer.bias)
    return layer
