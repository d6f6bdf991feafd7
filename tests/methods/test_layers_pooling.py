"""Negative-evidence pooling against sorting, Eq. 8 at its limits, both by gradcheck."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from methods.layers.pooling import pool_generalised, pool_negative_evidence


def maps(height: int = 3, width: int = 4, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, height, width, generator=generator, dtype=torch.float64)


def slow(maps: Tensor, k_plus: int, k_minus: int) -> Tensor:
    """Eq. 9-11 by sorting each map in full."""
    found = torch.zeros(maps.shape[:2], dtype=maps.dtype)
    for b, c in [(b, c) for b in range(maps.shape[0]) for c in range(maps.shape[1])]:
        values = sorted((float(value) for value in maps[b, c].flatten()), reverse=True)
        top = sum(values[:k_plus]) / k_plus
        found[b, c] = (top + sum(values[-k_minus:]) / k_minus) / 2 if k_minus else top
    return found


@pytest.mark.parametrize(("k_plus", "k_minus"), [(1, 1), (1, 0), (3, 3), (5, 2), (12, 12), (12, 0), (2, 7)])
def test_pooling_is_the_mean_of_the_highest_and_of_the_lowest(k_plus: int, k_minus: int) -> None:
    torch.testing.assert_close(pool_negative_evidence(maps(), k_plus, k_minus), slow(maps(), k_plus, k_minus))


def test_one_is_one_region_and_less_than_one_is_a_share_of_them() -> None:
    given = maps()
    assert pool_negative_evidence(given, 1, 0).equal(given.amax(dim=(2, 3)))
    torch.testing.assert_close(pool_negative_evidence(given, 0.25, 0.5), slow(given, 3, 6))
    torch.testing.assert_close(pool_negative_evidence(given, 0.01, 0.01), slow(given, 1, 1))


def test_more_regions_than_there_are_means_all_of_them() -> None:
    torch.testing.assert_close(pool_negative_evidence(maps(), 50, 0), maps().mean(dim=(2, 3)))
    torch.testing.assert_close(pool_negative_evidence(maps(), 50, 99), maps().mean(dim=(2, 3)))


def test_without_the_half_both_are_added() -> None:
    torch.testing.assert_close(pool_negative_evidence(maps(), 2, 3, halve=False), 2 * slow(maps(), 2, 3))
    torch.testing.assert_close(pool_negative_evidence(maps(), 2, 0, halve=False), slow(maps(), 2, 0))


def test_the_gradient_goes_to_the_selected_regions_only() -> None:
    given = torch.arange(12.0).view(1, 1, 3, 4).requires_grad_()
    pool_negative_evidence(given, 2, 1).sum().backward()
    expected = torch.zeros(12)
    expected[0], expected[10], expected[11] = 0.5, 0.25, 0.25
    assert given.grad is not None
    assert given.grad.flatten().equal(expected)


def slow_generalised(maps: Tensor, beta_plus: float, beta_minus: float) -> Tensor:
    """Eq. 8 as it is printed."""
    found = torch.zeros(maps.shape[:2], dtype=maps.dtype)
    number = maps[0, 0].numel()
    for b, c in [(b, c) for b in range(maps.shape[0]) for c in range(maps.shape[1])]:
        for beta in (beta_plus, beta_minus):
            total = sum(math.exp(beta * float(value)) for value in maps[b, c].flatten())
            found[b, c] += math.log(total / number) / (2 * beta)
    return found


@pytest.mark.parametrize(("beta_plus", "beta_minus"), [(1, 1), (0.3, 4), (2, -2), (-0.5, 7), (5, 5)])
def test_generalised_pooling_is_equation_8(beta_plus: float, beta_minus: float) -> None:
    expected = slow_generalised(maps(), beta_plus, beta_minus)
    torch.testing.assert_close(pool_generalised(maps(), beta_plus, beta_minus), expected, rtol=0, atol=1e-6)


INF = math.inf
LIMITS = [  # of Table 1: the betas at the limit, near it, and what that is
    ((0.0, 0.0), (1e-6, 1e-6), lambda one: one.mean(dim=(2, 3))),
    ((INF, INF), (3e5, 3e5), lambda one: pool_negative_evidence(one, 1, 0)),
    ((INF, -INF), (3e5, -3e5), lambda one: pool_negative_evidence(one, 1, 1)),
]


@pytest.mark.parametrize(("limit", "near", "expected"), LIMITS)
def test_its_limits_are_gap_max_and_mantra(limit: tuple[float, float], near: tuple[float, float], expected) -> None:
    torch.testing.assert_close(pool_generalised(maps(), *limit), expected(maps()))
    torch.testing.assert_close(pool_generalised(maps(), *near), expected(maps()), rtol=0, atol=1e-5)


def test_hcrf_is_log_mean_exp_plus_the_log_of_the_number_of_regions() -> None:
    given = maps()
    torch.testing.assert_close(given.flatten(2).logsumexp(dim=2), pool_generalised(given, 1, 1) + math.log(12))


@pytest.mark.parametrize(
    "pool", [lambda one: pool_negative_evidence(one, 3, 2), lambda one: pool_generalised(one, 2, -3)]
)
def test_scores_move_with_the_maps_and_large_ones_overflow_nothing(pool) -> None:
    torch.testing.assert_close(pool(maps() + 7), pool(maps()) + 7)
    assert pool(maps().float() * 1e6).isfinite().all()


@pytest.mark.parametrize(
    "pool",
    [
        lambda one: pool_negative_evidence(one, 3, 2),
        lambda one: pool_negative_evidence(one, 1, 0),
        *[lambda one, betas=betas: pool_generalised(one, *betas) for betas in [(1, 1), (4, -4), (0, 2), (INF, -INF)]],
    ],
)
def test_gradients_are_right(pool) -> None:
    assert torch.autograd.gradcheck(pool, (maps().requires_grad_(),))
