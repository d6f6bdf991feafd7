"""Erasing and hiding: what goes, what stays, and through what no gradient flows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from methods.layers.erasing import compute_attention, erase, min_max
from methods.layers.hide_and_seek import hide_patches

FILL = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)


def test_maps_are_brought_to_0_and_1_each_for_itself() -> None:
    maps = torch.tensor([[[1.0, 3.0], [2.0, 1.0]], [[-4.0, 0.0], [-1.0, -2.0]], [[5.0, 5.0], [5.0, 5.0]]])
    expected = [[[0, 1], [0.5, 0]], [[0, 1], [0.75, 0.5]], [[0, 0], [0, 0]]]
    assert min_max(maps).tolist() == expected


def test_attention_is_the_maximum_of_the_chosen_classes() -> None:
    maps = torch.tensor([[[[0.0, 4.0]], [[2.0, 1.0]], [[9.0, 0.0]]]]).expand(3, -1, -1, -1)
    chosen = torch.tensor([[True, False, False], [True, True, False], [False, False, False]])
    assert compute_attention(maps, chosen).tolist() == [[[0, 1]], [[1, 1]], [[0, 0]]]


def test_what_is_above_delta_goes_and_what_equals_it_only_if_inclusive() -> None:
    features, found = torch.ones(1, 2, 1, 3), torch.tensor([[[0.5, 0.6, 0.7]]])
    assert erase(features, found, 0.6)[0].tolist() == [[[1, 1, 0]]] * 2
    assert erase(features, found, 0.6, inclusive=True)[0].tolist() == [[[1, 0, 0]]] * 2


def test_attention_of_another_size_is_enlarged_linearly() -> None:
    features = torch.ones(1, 1, 1, 4)
    assert erase(features, torch.tensor([[[0.0, 1.0]]]), 0.5).flatten().tolist() == [1, 1, 0, 0]


def test_no_gradient_flows_through_the_mask() -> None:
    features = torch.rand(1, 2, 2, 2, requires_grad=True)
    found = torch.rand(1, 2, 2, requires_grad=True)
    erase(features, found, 0.5).square().sum().backward()
    assert found.grad is None
    kept = (found <= 0.5)[:, None].expand(-1, 2, -1, -1)
    assert features.grad is not None
    assert torch.equal(features.grad, torch.where(kept, 2 * features, 0))


def hidden(sides: tuple[int, ...], probability: float, size: tuple[int, int] = (10, 8), count: int = 50) -> Tensor:
    """Whether each pixel of some images (count, H, W) is hidden."""
    torch.manual_seed(0)
    images = torch.rand(count, 3, *size) + 1
    found = hide_patches(images, sides, probability, FILL)
    gone = (found == FILL).all(dim=1)
    assert torch.equal(torch.where(gone[:, None], images, found), images)
    assert torch.equal(gone, (found == FILL).any(dim=1))
    return gone


def test_hidden_are_whole_patches_of_the_grid() -> None:
    gone = hidden((4,), 0.5)
    for rows in (slice(0, 4), slice(4, 8), slice(8, 10)):
        for columns in (slice(0, 4), slice(4, 8)):
            patch = gone[:, rows, columns].flatten(1).float().mean(dim=1)
            assert set(patch.tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_patches_are_hidden_as_often_as_is_said(probability: float) -> None:
    assert hidden((2,), probability, count=200).float().mean().item() == pytest.approx(probability, abs=0.02)


def test_a_side_of_0_hides_nothing_and_each_image_draws_its_own_side() -> None:
    assert not hidden((0,), 1.0).any()
    whole = hidden((0, 100), 1.0).flatten(1).float().mean(dim=1)
    assert sorted(set(whole.tolist())) == [0.0, 1.0]
    assert 10 < whole.sum() < 40


def test_equal_seeds_hide_equal_patches() -> None:
    assert torch.equal(hidden((0, 2, 3), 0.5), hidden((0, 2, 3), 0.5))
