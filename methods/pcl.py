"""PCL: proposal cluster learning, refinements with several clusters per class (Tang et al., TPAMI 2018).

It follows OICR, but a class's centres are the most connected of its best proposals, and each cluster is a small bag
whose loss is the negative log of its proposals' mean probability.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from bench.method import training
from methods.layers.clusters import cluster_seeds
from methods.layers.refined_method import RefinedConfig, RefinedMethod
from methods.layers.refinement import assign_targets, cluster_loss, count_weighted


class PclConfig(RefinedConfig):
    """Settings of PCL. `*`: the released code differs; see the variant `released`."""

    first: float = training(3.0, "factor of the first refinement's loss", ge=0)
    ignored: float = training(0.1, "proposals with a lower IoU with every centre have weight 0", ge=0, le=1)
    kmeans: int = training(3, "k-means clusters of a class's scores; centres are chosen from the highest one", ge=1)
    linked: float = training(0.4, "IoU above which proposals are linked", ge=0, le=1)
    centres: int = training(5, "maximum number of centres per class", ge=1)
    spare: int = training(0, "* stop choosing centres when this many proposals are left (released: 5)", ge=0)
    divide: Literal["weighing", "all"] = training(
        "weighing",
        "* divide the loss by the number of proposals with non-zero weight, as in OICR, or of all (released)",
    )


class Pcl(RefinedMethod):
    """A cluster contains the proposals that overlap its centre; its weight is the best score of those linked to it."""

    Config = PclConfig
    variants: ClassVar = {"paper": {}, "released": {"difficult_labels": "negative", "spare": 5, "divide": "all"}}
    default_variant: ClassVar = "paper"
    recipes: ClassVar = {"shapes": {"epochs": 20, "batch_size": 2, "lr": 0.002, "reduction": "sum"}}
    config: PclConfig

    def refine(self, log_p: Tensor, scores: Tensor, boxes: Tensor, classes: Tensor) -> Tensor:
        """Compute the cluster loss, with background as in OICR."""
        config, background = self.config, scores.shape[1]
        seeds, worth = cluster_seeds(
            boxes,
            scores,
            classes,
            clusters=config.kmeans,
            overlap=config.linked,
            most=config.centres,
            spare=config.spare,
        )
        learned = assign_targets(
            boxes, seeds, worth, background=background, foreground=config.foreground, ignored=config.ignored
        )
        loss = cluster_loss(log_p, learned, seeds, background=background)
        return loss / (count_weighted(learned.weight) if config.divide == "weighing" else len(boxes))
