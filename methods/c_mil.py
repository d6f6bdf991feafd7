"""C-MIL: continuation multiple instance learning, from whole images to single proposals (Wan et al., CVPR 2019).

An image's proposals are divided into subsets. As lambda rises from 0 to 1 over the training, these shrink from a single
subset of all proposals, which makes the problem smooth, to single proposals. A subset's outputs are the means of its
members' outputs, and the loss is a hinge loss. Detectors learn from the best proposal of a class; the second one
takes it from the first detector. The IoU thresholds of objects and background converge as lambda rises. The paper was
not at hand; this follows general knowledge, and the two streams are those of the released code, without their context.
As in that code, an image's score is the sum of its subsets' scores: with the best subset's score instead (`c-mil:best`,
the paper's definition), the hinge loss of a softmax provides little training signal.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from bench.method import Range, training
from methods.layers.cliques import partition_around_best, partition_complete_linkage
from methods.layers.continuation import Continuation, compute_lambda
from methods.layers.losses import binary_log_loss
from methods.layers.min_entropy import clique_scores
from methods.layers.pseudo import select_best_per_class
from methods.layers.refined_method import RefinedConfig, RefinedMethod
from methods.layers.sampled import sampled_loss
from methods.layers.wsddn import image_log_scores, two_stream_log_scores


class CMilConfig(RefinedConfig):
    """Settings of C-MIL. `*`: the released code differs; see the variant `released`."""

    refinements: int = training(2, "number of detectors", ge=1, le=9)
    foreground: float = training(
        0.5,
        "f: objects overlap a seed by an IoU of at least 1 - (1 - f) lambda, background by less than f lambda",
        needs="labels=continuation",
        gt=0,
        le=1,
    )
    continuation: Continuation = training("log", "how lambda rises over the training")
    top: int = training(2000, "* number of best proposals that are divided into subsets (released: 200)", ge=1)
    linkage: Literal["best", "complete"] = training(
        "best",
        "* what a member of a subset overlaps by an IoU of at least lambda: its best, or every other one (released)",
    )
    bag: Literal["sum", "max"] = training("sum", "an image's score: the sum of its subsets' (released), or the best")
    bag_loss: Literal["hinge", "log"] = training(
        "hinge",
        "loss of an image's score s: max(0, 1 - y s), or WSDDN's, which teaches far more where s is small",
        search=("hinge", "log"),
    )
    labels: Literal["continuation", "fixed"] = training(
        "continuation", "* by which IoU detectors learn: see foreground; or >= .6 and .1 to .4 all along (released)"
    )
    recurrence: float = training(
        0.0, "* how much the detectors' scores weight features in the end; it rises from 0 (released: 0.6)", ge=0, le=1
    )
    lam: float = training(0.1, "weight of the detectors' losses (released)", search=Range(0.03, 3, log=True), ge=0)


class CMil(RefinedMethod):
    """Two streams over subsets of the proposals, and detectors with a background class."""

    Config = CMilConfig
    variants: ClassVar = {
        "best": {"bag": "max"},
        "released": {
            "top": 200,
            "linkage": "complete",
            "labels": "fixed",
            "recurrence": 0.6,
            "difficult_labels": "negative",
        },
    }
    recipes: ClassVar = {"shapes": {"epochs": 20, "batch_size": 2, "lr": 0.002, "reduction": "sum", "lam": 1.0}}
    config: CMilConfig

    @property
    def continuation(self) -> float:
        """Return lambda at the current progress of the training."""
        return compute_lambda(self.progress, self.config.continuation)

    def classify(self, features: Tensor, boxes: Tensor, known: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Compute log scores (R, Y) of the proposals, and the loss (Y,) of the image's scores, based on its subsets."""
        features = self._weigh_features(features, known)
        streams = torch.cat([layer(features)[:, known].float() for layer in (self.recognition, self.detection)], dim=1)
        log_scores = two_stream_log_scores(*streams.chunk(2, dim=1))
        _, means = clique_scores(streams, self._divide(log_scores.detach(), boxes))
        subsets = two_stream_log_scores(*means.chunk(2, dim=1))
        image = subsets.amax(dim=0) if self.config.bag == "max" else image_log_scores(subsets)
        if self.config.bag_loss == "log":
            return log_scores, binary_log_loss(image, labels)
        return log_scores, (1 - labels * image.exp()).clamp(min=0)

    def _divide(self, log_scores: Tensor, boxes: Tensor) -> Tensor:
        """Return each proposal's subset (R,), as the index of its first member; undivided proposals are singletons."""
        divide = partition_around_best if self.config.linkage == "best" else partition_complete_linkage
        members, clique = divide(boxes, log_scores.amax(dim=1), tau=self.continuation, top=self.config.top)
        return torch.arange(len(boxes), device=boxes.device).index_copy(0, members, members[clique])

    def _weigh_features(self, features: Tensor, known: Tensor) -> Tensor:
        """Weight features (R, D) by the last detector's highest score over the known classes."""
        share = self.config.recurrence * self.progress
        if not share:
            return features
        p: Tensor = self.refinements[-1](features).float().softmax(dim=1)[:, :-1].detach()
        return features * (1 - share + share * p[:, known].amax(dim=1, keepdim=True))

    def refine(self, log_p: Tensor, scores: Tensor, boxes: Tensor, classes: Tensor) -> Tensor:
        """Compute the cross entropy of a sample of proposals, labelled by their overlap with the best ones."""
        seeds = select_best_per_class(scores, classes)
        if self.config.labels == "fixed":
            return sampled_loss(log_p, boxes, seeds)
        near, close = 1 - (1 - self.config.foreground) * self.continuation, self.config.foreground * self.continuation
        return sampled_loss(log_p, boxes, seeds, near, close, far=0.0)

    def weigh(self, losses: list[Tensor]) -> Tensor:
        """Compute the weighted sum of the detectors' losses."""
        return self.config.lam * super().weigh(losses)
