"""Occlusion: how much a grey square lowers a class's probability at each position (Zeiler and Fergus, ECCV 2014).

Sec. 4.2 maps the probability itself, and specifies neither the side nor the step of the square; here a pixel's evidence
is the mean drop over the squares that cover it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from bench.method import AttributionConfig, prediction
from methods.layers.perturbation import Perturbation


class OcclusionConfig(AttributionConfig):
    """Settings of occlusion."""

    occluder: float = prediction(0.2, "side of the square, as a share of the image's larger side", gt=0, le=1)
    occluder_step: float = prediction(0.05, "distance between squares, as a share of the larger side", gt=0, le=1)
    occluded: Literal["probability", "score"] = prediction(
        "probability", "whose fall counts: that of a class's probability, or of its score before the sigmoid"
    )


class Occlusion(Perturbation):
    """The mean drop of a class's probability when the net's mean colour covers a pixel."""

    Own: ClassVar = OcclusionConfig
    config: Any
    recipes: ClassVar = {"shapes": {"occluder_step": 0.1}}

    def explain_image(self, image: Tensor, classes: Tensor) -> Tensor:
        """Compute maps (c, H, W), negative where covering raises the probability."""
        rows, columns = self._place(image)
        whole = self._measure(image, image.new_ones(1, *image.shape[1:]))
        total = image.new_zeros(len(classes), *image.shape[1:])
        for batch in self.split_batches(len(rows) * len(columns)):
            place = torch.arange(batch.start, batch.stop, device=image.device)
            covered = rows[place // len(columns), :, None] * columns[place % len(columns), None]
            fall = (whole - self._measure(image, 1 - covered))[:, classes]
            total += torch.einsum("nc,nyx->cyx", fall.to(covered), covered)
        return total / (rows.sum(dim=0)[:, None] * columns.sum(dim=0)).clamp(min=1)

    def _measure(self, image: Tensor, masks: Tensor) -> Tensor:
        scores = self.score_masked(image, masks[:, None])
        return self.probabilities(scores) if self.config.occluded == "probability" else scores

    def _place(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return 0/1 masks of the pixel rows (n, H) and columns (m, W) that each row and column of squares covers."""
        larger = max(image.shape[1:])
        side, step = (max(1, round(share * larger)) for share in (self.config.occluder, self.config.occluder_step))
        return tuple(place_windows(size, side, step).to(image) for size in image.shape[1:])


def place_windows(size: int, side: int, step: int) -> Tensor:
    """Return which of `size` pixels each window covers, (n, size); windows continue until one reaches the end.

    >>> place_windows(5, 2, 2).int().tolist()
    [[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]]
    """
    count = 1 + max(0, -(-(size - side) // step))
    distance = torch.arange(size) - step * torch.arange(count)[:, None]
    return (distance >= 0) & (distance < side)
