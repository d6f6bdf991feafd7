"""Attention-based dropout against the paper's definition, one cell after the other, and through the whole method."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from map_cases import IMAGES, LABELS, made

from bench.errors import RequestError
from methods.adl import Adl
from methods.cam import Cam
from methods.layers.attention_dropout import drop_by_attention


def features() -> torch.Tensor:
    return torch.rand(3, 4, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("threshold", [0.0, 0.6, 0.8, 1.0])
@pytest.mark.parametrize("drop_rate", [0.0, 1.0])
def test_each_cell_is_dropped_or_weighted_by_the_mean_of_its_channels(threshold: float, drop_rate: float) -> None:
    given = features()
    found = drop_by_attention(given, drop_rate, threshold)
    for image, row, column in product(range(3), range(5), range(6)):
        cells = [[sum(given[image, :, i, j].tolist()) / 4 for j in range(6)] for i in range(5)]
        highest, own = max(map(max, cells)), cells[row][column]
        factor = float(own < threshold * highest) if drop_rate else 1 / (1 + math.exp(-own))
        expected = given[image, :, row, column] * factor
        torch.testing.assert_close(found[image, :, row, column], expected)


def test_one_draw_decides_for_the_batch_as_often_as_drop_rate_says() -> None:
    torch.manual_seed(0)
    dropped = [bool((drop_by_attention(features(), 0.75, 0.8) == 0).any()) for _ in range(400)]
    assert sum(dropped) / 400 == pytest.approx(0.75, abs=0.06)
    for _ in range(20):
        zeros = (drop_by_attention(features(), 0.5, 0.8) == 0).flatten(1).any(dim=1)
        assert zeros.all() or not zeros.any()


def test_nothing_is_dropped_where_no_attention_is_above_0() -> None:
    given = -features()
    assert drop_by_attention(given, 1.0, 0.8).equal(given)


def test_the_gradient_of_the_importance_map_is_right() -> None:
    given = features()[:1].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: drop_by_attention(x, 0.0, 0.8), given)


def test_the_order_of_images_and_channels_does_not_matter() -> None:
    given = features()
    for drop_rate in (0.0, 1.0):
        whole = drop_by_attention(given, drop_rate, 0.8)
        torch.testing.assert_close(drop_by_attention(given.flip(0), drop_rate, 0.8), whole.flip(0))
        torch.testing.assert_close(drop_by_attention(given.flip(1), drop_rate, 0.8), whole.flip(1))


def test_adl_is_cam_at_test_and_changes_every_level_in_training() -> None:
    cam = made(Cam)
    torch.testing.assert_close(made(Adl)(IMAGES).scores, cam(IMAGES).scores)
    losses = {}
    for levels in (1, 2, 3):
        method = made(Adl, levels=levels, drop_rate=1.0).train()
        losses[levels] = method.loss(IMAGES, LABELS)["classification"].item()
        assert not [hooks for layer in method.modules() if (hooks := layer._forward_hooks)]
    assert len({cam.loss(IMAGES, LABELS)["classification"].item(), *losses.values()}) == 4


def test_adl_at_three_levels_is_three_times_the_layer() -> None:
    method = made(Adl, drop_rate=1.0).train()
    features, past = (IMAGES - method.backbone.mean) / method.backbone.std, 0
    for end in method.backbone.stage_ends:
        features = drop_by_attention(method.backbone.trunk[past:end](features), 1.0, method.config.threshold)
        past = end
    torch.testing.assert_close(method(IMAGES).maps, torch.nn.functional.conv2d(features, method.maps.weight))


def test_adl_draws_from_torchs_generator() -> None:
    method, losses = made(Adl, drop_rate=0.5).train(), []
    for seed in (1, 1, 2, 3, 4):
        torch.manual_seed(seed)
        losses.append(method.loss(IMAGES, LABELS)["classification"].item())
    assert losses[0] == losses[1]
    assert len(set(losses)) > 1


def test_a_net_without_stages_takes_one_level() -> None:
    pytest.importorskip("timm")
    net = "timm:vit_tiny_patch16_224"
    with pytest.raises(RequestError, match=r"adl at 3 levels needs .* has 1 stage: set levels=1"):
        made(Adl, net=net)
    assert made(Adl, net=net, levels=1).train().loss(IMAGES, LABELS)["classification"].isfinite()
