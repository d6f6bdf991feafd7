"""MIST: instance-aware self-training, OICR with several objects per class and box regression (Ren et al., CVPR 2020).

Each refinement learns from several seeds of each present class, its best proposals with little mutual overlap (Alg. 1),
and regresses proposals near a seed towards it. `mist:dropblock` adds Concrete DropBlock, which hides parts of regions
in training and needs an unfrozen backbone. The paper was not at hand; this follows general knowledge and the released
code.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import model_validator
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import clip_boxes_to_image

from bench.method import Range, Task, training
from methods.layers.boxes import canonical_order
from methods.layers.concrete_dropblock import ConcreteDropBlock
from methods.layers.pseudo import Seeds
from methods.layers.refined_method import RefinedConfig, RefinedMethod
from methods.layers.refinement import Targets, assign_targets, refinement_loss
from methods.layers.region_method import make_linear
from methods.layers.self_training import spread_seeds


class MistConfig(RefinedConfig):
    """Settings of MIST. `*`: the released code differs; see the variant `released`."""

    first: float = training(3.0, "factor of the first refinement's loss (released)", ge=0)
    share: float = training(
        0.15, "share of the proposals among which the seeds of a class are", search=Range(0.05, 0.3), gt=0, le=1
    )
    apart: float = training(0.2, "seeds of a class overlap by an IoU below this", search=(0.1, 0.2, 0.3), gt=0, le=1)
    apart_from: Literal["seeds", "proposals"] = training(
        "seeds",
        "* what a seed is to be apart from: seeds, the better ones, or proposals, all that score better (released)",
    )
    regression: bool = training(True, "regress the boxes of proposals near a seed, and predict moved boxes")
    drop_block: bool = training(False, "Concrete DropBlock: a net learns which parts of regions to hide")
    drop_rate: float = training(
        0.3, "highest probability that a cell of a region is hidden", needs="drop_block", gt=0, lt=1
    )
    adversary: float = training(
        0.01, "what the gradient of the net that hides is multiplied by (released)", needs="drop_block", ge=0
    )

    @model_validator(mode="after")
    def _drop_block_can_teach(self) -> MistConfig:
        if self.drop_block and self.freezes_features:
            raise ValueError("drop_block hides parts of regions from layers that are to learn: freeze_backbone=false")
        return self


class Mist(RefinedMethod):
    """Each refinement is a classifier with a background class, as in OICR, and a box regressor per class."""

    Config = MistConfig
    variants: ClassVar = {
        "dropblock": {"drop_block": True},
        "released": {"drop_block": True, "apart_from": "proposals", "difficult_labels": "negative"},
    }
    recipes: ClassVar = {"shapes": {"epochs": 20, "batch_size": 2, "lr": 0.002, "reduction": "sum"}}
    names = ("classification", "refinement", "boxes")
    config: MistConfig

    def __init__(self, config: MistConfig, task: Task) -> None:
        super().__init__(config, task)
        outputs, width = 4 * len(task.classes), self.backbone.roi_channels
        count = config.refinements if config.regression else 0
        self.regressors = nn.ModuleList(make_linear(width, outputs, std=0.001) for _ in range(count))
        self.coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
        self.drop = (
            ConcreteDropBlock(self.backbone.channels, rate=config.drop_rate, adversary=config.adversary)
            if config.drop_block
            else None
        )

    def features(self, image: Tensor, proposals: Tensor) -> Tensor:
        """Compute features (R, D) of proposals (R, 4); in training, DropBlock hides parts of them."""
        if self.drop is None:
            return super().features(image, proposals)
        with self.backbone.roi_head.register_forward_pre_hook(self._hide):
            return super().features(image, proposals)

    def _hide(self, head: nn.Module, given: tuple[Tensor]) -> Tensor | None:
        return None if self.drop is None else self.drop(given[0])

    def find_targets(self, scores: Tensor, boxes: Tensor, classes: Tensor) -> tuple[Seeds, Targets]:
        """Find seeds by the previous refinement's scores (R, Y), and each proposal's target."""
        config = self.config
        all_better = config.apart_from == "proposals"
        seeds = spread_seeds(boxes, scores, classes, share=config.share, apart=config.apart, all_better=all_better)
        worth = scores[seeds.proposal, seeds.label]
        return seeds, assign_targets(boxes, seeds, worth, background=scores.shape[1], foreground=config.foreground)

    def refine(self, log_p: Tensor, scores: Tensor, boxes: Tensor, classes: Tensor) -> Tensor:
        """Compute OICR's loss with the labels assigned from all seeds."""
        return refinement_loss(log_p, self.find_targets(scores, boxes, classes)[1])

    def refinement_terms(
        self, pairs: list[tuple[Tensor, Tensor]], features: Tensor, boxes: Tensor, known: Tensor, classes: Tensor
    ) -> dict[str, Tensor]:
        """Compute the loss of the classifiers, and that of the regressors if there are any."""
        terms = super().refinement_terms(pairs, features, boxes, known, classes)
        if not self.regressors:
            return terms
        names, losses = known.nonzero()[:, 0], []
        for (scores, _), regressor in zip(pairs, self.regressors, strict=True):
            seeds, learned = self.find_targets(scores, boxes, classes)
            near = (learned.label < len(names)).nonzero()[:, 0]
            targets = boxes[seeds.proposal[learned.seed[near]]]
            moves = regressor(features[near]).float().view(len(near), -1, 4)
            own = moves[torch.arange(len(near), device=near.device), names[learned.label[near]]]
            losses.append(self._box_loss(own, boxes[near], targets, learned.weight[near]) / len(boxes))
        return {**terms, "boxes": self.weigh(losses)}

    def _box_loss(self, moves: Tensor, boxes: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
        """Compute the weighted sum of smooth L1 between moves (n, 4) and those that take boxes to targets (n, 4)."""
        codes = self.coder.encode([targets], [boxes])[0].to(moves)
        return (smooth_l1_loss(moves, codes, reduction="none").sum(dim=1) * weight).sum()

    def detect(self, image: Tensor, proposals: Tensor) -> tuple[Tensor, Tensor | None]:
        """Compute scores (R, C), and clipped boxes (R, C, 4) moved by the mean of the read-out's regressors."""
        if not self.regressors:
            return self(image, proposals), None
        order = canonical_order(proposals)
        features, boxes = self.features(image, proposals[order]), proposals[order]
        moves = torch.stack([regressor(features).float() for regressor in self.pick(self.regressors)]).mean(dim=0)
        moved = clip_boxes_to_image(self.coder.decode(moves, [boxes]), (image.shape[-2], image.shape[-1]))
        inverse = order.argsort()
        return self.score(features)[inverse], moved[inverse]
