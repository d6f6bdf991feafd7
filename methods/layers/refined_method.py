"""Base of OICR, PCL, MIST, C-MIL: WSDDN's two streams, and refinements that each learn from the previous scores."""

from __future__ import annotations

from abc import abstractmethod
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from pydantic import model_validator
from torch import Tensor, nn

from bench.method import ProposalConfig, Task, prediction, training
from methods.layers.losses import binary_log_loss
from methods.layers.region_method import RegionMethod, make_linear
from methods.layers.wsddn import image_log_scores, two_stream_log_scores


class RefinedConfig(ProposalConfig):
    """Settings of refined methods."""

    reduction: Literal["sum", "mean"] = training(
        "mean", "reduction of the image loss over classes; OICR uses the mean", search=("mean", "sum")
    )
    refinements: int = training(3, "number of refinements", ge=1, le=9)
    foreground: float = training(0.5, "minimum IoU with a seed for a proposal to take its class", gt=0, le=1)
    first: float = training(1.0, "factor of the first refinement's loss", ge=0)
    readout: str = prediction(
        "mean", "refinement whose scores are predicted: r1, r2 ..., or mean for their mean", pattern="^(mean|r[1-9])$"
    )

    @model_validator(mode="after")
    def _readout_exists(self) -> RefinedConfig:
        if self.readout != "mean" and int(self.readout[1:]) > self.refinements:
            needed = self.readout[1:]
            raise ValueError(f"readout {self.readout} needs refinements >= {needed}, but got {self.refinements}")
        return self


class RefinedMethod(RegionMethod):
    """WSDDN's two streams, and refinements: linear layers on region features, with background after the classes."""

    names: ClassVar[tuple[str, ...]] = ("classification", "refinement")
    config: RefinedConfig

    def __init__(self, config: RefinedConfig, task: Task) -> None:
        super().__init__(config, task)
        classes, width = len(task.classes), self.backbone.roi_channels
        self.recognition, self.detection = make_linear(width, classes), make_linear(width, classes)
        self.refinements = nn.ModuleList(make_linear(width, classes + 1) for _ in range(config.refinements))

    @abstractmethod
    def refine(self, log_p: Tensor, scores: Tensor, boxes: Tensor, classes: Tensor) -> Tensor:
        """Compute the loss of one refinement from its log p (R, Y + 1), background last.

        scores: (R, Y), detached, of the previous step. classes: columns (S,) of the present classes in both, S > 0.
        """

    def score(self, features: Tensor) -> Tensor:
        """Compute scores (R, C): the softmax over classes and background of one refinement, or the mean of all."""
        chosen = self.pick(self.refinements)
        p = torch.stack([refinement(features).float().softmax(dim=1) for refinement in chosen]).mean(dim=0)
        return p[:, : len(self.task.classes)]

    def pick(self, layers: nn.ModuleList) -> list[nn.Module]:
        """Return the refinement layers used for prediction."""
        return list(layers) if self.config.readout == "mean" else [layers[int(self.config.readout[1:]) - 1]]

    def terms(self, features: Tensor, boxes: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the binary log loss and the sum of the refinement losses.

        Without a present class, the refinement losses are 0.
        """
        known = labels != 0
        labels = labels[known]
        log_scores, losses = self.classify(features, boxes, known, labels)
        image = losses.sum() if self.config.reduction == "sum" else losses.mean()
        present = (labels > 0).nonzero()[:, 0]
        if not len(present):
            return {"classification": image, **self.zero_losses(*self.names[1:])}
        columns = torch.cat([known, known.new_ones(1)])
        refined = [refinement(features)[:, columns].float().log_softmax(dim=1) for refinement in self.refinements]
        pairs = [(before.detach()[:, : len(labels)].exp(), after) for before, after in pairwise([log_scores, *refined])]
        return {"classification": image, **self.refinement_terms(pairs, features, boxes, known, present)}

    def classify(self, features: Tensor, boxes: Tensor, known: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the log scores (R, Y) that the first refinement learns from, and the loss (Y,) of each known class.

        known: (C,) bool. labels: (Y,) in {+1, -1}, of the known classes.
        """
        streams = self.recognition(features)[:, known].float(), self.detection(features)[:, known].float()
        log_scores = two_stream_log_scores(*streams)
        return log_scores, binary_log_loss(image_log_scores(log_scores), labels)

    def refinement_terms(
        self, pairs: list[tuple[Tensor, Tensor]], features: Tensor, boxes: Tensor, known: Tensor, classes: Tensor
    ) -> dict[str, Tensor]:
        """Compute the loss terms of the refinements from their pairs of `scores` and `log_p`, as in `refine`.

        known: (C,) bool, the Y classes in these pairs. classes: as in `refine`.
        """
        return {"refinement": self.weigh([self.refine(after, before, boxes, classes) for before, after in pairs])}

    def weigh(self, losses: list[Tensor]) -> Tensor:
        """Sum the refinement losses; the first is multiplied by `first`."""
        return self.config.first * losses[0] + sum(losses[1:])
