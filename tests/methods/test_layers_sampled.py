"""The sample and the loss of MELM's released code against a loop over the proposals; gradcheck."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.core.boxes import iou
from methods.layers.pseudo import Seeds
from methods.layers.sampled import draw_sample, sampled_loss

CLASSES = 3


def random_boxes(count: int, seed: int) -> Tensor:
    corners = np.random.default_rng(seed).integers(0, 12, (count, 2, 2))
    return torch.from_numpy(np.concatenate([corners.min(1), corners.max(1) + 4], axis=1).astype(np.float64))


def slow_loss(p: list[list[float]], boxes: Tensor, seeds: list[int], labels: list[int]) -> float:
    """The mean of -log(p + 1e-5) over all that may be drawn, which is the sample as long as there are few."""
    overlap = iou(boxes.numpy(), boxes.numpy()[seeds])
    nearest = overlap.max(axis=1)
    around = [r for r in range(len(boxes)) if 0.1 <= nearest[r] < 0.4] or [r for r, o in enumerate(nearest) if o < 0.4]
    terms = [-math.log(p[r][CLASSES] + 1e-5) for r in around]
    for r in range(len(boxes)):
        if nearest[r] >= 0.6:
            terms.append(-math.log(p[r][labels[overlap[r].argmax()]] + 1e-5))
    return sum(terms) / len(terms)


@pytest.mark.parametrize("seed", range(6))
def test_loss_is_the_mean_cross_entropy_of_objects_and_background(seed: int) -> None:
    boxes, seeds = random_boxes(30, seed), Seeds(torch.tensor([3, 17, 3]), torch.tensor([0, 2, 1]))
    p = torch.randn(30, CLASSES + 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).softmax(1)
    expected = slow_loss(p.tolist(), boxes, seeds.proposal.tolist(), seeds.label.tolist())
    assert sampled_loss(p.log(), boxes, seeds).item() == pytest.approx(expected)


def test_a_sample_has_32_objects_and_96_of_background_at_most() -> None:
    overlap = torch.cat([torch.full((50,), 0.6), torch.full((50,), 0.5), torch.full((150,), 0.1), torch.zeros(50)])
    objects, background = draw_sample(overlap)
    assert (len(objects), len(background)) == (32, 96)
    assert (len(objects.unique()), len(background.unique())) == (32, 96)
    assert objects.max() < 50
    assert background.min() >= 100
    assert background.max() < 250
    assert not draw_sample(overlap)[1].equal(background)  # another one each time


def test_where_nothing_is_around_a_seed_background_is_what_is_far_away() -> None:
    objects, background = draw_sample(torch.tensor([1.0, 0.4, 0.05, 0.0]))
    assert (objects.tolist(), background.tolist()) == ([0], [2, 3])
    assert [len(rows) for rows in draw_sample(torch.ones(3))] == [3, 0]


def test_gradients_of_the_sampled_loss_are_right() -> None:
    boxes, seeds = random_boxes(12, 0), Seeds(torch.tensor([3, 7]), torch.tensor([0, 2]))
    logits = torch.randn(12, CLASSES + 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: sampled_loss(x.log_softmax(1), boxes, seeds), logits)
