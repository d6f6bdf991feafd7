"""RISE, occlusion and Score-CAM against loops over their masks, captum and released code's numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from attribution_cases import CLASSES, LAYER, PICTURES, explaining, fixed
from captum.attr import Occlusion
from map_cases import IMAGES
from scipy import ndimage
from torch import Tensor, nn

from bench.errors import RequestError
from methods.layers.attribution import Scores
from methods.layers.perturbation import find_zero, make_generator
from methods.score_cam import scale_maps

REFERENCE = json.loads(Path(__file__).with_name("attribution_reference.json").read_text())
QUICK = {"rise": {"masks": 20}, "occlusion": {"occluder_step": 0.3}, "score-cam": {"channels": 4}}


@pytest.mark.parametrize("mirrored", [False, True])
def test_rise_masks_are_grids_enlarged_and_shifted_by_less_than_a_cell(mirrored: bool) -> None:
    method = fixed("rise", masks=6, mask_cells=4, mask_borders="mirrored" if mirrored else "held")
    image = PICTURES[0]  # 12 x 10: cells of 3 x 3
    grids, shifts = method._draw(image)
    found = method._enlarge(grids, shifts, image)
    for grid, shift, mask in zip(grids, shifts, found, strict=True):
        at = (np.arange(15) + 0.5) * 4 / 15 - 0.5
        places = np.meshgrid(at, at, indexing="ij")
        large = ndimage.map_coordinates(grid.numpy(), places, order=1, mode="mirror" if mirrored else "nearest")
        y, x = (math.floor(3 * one) for one in shift.tolist())
        np.testing.assert_allclose(mask, large[y : y + 12, x : x + 10], atol=1e-6)
    assert ((found >= 0) & (found <= 1)).all()


def test_rise_is_the_mean_of_masks_weighted_by_probability() -> None:
    method = fixed("rise", masks=21, keep_probability=0.4, batch_size=4)
    image, zero = PICTURES[1], method.base.backbone.mean
    masks = method._enlarge(*method._draw(image), image)
    expected = torch.zeros(12, 10, dtype=torch.float64)
    for mask in masks:
        masked = zero + (image - zero) * mask
        expected += method.base(masked[None]).scores.sigmoid()[0, 2].detach() * mask
    found = method.explain(image[None], torch.tensor([2]))[0]
    torch.testing.assert_close(found, expected / 21 / 0.4)


def test_rise_is_torchrays_with_the_same_masks() -> None:
    """It has all classes, in single precision, and does not divide by E[M]."""
    found = fixed("rise", masks=40).explain_each(PICTURES[:1], [torch.tensor([label]) for label in range(3)])
    theirs = torch.tensor(REFERENCE["rise"], dtype=torch.float64)
    torch.testing.assert_close(torch.cat(found), theirs / 0.5, rtol=1e-4, atol=1e-5)


def test_rise_of_a_constant_probability_is_what_masks_keep_on_average() -> None:
    method = fixed("rise", masks=3000, keep_probability=0.3)
    nn.init.zeros_(method.base.output.weight)
    nn.init.zeros_(method.base.output.bias)
    found = method.explain(PICTURES[:1], torch.tensor([1]))
    torch.testing.assert_close(found, torch.full_like(found, 0.5), rtol=0.1, atol=0)


def test_the_softmax_of_a_base_is_its_probability() -> None:
    sigmoid, softmax = (fixed("rise", masks=4, loss=loss) for loss in ("multi-label", "softmax"))
    scores = sigmoid.score_masked(PICTURES[0], torch.ones(1, 1, 12, 10))
    assert float(softmax.probabilities(scores).detach().sum()) == pytest.approx(1)
    assert not softmax.explain(PICTURES, CLASSES).allclose(sigmoid.explain(PICTURES, CLASSES))


@pytest.mark.parametrize(("side", "step"), [(4, 3), (5, 5), (12, 1)])
def test_occlusion_of_scores_is_captums(side: int, step: int) -> None:
    settings = {"occluder": side / 12, "occluder_step": step / 12, "occluded": "score"}
    method = fixed("occlusion", **settings)
    zero = method.base.backbone.mean.expand(2, 3, 12, 10)
    window = (3, side, min(side, 10))
    captums = Occlusion(Scores(method.base)).attribute(PICTURES, window, (3, step, step), zero, CLASSES)
    torch.testing.assert_close(method.explain(PICTURES, CLASSES), captums[:, 0].double(), rtol=1e-4, atol=1e-5)


def test_occlusion_is_the_mean_fall_over_the_squares_that_cover_a_pixel() -> None:
    method = fixed("occlusion", occluder=0.5, occluder_step=0.25, batch_size=3)
    image, zero = PICTURES[0], method.base.backbone.mean[:, 0, 0]

    def probability(image: Tensor) -> float:
        return float(method.base(image[None]).scores.sigmoid()[0, 1].detach())

    falls: dict[tuple[int, int], list[float]] = {(y, x): [] for y in range(12) for x in range(10)}
    for top in (0, 3, 6):
        for left in (0, 3, 6):
            covered = [(y, x) for y in range(top, min(top + 6, 12)) for x in range(left, min(left + 6, 10))]
            other = image.clone()
            for y, x in covered:
                other[:, y, x] = zero
            for place in covered:
                falls[place].append(probability(image) - probability(other))
    expected = [[sum(falls[y, x]) / len(falls[y, x]) for x in range(10)] for y in range(12)]
    found = method.explain(image[None], torch.tensor([1]))[0]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("weights", ["softmax", "probability"])
def test_score_cam_scores_what_each_map_shows(weights: str) -> None:
    method = fixed("score-cam", channel_weights=weights, batch_size=2)
    image, zero = PICTURES[0], method.base.backbone.mean
    trunk = method.base.backbone.trunk
    features = trunk((image - zero)[None] / method.base.backbone.std)[0].detach()
    outcomes = []
    for one in features:
        mask = nn.functional.interpolate(one[None, None], (12, 10), mode="bilinear")[0, 0]
        mask = (mask - mask.min()) / (mask.max() - mask.min()) if mask.max() > mask.min() else mask * 0
        score = method.base((zero + (image - zero) * mask)[None]).scores[0, 2].detach()
        outcomes.append(math.exp(score) if weights == "softmax" else float(score.sigmoid()) * bool(one.std() > 0))
    share = torch.tensor(outcomes) / (sum(outcomes) if weights == "softmax" else 1)
    expected = sum(weight * one for weight, one in zip(share, features, strict=True)).relu()
    torch.testing.assert_close(method.explain(image[None], torch.tensor([2]))[0], expected)


def test_score_cam_is_pytorch_grad_cams() -> None:
    """At a layer of the picture's size, as it enlarges maps by their corners."""
    found = fixed("score-cam", layer=LAYER).explain(PICTURES, CLASSES)
    theirs = torch.tensor(REFERENCE["score-cam"], dtype=torch.float64).relu()
    torch.testing.assert_close(found, theirs, rtol=1e-4, atol=1e-6)


def test_score_cams_maps_are_scaled_to_0_and_1_and_constant_ones_show_nothing() -> None:
    maps = torch.stack([torch.full((3, 4), 2.0), torch.arange(12.0).view(3, 4)])
    found = scale_maps(maps, (6, 8))
    assert not found[0].any()
    assert (found[1].min(), found[1].max()) == (0, 1)


def test_fewer_channels_are_those_that_vary_most() -> None:
    method = fixed("score-cam", channels=2)
    features = torch.stack([torch.arange(4.0).view(2, 2) * scale for scale in (1, 5, 0, -3)])
    assert method._select_channels(features).equal(features[[1, 3]])
    every = fixed("score-cam", channels=6).explain(PICTURES, CLASSES)
    assert every.equal(fixed("score-cam").explain(PICTURES, CLASSES))


def test_a_layer_without_maps_is_refused() -> None:
    with pytest.raises(RequestError, match=r"no feature maps, but outputs of shape \(3,\)"):
        explaining("score-cam", layer="output").explain(IMAGES, CLASSES)


def test_zero_is_the_mean_that_a_net_subtracts_and_black_for_others() -> None:
    assert find_zero(fixed("rise").base).flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])

    assert find_zero(nn.Conv2d(3, 2, 1)).flatten().tolist() == [0, 0, 0]  # type: ignore[arg-type]


def test_random_numbers_are_of_the_image_alone() -> None:
    image, other = PICTURES.float()
    draws = [torch.rand(3, generator=make_generator(one)).tolist() for one in (image, other, image)]
    assert draws[0] == draws[2] != draws[1]


@pytest.mark.parametrize("name", QUICK)
def test_an_image_has_the_same_map_alone_and_for_each_class(name: str) -> None:
    method = explaining(name, **QUICK[name])
    together = method.explain_each(IMAGES, [torch.tensor([0, 1]), torch.tensor([2, 2])])
    alone = method.explain(IMAGES[1:], torch.tensor([2]))
    torch.testing.assert_close(together[1][1:], alone, rtol=1e-4, atol=1e-6)
    assert not together[0].equal(together[1])
    again = method.explain_each(IMAGES, [torch.tensor([0, 1])])
    torch.testing.assert_close(again[0], together[0], rtol=1e-5, atol=1e-7)
    assert again[0].equal(method.explain_each(IMAGES, [torch.tensor([0, 1])])[0])
