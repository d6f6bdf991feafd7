"""Fast R-CNN: a detector retrained on the pseudo boxes of another run (Girshick, ICCV 2015; MELM, Sec. 4.3.1).

Name the run with `--set pseudo=RUN`. The objects of a training image are that run's best boxes for each present class,
so it must predict the training split (run it under voc07-corloc). Proposals are classified, and regressed per class.
Box encoding and sampling are torchvision's.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, smooth_l1_loss
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, BoxCoder
from torchvision.ops import clip_boxes_to_image

from bench.method import ProposalConfig, Task, training
from methods.layers.boxes import canonical_order, iou
from methods.layers.region_method import RegionNet, make_linear

IGNORED, BACKGROUND = -1, 0
"""Targets as in torchvision, where classes count from 1."""


class FastRcnnConfig(ProposalConfig):
    """Settings of Fast R-CNN."""

    net: str = training("resnet101", "backbone, by name (methods/nets); MELM: ResNet-101")
    pseudo: str = training("", "run on the training split, by address, possibly abbreviated, or a file of boxes")
    sampled: int = training(128, "maximum number of proposals sampled per image", ge=1)
    positives: float = training(0.25, "maximum fraction of them that are objects", gt=0, le=1)
    foreground: float = training(0.5, "minimum IoU with a pseudo object for a proposal to be an object", gt=0, le=1)
    beta: float = training(
        1.0, "error above which the box loss is linear (the paper's Eq. 3: 1; torchvision: 1/9)", gt=0, before=1 / 9
    )
    background: float = training(
        0.1, "minimum IoU for a proposal to be background, if it is below `foreground`", ge=0, le=1
    )


class FastRcnn(RegionNet):
    """A classifier with a background class, and a box regressor for each class."""

    Config = FastRcnnConfig
    recipes: ClassVar = {"shapes": {"epochs": 20, "batch_size": 2, "lr": 0.002}}
    names: ClassVar = ("classification", "boxes")
    config: FastRcnnConfig

    def __init__(self, config: FastRcnnConfig, task: Task) -> None:
        super().__init__(config, task)
        outputs, width = len(task.classes) + 1, self.backbone.roi_channels
        self.classifier, self.regressor = make_linear(width, outputs), make_linear(width, 4 * outputs, std=0.001)
        self.coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
        self.sampler = BalancedPositiveNegativeSampler(config.sampled, config.positives)

    def alters_images(self) -> bool:
        """Return True: pseudo objects are added to the regions, and proposals are sampled."""
        return True

    def score(self, features: Tensor) -> Tensor:
        """Compute class probabilities (R, C): the softmax over background and classes, without background."""
        p: Tensor = self.classifier(features).float().softmax(dim=1)
        return p[:, 1:]

    def detect(self, image: Tensor, proposals: Tensor) -> tuple[Tensor, Tensor]:
        """Compute scores (R, C), and boxes (R, C, 4) clipped to the image."""
        order = canonical_order(proposals)
        features = self.backbone.regions(image, proposals[order]).float()
        boxes = self.coder.decode(self.regressor(features).float(), [proposals[order]])[:, 1:]
        clipped = clip_boxes_to_image(boxes, (image.shape[-2], image.shape[-1]))
        inverse = order.argsort()
        return self.score(features)[inverse], clipped[inverse]

    def loss(
        self,
        image: Tensor,
        proposals: Tensor,
        labels: Tensor,
        objects: Tensor | None = None,
        classes: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Compute cross entropy and smooth L1 on a sample of the proposals and pseudo objects (S, 4) of classes (S,).

        Only objects of classes with label 1 count; without any, the loss is 0. Classes with label 0 are left out of the
        softmax.
        """
        if objects is None or classes is None:
            raise ValueError("Fast R-CNN learns from pseudo objects: set `pseudo` to a run or a file of boxes.")
        is_present = labels[classes] > 0
        objects, classes = objects[is_present], classes[is_present]
        if not len(objects):
            return self.zero_losses(*self.names)
        boxes = torch.cat([proposals, objects])
        boxes = boxes[canonical_order(boxes)]
        target, nearest = self.assign_targets(boxes, objects, classes)
        positive, negative = self.sampler([target])
        rows = (positive[0] | negative[0]).nonzero()[:, 0]
        features = self.backbone.regions(image, boxes[rows]).float()
        unknown = torch.cat([labels.new_ones(1), labels]) == 0
        logits = self.classifier(features).float().masked_fill(unknown, -torch.inf)
        codes = self.coder.encode([objects[nearest[rows]]], [boxes[rows]])
        terms = cross_entropy(logits, target[rows]), self._box_loss(self.regressor(features), codes[0], target[rows])
        return dict(zip(self.names, terms, strict=True))

    def _box_loss(self, found: Tensor, codes: Tensor, target: Tensor) -> Tensor:
        """Compute the summed smooth L1 of objects' codes, divided by the number of sampled proposals (Eq. 1 and 3)."""
        rows = (target > BACKGROUND).nonzero()[:, 0]
        own = found.float().view(len(target), -1, 4)[rows, target[rows]]
        return smooth_l1_loss(own, codes[rows], beta=self.config.beta, reduction="sum") / len(target)

    def assign_targets(self, boxes: Tensor, objects: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Assign boxes (R, 4) targets (R,): 1 + class, BACKGROUND or IGNORED; and the objects of highest IoU (R,)."""
        overlap, nearest = iou(objects, boxes).max(dim=0)
        other = torch.where(overlap >= self.config.background, BACKGROUND, IGNORED)
        return torch.where(overlap >= self.config.foreground, classes[nearest] + 1, other), nearest
