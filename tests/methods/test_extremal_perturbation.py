"""Extremal perturbation: masks and levels against loops, steps against TorchRay's, and what the masks have to do."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attribution_cases import CLASSES, PICTURES, UNEVEN, explaining, fixed
from map_cases import IMAGES
from scipy import ndimage
from torch import Tensor, nn

from methods.layers.smooth_mask import SmoothMask, blur_on_zero, make_levels, mix_levels, penalise_area

REFERENCE = json.loads(Path(__file__).with_name("attribution_reference.json").read_text())
NAME = "extremal-perturbation"


def slow_mask(values: Tensor, shape: SmoothMask, y: int, x: int) -> float:
    """The mask at a pixel: a mean over the grid's points near it, weighted by a softmax; beyond the grid they are 0."""
    rows, columns = ((at + shape.sigma) // shape.step - 1 - math.ceil(2 * shape.sigma / shape.step) for at in (y, x))
    weighted = []
    for row in range(rows, rows + 2 * shape.radius + 1):
        for column in range(columns, columns + 2 * shape.radius + 1):
            inside = 0 <= row < values.shape[0] and 0 <= column < values.shape[1]
            distance = math.hypot(y - shape.step * row, x - shape.step * column) / shape.sigma
            kernel = math.exp(-2 * max(0.0, distance - 0.5) ** 2)
            weighted.append(kernel * float(values[row, column]) if inside else 0.0)
    total = sum(math.exp(20 * one) for one in weighted)
    return min(1.0, sum(one * math.exp(20 * one) for one in weighted) / total)


def test_a_mask_is_a_smooth_maximum_of_values_around_each_pixel() -> None:
    shape = SmoothMask((11, 8), step=3, sigma=5)
    values = torch.rand(2, *shape.grid, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found = shape.crop(shape.enlarge(values))
    expected = [[[slow_mask(one, shape, y, x) for x in range(8)] for y in range(11)] for one in values]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_a_single_value_makes_a_bump_of_1() -> None:
    shape = SmoothMask((40, 40), step=4, sigma=12)
    values = torch.zeros(1, *shape.grid)
    values[0, 5, 5] = 1
    bump = shape.crop(shape.enlarge(values))[0]
    assert float(bump[20, 20]) > 0.9
    assert (bump <= bump[20, 20] + 1e-6).all()
    assert not bump[0].any()
    torch.testing.assert_close(bump, bump.T)


def test_an_area_costs_nothing_only_where_it_is_met() -> None:
    masks = torch.zeros(2, 10, 10)
    masks[:, :3] = 1
    found = penalise_area(masks, torch.tensor([0.3, 0.5]))
    torch.testing.assert_close(found, torch.tensor([0.0, 0.2]))


def test_levels_are_blurred_from_much_to_none_on_zero() -> None:
    image = PICTURES[0] - 0.5
    levels = make_levels(image, 4, fade=False)
    for level, sigma in zip(levels[:3], (20, 40 / 3, 20 / 3), strict=True):
        expected = [ndimage.gaussian_filter(one, sigma, mode="constant", truncate=4) for one in image.numpy()]
        torch.testing.assert_close(level, torch.tensor(np.array(expected)), rtol=1e-3, atol=1e-4)
    assert levels[3].equal(image)
    torch.testing.assert_close(make_levels(image, 3, fade=True), torch.stack([image * 0, image / 2, image]))


def test_a_mask_picks_levels_and_mixes_neighbours() -> None:
    levels = torch.rand(4, 3, 2, 2, dtype=torch.float64)
    masks = torch.tensor([[[0.0, 1.0], [0.5, 1 / 3]]], dtype=torch.float64)
    found = mix_levels(levels, masks)[0]
    mixed = (levels[1, :, 1, 0] + levels[2, :, 1, 0]) / 2
    expected = torch.stack([levels[0, :, 0, 0], levels[3, :, 0, 1], mixed, levels[1, :, 1, 1]], dim=1).view(3, 2, 2)
    torch.testing.assert_close(found, expected)


def test_masks_after_some_steps_are_torchrays(monkeypatch: pytest.MonkeyPatch) -> None:
    enlarge = SmoothMask.enlarge
    monkeypatch.setattr(SmoothMask, "enlarge", lambda self, values: enlarge(self, values * UNEVEN))
    method = fixed(NAME, areas=(0.1, 0.3), updates=12, mask_step=3, mask_sigma=6)
    theirs = torch.tensor(REFERENCE[NAME], dtype=torch.float64)
    found = method.find_masks(PICTURES[0], torch.tensor(2))
    torch.testing.assert_close(found, theirs, rtol=0, atol=1e-4)
    assert theirs.std() > 0.01


class Corner(nn.Module):
    """A net that sees the class in the upper left quarter, by how much it differs from the mean colour."""

    def __init__(self, base: Any) -> None:
        super().__init__()
        self.backbone = base.backbone

    def forward(self, images: Tensor) -> Any:
        both = images + images.flip(-1)  # every other step sees the image in a mirror
        seen = (both - 2 * self.backbone.mean).abs()[:, :, :24, :].mean(dim=(1, 2, 3))
        scores = 40 * torch.stack([seen, -seen], dim=1)
        return type("Scored", (), {"scores": scores})


@pytest.mark.parametrize("game", ["preserve", "delete", "dual"])
def test_masks_cover_what_a_net_looks_at_with_the_area_they_are_given(game: str) -> None:
    method = explaining(NAME, areas=(0.25,), updates=120, perturbed_by="fade", game=game, mask_step=6, mask_sigma=6)
    method.base = Corner(method.base)
    image = torch.ones(3, 48, 48)
    mask = method.find_masks(image, torch.tensor(0))[0]
    assert float(mask[:24].mean()) > 2 * float(mask[24:].mean())
    assert 0.1 < float(mask.mean()) < 0.45


def test_a_map_is_the_blurred_sum_over_areas() -> None:
    method = explaining(NAME, updates=3, mask_blur=0.1)
    found = method.explain(IMAGES, CLASSES)
    masks = method.find_masks(IMAGES[1], CLASSES[1])
    assert masks.shape == (4, 64, 48)
    torch.testing.assert_close(found[1], blur_on_zero(masks.sum(dim=0)[None], 4.8)[0])
    sharp = explaining(NAME, updates=3, mask_blur=0)
    torch.testing.assert_close(sharp.explain(IMAGES[1:], CLASSES[1:])[0], masks.sum(dim=0))
