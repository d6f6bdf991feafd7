"""Extremal perturbation: the smooth mask of a given area that best preserves a class's score (Fong et al., ICCV 2019).

Gradient ascent maximises the score of the masked image minus an area penalty whose weight doubles every 200 steps. As
in the paper's pointing experiments, the masks of several areas are summed and blurred.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from bench.method import Attribution, AttributionConfig, prediction
from methods.layers.perturbation import find_zero
from methods.layers.smooth_mask import SmoothMask, blur_on_zero, make_levels, mix_levels, penalise_area

LEARNING_RATE, MOMENTUM = 0.01, 0.9
AREA_WEIGHT, AREA_GROWTH = 300.0, 1.0035

Share = Annotated[float, Field(gt=0, lt=1)]


class ExtremalPerturbationConfig(AttributionConfig):
    """Settings of extremal perturbation; sizes in pixels are for images of 224."""

    areas: tuple[Share, ...] = prediction((0.025, 0.05, 0.1, 0.2), "areas of the masks, as shares of the image")
    updates: int = prediction(800, "steps of the gradient ascent", ge=1)
    mask_step: int = prediction(7, "pixels between the points whose values are learned", ge=1, le=64)
    mask_sigma: int = prediction(21, "how far a value reaches, in pixels", ge=1, le=256)
    perturbed_by: Literal["blur", "fade"] = prediction(
        "blur", "what the mask hides is blurred, or faded to the mean colour"
    )
    game: Literal["preserve", "delete", "dual"] = prediction(
        "preserve", "the mask keeps the score; or what it covers is hidden, and the score falls; or both"
    )
    mask_blur: float = prediction(
        0.09, "width of a Gaussian over the summed masks, as a multiple of the image's shorter side", ge=0, le=1
    )


class ExtremalPerturbation(Attribution):
    """The sum of the masks of all areas."""

    Own: ClassVar = ExtremalPerturbationConfig
    config: Any
    recipes: ClassVar = {"shapes": {"updates": 5, "areas": (0.2,), "mask_step": 8, "mask_sigma": 16}}

    def explain(self, images: Tensor, labels: Tensor) -> Tensor:
        """Compute non-negative maps (B, H, W)."""
        maps = torch.stack([self.find_masks(*each).sum(dim=0) for each in zip(images, labels, strict=True)])
        sigma = self.config.mask_blur * min(maps.shape[1:])
        return blur_on_zero(maps, sigma) if sigma else maps

    def find_masks(self, image: Tensor, label: Tensor) -> Tensor:
        """Find the masks (K, H, W) of the K areas for a class in an image (3, H, W), as of the last step."""
        shape = SmoothMask((image.shape[1], image.shape[2]), self.config.mask_step, self.config.mask_sigma)
        areas = image.new_tensor(self.config.areas)
        values = torch.ones(len(areas), *shape.grid, dtype=image.dtype, device=image.device).requires_grad_()
        ascent = torch.optim.SGD([values], lr=LEARNING_RATE, momentum=MOMENTUM, dampening=MOMENTUM)
        zero = find_zero(self.base)
        levels = make_levels((image - zero).detach(), 8, fade=self.config.perturbed_by == "fade")
        for step, weight in self._list_steps():
            wide = shape.enlarge(values)
            masks = shape.crop(wide)
            reward = self._reward(levels, masks, zero, label, mirrored=step % 2 == 0)
            loss = (weight * penalise_area(wide, areas) - reward).sum()
            (values.grad,) = torch.autograd.grad(loss, values)
            ascent.step()
            values.data.clamp_(0, 1)
        return masks.detach()

    def _list_steps(self) -> Iterator[tuple[int, float]]:
        """Yield the number of each step and the weight of the area's penalty."""
        weight = AREA_WEIGHT
        for step in range(self.config.updates):
            yield step, weight
            weight *= AREA_GROWTH

    def _reward(self, levels: Tensor, masks: Tensor, zero: Tensor, label: Tensor, *, mirrored: bool) -> Tensor:
        """Compute the reward (K,) of masks (K, H, W) from the scores of what each shows, of what it hides, or both."""
        signs = {"preserve": (1,), "delete": (-1,), "dual": (1, -1)}[self.config.game]
        shown = torch.cat([mix_levels(levels, masks if sign > 0 else 1 - masks) for sign in signs]) + zero
        scores = self.base(shown.flip(-1) if mirrored else shown).scores[:, label]
        return torch.stack([sign * one for sign, one in zip(signs, scores.chunk(len(signs)), strict=True)]).sum(dim=0)
