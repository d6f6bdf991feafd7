"""RISE: the mean of random masks of an image, weighted by a class's probability under each (Petsiuk et al., BMVC 2018).

Eq. 6: the sum of f(I * M) M over masks M, divided by their number and by E[M]. A mask is a grid of zeros and ones,
enlarged bilinearly and shifted by less than one of its cells (Sec. 3.2).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from bench.method import AttributionConfig, prediction
from methods.layers.perturbation import Perturbation, make_generator


class RiseConfig(AttributionConfig):
    """Settings of RISE."""

    masks: int = prediction(4000, "random masks an image (paper: 4000 for VGG16, 8000 for ResNet50)", ge=1)
    mask_cells: int = prediction(7, "cells a side of the grid that a mask is enlarged from", ge=2, le=64)
    keep_probability: float = prediction(0.5, "probability that a cell is kept", gt=0, lt=1)
    mask_borders: Literal["held", "mirrored"] = prediction(
        "held", "what is beyond the centres of a grid's outermost cells: their value; or the grid mirrored"
    )


class Rise(Perturbation):
    """The mean of the masks, weighted by the class's probability."""

    Own: ClassVar = RiseConfig
    config: Any
    variants: ClassVar = {"released": {"mask_borders": "mirrored"}}
    recipes: ClassVar = {"shapes": {"masks": 200}}

    def explain_image(self, image: Tensor, classes: Tensor) -> Tensor:
        """Compute maps (c, H, W)."""
        grids, shifts = self._draw(image)
        total: Tensor = image.new_zeros(len(classes), *image.shape[1:])
        for batch in self.split_batches(len(grids)):
            masks = self._enlarge(grids[batch.start : batch.stop], shifts[batch.start : batch.stop], image)
            probability = self.probabilities(self.score_masked(image, masks[:, None]))[:, classes]
            total += torch.einsum("nc,nyx->cyx", probability.to(masks), masks)
        return total / float(len(grids) * self.config.keep_probability)

    def _draw(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Draw grids (N, s, s) of zeros and ones, and shifts (N, 2) in [0, 1) cells."""
        generator, count, side = make_generator(image), self.config.masks, self.config.mask_cells
        grids = torch.rand(count, side, side, generator=generator) < self.config.keep_probability
        shifts = torch.rand(count, 2, generator=generator)
        return grids.to(image), shifts.to(image)

    def _enlarge(self, grids: Tensor, shifts: Tensor, image: Tensor) -> Tensor:
        """Enlarge grids (n, s, s) to masks (n, H, W), bilinearly."""
        rows, columns = (
            interpolate(shift, size, self.config.mask_cells, self.config.mask_borders == "mirrored")
            for shift, size in zip(shifts.unbind(dim=1), image.shape[1:], strict=True)
        )
        return rows @ grids @ columns.transpose(1, 2)


def interpolate(shift: Tensor, size: int, cells: int, mirrored: bool) -> Tensor:
    """Compute the weight of each of `cells` values in each of `size` pixels, (n, size, cells).

    The values are enlarged linearly to one cell more than the pixels need, then cropped, starting at a fraction `shift`
    (n,) of a cell, in whole pixels. mirrored: beyond the first and last value, the values are mirrored; else these two
    are repeated.
    """
    cell = -(-size // cells)
    start = (shift * cell).floor()[:, None]
    place = (torch.arange(size).to(shift) + start + 0.5) * cells / ((cells + 1) * cell) - 0.5
    last = cells - 1
    place = last - (last - place.abs()).abs() if mirrored else place.clamp(0, last)
    return (1 - (place[:, :, None] - torch.arange(cells).to(shift)).abs()).clamp(min=0)
