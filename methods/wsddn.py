"""WSDDN: weakly supervised deep detection network with two streams (Bilen and Vedaldi, CVPR 2016).

A region's score is the product of a softmax over classes and a softmax over regions; an image's score is the sum over
its regions, trained with the binary log loss. `box_scores` weights regions by the proposals' own scores, as the
released code does with EdgeBoxes.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator
from torch import Tensor

from bench.data.proposals import SEARCHES
from bench.method import ProposalConfig, Task, training
from methods.layers.losses import binary_log_loss
from methods.layers.region_method import RegionMethod, make_linear
from methods.layers.wsddn import image_log_scores, released_regulariser, spatial_regulariser, two_stream_log_scores


class WsddnConfig(ProposalConfig):
    """Settings of WSDDN."""

    reduction: Literal["sum", "mean"] = training(
        "mean",
        "reduction over classes: the paper sums, at a 20 times lower learning rate; OICR's Caffe code averages",
        search=("mean", "sum"),
    )
    temperature: float = training(
        1.0, "divisor of the detection stream's logits (released: 2)", search=(1.0, 2.0, 4.0), gt=0
    )
    spatial: float = training(0.0, "weight of the spatial regulariser (released: 1e-4)", ge=0)
    spatial_rule: Literal["paper", "released"] = training(
        "paper",
        "what it weighs a region by: the square of its class's best score; released: its own score, held constant",
        later=True,
        requires="spatial",
    )
    spatial_reduction: Literal["loss", "mean"] = training(
        "loss",
        "reduction of the regulariser over classes: that of the loss, or always the mean",
        before="mean",
        requires="spatial",
    )
    spatial_iou: float = training(0.6, "minimum IoU with the best region for the regulariser", gt=0, le=1)
    spatial_top: int = training(10, "number of a class's best regions that the regulariser uses", ge=1)
    box_scores: float = training(
        0.0,
        "multiply pooled features by 1 + this times the proposal's own score (released: 10); feature_norm measures "
        "frozen features without it",
        ge=0,
        later=True,
    )

    @model_validator(mode="after")
    def _check_proposal_scores(self) -> WsddnConfig:
        if self.box_scores and self.proposals in SEARCHES:
            raise ValueError(f"box_scores needs proposals=FILE with scores, but {self.proposals} has none")
        return self


RELEASED = {"temperature": 2.0, "spatial": 1e-4, "spatial_rule": "released", "reduction": "sum", "nms_iou": 0.4}


class Wsddn(RegionMethod):
    """Two linear streams on region features."""

    Config = WsddnConfig
    variants: ClassVar = {"paper": {}, "released": RELEASED}
    default_variant: ClassVar = "paper"
    recipes: ClassVar = {"shapes": {"epochs": 20, "batch_size": 2, "lr": 0.002, "reduction": "sum"}}
    names: ClassVar = ("classification", "spatial")
    config: WsddnConfig

    def __init__(self, config: WsddnConfig, task: Task) -> None:
        super().__init__(config, task)
        self.recognition = make_linear(self.backbone.roi_channels, len(task.classes))
        self.detection = make_linear(self.backbone.roi_channels, len(task.classes))

    def score(self, features: Tensor) -> Tensor:
        """Compute the product of both streams (R, C); the scores of a class in an image sum to at most 1."""
        return self._log_scores(features, slice(None)).exp()

    def terms(self, features: Tensor, boxes: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the binary log loss and, if its weight is not 0, the spatial regulariser."""
        known = labels != 0
        labels = labels[known]
        log_scores = self._log_scores(features, known)
        losses = binary_log_loss(image_log_scores(log_scores), labels)
        terms = {"classification": losses.sum() if self.config.reduction == "sum" else losses.mean()}
        if self.config.spatial:
            overlap, top = self.config.spatial_iou, self.config.spatial_top
            rule = released_regulariser if self.config.spatial_rule == "released" else spatial_regulariser
            pull = rule(features, log_scores.exp(), boxes, labels > 0, overlap=overlap, top=top)
            is_sum = self.config.reduction == "sum" and self.config.spatial_reduction == "loss"
            terms["spatial"] = self.config.spatial * (pull if is_sum else pull / len(labels))
        return terms

    def image_scores(self, scores: Tensor) -> Tensor:
        """Return the image's scores: the sum of its regions' scores."""
        return scores.sum(dim=0).clamp(max=1)

    def _log_scores(self, features: Tensor, classes: Tensor | slice) -> Tensor:
        streams = self.recognition(features)[:, classes].float(), self.detection(features)[:, classes].float()
        return two_stream_log_scores(*streams, temperature=self.config.temperature)
