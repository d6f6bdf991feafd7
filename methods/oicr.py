"""OICR: online instance classifier refinement, a cascade of classifiers on WSDDN (Tang et al., CVPR 2017).

Each refinement learns from the previous one: the best proposal of each present class is a seed, proposals that overlap
a seed take its class, and all others are background (Alg. 1).
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from methods.layers.pseudo import select_distinct_best
from methods.layers.refined_method import RefinedConfig, RefinedMethod
from methods.layers.refinement import assign_targets, refinement_loss


class Oicr(RefinedMethod):
    """Proposals, background included, are weighted by the score of their seed (Alg. 1 and the released code)."""

    Config = RefinedConfig
    variants: ClassVar = {"paper": {}, "released": {"difficult_labels": "negative"}}
    default_variant: ClassVar = "paper"
    recipes: ClassVar = {"shapes": {"epochs": 20, "batch_size": 2, "lr": 0.002, "reduction": "sum"}}

    def refine(self, log_p: Tensor, scores: Tensor, boxes: Tensor, classes: Tensor) -> Tensor:
        """Compute the weighted cross entropy with the labels assigned from the best proposals."""
        seeds = select_distinct_best(scores, classes)
        worth = scores[seeds.proposal, seeds.label]
        learned = assign_targets(boxes, seeds, worth, background=scores.shape[1], foreground=self.config.foreground)
        return refinement_loss(log_p, learned)
