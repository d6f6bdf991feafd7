"""The divergence of a class's maps against its double loop over pairs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from methods.layers.divergence import pairwise_cosine


def maps(count: int = 5) -> Tensor:
    return torch.randn(3, count, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def slow(one: Tensor) -> float:
    """Eq. 4 of maps (K, h, w)."""
    total = 0.0
    for k in range(len(one)):
        for other in range(k + 1, len(one)):
            dot = float((one[k] * one[other]).sum())
            total += dot / (float(one[k].square().sum()) ** 0.5 * float(one[other].square().sum()) ** 0.5)
    return total


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_it_is_the_sum_over_pairs(count: int) -> None:
    expected = torch.tensor([slow(one) for one in maps(count)], dtype=torch.float64)
    torch.testing.assert_close(pairwise_cosine(maps(count)), expected, rtol=0, atol=1e-6)


def test_equal_maps_are_alike_disjoint_ones_are_not_and_opposite_ones_less_than_that() -> None:
    equal = torch.ones(3, 2, 2)
    disjoint = torch.eye(4).view(4, 2, 2)
    assert pairwise_cosine(equal).item() == pytest.approx(3)
    assert pairwise_cosine(disjoint).item() == pytest.approx(0)
    assert pairwise_cosine(torch.stack([equal[0], -equal[0]])).item() == pytest.approx(-1)


def test_neither_order_nor_scale_matters() -> None:
    given = maps()
    torch.testing.assert_close(pairwise_cosine(given[:, [3, 1, 0, 4, 2]] * 7), pairwise_cosine(given))


def test_a_map_of_zeros_is_like_none_and_has_a_finite_gradient() -> None:
    given = maps(3)
    given[:, 1] = 0
    given.requires_grad_()
    found = pairwise_cosine(given)
    torch.testing.assert_close(found, pairwise_cosine(given[:, [0, 2]]))
    found.sum().backward()
    assert given.grad is not None
    assert given.grad.isfinite().all()


def test_gradients_are_right() -> None:
    assert torch.autograd.gradcheck(pairwise_cosine, (maps(4).requires_grad_(),))
