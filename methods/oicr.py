"""OICR: online instance classifier refinement, three classifiers that teach one another (Tang et al., CVPR 2017).

On top of WSDDN's streams, each refinement learns from the one before: the best proposal of a present class seeds it,
what overlaps a seed takes its class, everything else is background.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from methods.layers.pseudo import best_apart
from methods.layers.refined_method import RefinedConfig, RefinedMethod
from methods.layers.refinement import refinement_loss, targets


class Oicr(RefinedMethod):
    """A proposal weighs as its seed scores, background too (released code; the paper's Alg. 1 weighs alike)."""

    Config = RefinedConfig
    variants: ClassVar = {"paper": {}, "released": {"difficult_labels": "negative"}}
    default_variant: ClassVar = "paper"
    recipes: ClassVar = {"shapes": {"epochs": 20, "batch_size": 2, "lr": 0.002, "reduction": "sum"}}

    def refine(self, log_p: Tensor, scores: Tensor, boxes: Tensor, classes: Tensor) -> Tensor:
        """Weighted cross entropy with the labels that the best proposals give."""
        seeds = best_apart(scores, classes)
        worth = scores[seeds.proposal, seeds.label]
        learned = targets(boxes, seeds, worth, background=scores.shape[1], foreground=self.config.foreground)
        return refinement_loss(log_p, learned)
