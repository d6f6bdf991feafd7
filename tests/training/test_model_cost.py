"""What a method costs on any machine: parameters and operations, counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.training.model_cost import count_flops, count_parameters


def test_a_convolution_and_a_product_are_counted_as_by_hand() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    )
    assert count_parameters(net) == 3 * 8 * 9 + 8 + 8 * 5 + 5
    with torch.inference_mode():
        found = count_flops(lambda: net(torch.zeros(1, 3, 16, 16)))
    assert found == 2 * 3 * 8 * 9 * 16 * 16 + 2 * 8 * 5


def test_frozen_parameters_count_and_a_backward_pass_costs_twice_a_forward_pass() -> None:
    net = nn.Linear(8, 5, bias=False).requires_grad_(False)
    assert count_parameters(net) == 40
    images = torch.zeros(4, 8, requires_grad=True)
    assert count_flops(lambda: net(images)) == 2 * 4 * 40
    assert count_flops(lambda: net(images).sum().backward()) == pytest.approx(2 * 2 * 4 * 40)
