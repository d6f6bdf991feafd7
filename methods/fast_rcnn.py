"""Fast R-CNN retrained on the pseudo objects of another run (MELM, Sec. 4.3.1): `--set pseudo=RUN`.

A training image's objects are the best box of each class that it shows, as that run predicts them on the training
split (run it under voc07-corloc). The detector is Fast R-CNN's (Girshick, ICCV 2015): proposals are classified, and
moved class by class. Box codes, sampling and the loss are torchvision's.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, BoxCoder
from torchvision.models.detection.roi_heads import fastrcnn_loss
from torchvision.ops import clip_boxes_to_image

from bench.method import ProposalConfig, Task, training
from methods.layers.boxes import canonical_order, iou
from methods.layers.region_method import RegionNet, linear

IGNORED, BACKGROUND = -1, 0
"""As torchvision counts: classes from 1."""


class FastRcnnConfig(ProposalConfig):
    """Settings of Fast R-CNN."""

    net: str = training("resnet101", "backbone, by name (methods/nets); MELM: ResNet-101")
    pseudo: str = training("", "run on the training split, by address or how it begins, or a file of boxes")
    sampled: int = training(128, "proposals of an image that a step learns from, at most", ge=1)
    positives: float = training(0.25, "share of them that may be objects", gt=0, le=1)
    foreground: float = training(0.5, "IoU with a pseudo object from which a proposal is one", gt=0, le=1)
    background: float = training(0.1, "IoU below `foreground` from which a proposal is background", ge=0, le=1)


class FastRcnn(RegionNet):
    """A classifier with background, and a box for each class."""

    Config = FastRcnnConfig
    recipes: ClassVar = {"shapes": {"epochs": 20, "batch_size": 2, "lr": 0.002}}
    names: ClassVar = ("classification", "boxes")
    config: FastRcnnConfig

    def __init__(self, config: FastRcnnConfig, task: Task) -> None:
        super().__init__(config, task)
        outputs, width = len(task.classes) + 1, self.backbone.roi_channels
        self.classifier, self.regressor = linear(width, outputs), linear(width, 4 * outputs, std=0.001)
        self.coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
        self.sampler = BalancedPositiveNegativeSampler(config.sampled, config.positives)

    def score(self, features: Tensor) -> Tensor:
        """Softmax over classes and background (R, C)."""
        p: Tensor = self.classifier(features).float().softmax(dim=1)
        return p[:, 1:]

    def detect(self, image: Tensor, proposals: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (R, C), and boxes (R, C, 4) within the image."""
        order = canonical_order(proposals)
        features = self.backbone.regions(image, proposals[order]).float()
        boxes = self.coder.decode(self.regressor(features).float(), [proposals[order]])[:, 1:]
        inside = clip_boxes_to_image(boxes, (image.shape[-2], image.shape[-1]))
        back = order.argsort()
        return self.score(features)[back], inside[back]

    def loss(
        self,
        image: Tensor,
        proposals: Tensor,
        labels: Tensor,
        objects: Tensor | None = None,
        classes: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Cross entropy and smooth L1 of a sample of the proposals, pseudo objects (S, 4) of classes (S,) among them.

        Only objects of classes whose label is 1 count; without any the image teaches nothing. Nothing is learned about
        classes whose label is 0.
        """
        if objects is None or classes is None:
            raise ValueError("Fast R-CNN learns from pseudo objects: set `pseudo` to a run or a file of boxes.")
        is_present = labels[classes] > 0
        objects, classes = objects[is_present], classes[is_present]
        if not len(objects):
            return self.nothing(*self.names)
        boxes = torch.cat([proposals, objects])
        boxes = boxes[canonical_order(boxes)]
        target, nearest = self.assign_targets(boxes, objects, classes)
        positive, negative = self.sampler([target])
        rows = (positive[0] | negative[0]).nonzero()[:, 0]
        features = self.backbone.regions(image, boxes[rows]).float()
        unknown = torch.cat([labels.new_ones(1), labels]) == 0
        logits = self.classifier(features).float().masked_fill(unknown, -torch.inf)
        codes = self.coder.encode([objects[nearest[rows]]], [boxes[rows]])
        terms = fastrcnn_loss(logits, self.regressor(features).float(), [target[rows]], list(codes))
        return dict(zip(self.names, terms, strict=True))

    def assign_targets(self, boxes: Tensor, objects: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Assign boxes (R, 4) to 1 + class, BACKGROUND or IGNORED (R,), and to the object of largest overlap (R,)."""
        overlap, nearest = iou(objects, boxes).max(dim=0)
        other = torch.where(overlap >= self.config.background, BACKGROUND, IGNORED)
        return torch.where(overlap >= self.config.foreground, classes[nearest] + 1, other), nearest
