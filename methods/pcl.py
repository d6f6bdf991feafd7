"""PCL: proposal cluster learning, refinements taught by several clusters a class (Tang et al., TPAMI 2018).

As OICR, but the centres of a class are the most connected of its best proposals, and a cluster learns as a small bag:
the logarithm of the mean of its proposals' probabilities.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from bench.method import training
from methods.layers.clusters import cluster_seeds
from methods.layers.refined_method import RefinedConfig, RefinedMethod
from methods.layers.refinement import cluster_loss, counted, targets


class PclConfig(RefinedConfig):
    """Settings of PCL. `*`: the release has it otherwise, see the variant `released`."""

    first: float = training(3.0, "what the first refinement's loss is multiplied by", ge=0)
    ignored: float = training(0.1, "proposals of less IoU than this with every centre teach nothing", ge=0, le=1)
    kmeans: int = training(3, "clusters of a class's scores, of which the highest is searched for centres", ge=1)
    linked: float = training(0.4, "IoU above which proposals are linked", ge=0, le=1)
    centres: int = training(5, "centres of a class, at most", ge=1)
    spare: int = training(0, "* centres are searched until so few proposals are left (released: 5)", ge=0)
    divide: Literal["weighing", "all"] = training(
        "weighing", "* the loss is divided by the proposals of some weight, as OICR's, or by all (released)"
    )


class Pcl(RefinedMethod):
    """A cluster is what overlaps its centre; it weighs as the best proposal that is linked to the centre scores."""

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
        learned = targets(
            boxes, seeds, worth, background=background, foreground=config.foreground, ignored=config.ignored
        )
        loss = cluster_loss(log_p, learned, seeds, background=background)
        return loss / (counted(learned.weight) if config.divide == "weighing" else len(boxes))
