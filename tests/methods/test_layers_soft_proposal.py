"""Soft proposal against its equations as loops, its closed form against the walk, and what is odd about both."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from methods.layers.soft_proposal import dissimilarity, stable_state, walk

SHAPES = [(5, 5), (3, 7), (6, 2), (1, 4)]


def features(height: int, width: int, channels: int = 4, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, channels, height, width, generator=generator, dtype=dtype)


def slow_dissimilarity(one: Tensor, epsilon: float) -> Tensor:
    """D' (N, N) of one image's features (K, h, w), entry by entry."""
    height, width = one.shape[1:]
    places = [(i, j) for i in range(height) for j in range(width)]
    found = torch.zeros(len(places), len(places), dtype=torch.float64)
    for a, (i, j) in enumerate(places):
        for b, (p, q) in enumerate(places):
            apart = math.sqrt(sum((float(one[k, i, j]) - float(one[k, p, q])) ** 2 for k in range(len(one))))
            found[a, b] = apart * math.exp(-((i - p) ** 2 + (j - q) ** 2) / (2 * epsilon**2))
    return found


def slow_walk(apart: Tensor, steps: int) -> Tensor:
    """M (N,) after steps of Eq. 1 from uniform."""
    transfer = apart / apart.sum(dim=0)
    state = torch.full((len(apart),), 1 / len(apart), dtype=torch.float64)
    for _ in range(steps):
        state = torch.stack([sum(transfer[a, b] * state[b] for b in range(len(apart))) for a in range(len(apart))])
    return state


@pytest.mark.parametrize(("height", "width"), SHAPES)
@pytest.mark.parametrize("epsilon", [0.5, 0.75, 3.0])
def test_dissimilarity_is_feature_distance_times_nearness(height: int, width: int, epsilon: float) -> None:
    given = features(height, width)
    for fast, one in zip(dissimilarity(given, epsilon), given, strict=True):
        torch.testing.assert_close(fast, slow_dissimilarity(one, epsilon), rtol=0, atol=1e-6)


def test_in_single_precision_it_is_as_good_as_that() -> None:
    given = 40 * features(9, 8, channels=512, dtype=torch.float32)
    torch.testing.assert_close(
        dissimilarity(given, 1.3).double(), dissimilarity(given.double(), 1.3), rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_a_walk_is_the_papers_iteration(height: int, width: int) -> None:
    apart = dissimilarity(features(height, width), 0.9)
    for steps in (1, 2, 20):
        slow = torch.stack([slow_walk(one, steps) for one in apart])
        torch.testing.assert_close(walk(apart, steps=steps, tolerance=0), slow, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_the_closed_form_is_the_converged_walk(height: int, width: int) -> None:
    apart = dissimilarity(features(height, width), 0.9)
    stable = stable_state(apart)
    torch.testing.assert_close(stable, walk(apart, steps=5000, tolerance=0), rtol=0, atol=1e-6)
    torch.testing.assert_close(stable.sum(dim=1), torch.ones(2, dtype=torch.float64))


def test_no_step_moves_the_closed_form() -> None:
    apart = dissimilarity(features(4, 6), 2.0)
    stable = stable_state(apart)
    moved = (apart / apart.sum(dim=1, keepdim=True)) @ stable[:, :, None]
    torch.testing.assert_close(moved[:, :, 0], stable)


def test_an_image_stops_at_its_first_step_below_the_tolerance_whatever_the_others_do() -> None:
    apart = dissimilarity(features(4, 4), 1.0)
    together = walk(apart, steps=50, tolerance=1e-2)
    alone = torch.cat([walk(one[None], steps=50, tolerance=1e-2) for one in apart])
    torch.testing.assert_close(together, alone)
    after = (apart / apart.sum(dim=1, keepdim=True)) @ together[:, :, None]
    assert ((after[:, :, 0] - together).norm(dim=1) < 1e-2).all()
    assert not torch.allclose(together, stable_state(apart), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 37.3])
def test_constant_features_give_a_uniform_map(dtype: torch.dtype, value: float) -> None:
    given = torch.rand(1, 512, 1, 1, dtype=dtype).add(value).expand(2, 512, 14, 9)
    apart = dissimilarity(given, 2.1)
    uniform = torch.full((2, 126), 1 / 126, dtype=dtype)
    assert apart.eq(0).all()
    assert stable_state(apart).equal(uniform)
    assert walk(apart).equal(uniform)


def test_of_two_kinds_of_positions_the_walk_oscillates_and_the_closed_form_is_the_mean_of_its_states() -> None:
    given = torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    given[0, :, 1:3, 1:2] = 1.0
    apart = dissimilarity(given, 5.0)
    even, odd = walk(apart, steps=1000, tolerance=0), walk(apart, steps=1001, tolerance=0)
    assert (even - odd).abs().max() > 0.01
    torch.testing.assert_close((even + odd) / 2, stable_state(apart), rtol=0, atol=1e-6)


def test_what_differs_from_its_surroundings_is_the_object() -> None:
    given = 0.05 * features(7, 7)
    given[:, :, 3, 4] += 1
    assert (stable_state(dissimilarity(given, 1.05)).argmax(dim=1) == 3 * 7 + 4).all()


def test_in_mixed_precision_it_is_computed_as_ever() -> None:
    given = features(5, 6, channels=64, dtype=torch.float32)

    def both() -> tuple[Tensor, Tensor]:
        apart = dissimilarity(given, 0.8)
        return stable_state(apart), walk(apart)

    expected = both()
    with torch.autocast("cpu", torch.bfloat16):
        assert all(found.equal(same) for found, same in zip(both(), expected, strict=True))
    for half, same in zip(
        dissimilarity(given.bfloat16(), 0.8), dissimilarity(given.bfloat16().float(), 0.8), strict=True
    ):
        assert half.equal(same)


def test_the_map_is_a_constant_for_the_gradient() -> None:
    assert not dissimilarity(features(3, 3).requires_grad_(), 1.0).requires_grad


@pytest.mark.parametrize("order", [torch.randperm(20, generator=torch.Generator().manual_seed(4))])
def test_channels_in_another_order_give_the_same_map(order: Tensor) -> None:
    given = features(4, 5, channels=20)
    torch.testing.assert_close(dissimilarity(given, 0.7), dissimilarity(given[:, order], 0.7))
