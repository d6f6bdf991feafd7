"""The classification losses: by hand, with unknown and several labels, against torch, by gradcheck."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from methods.layers.losses import multi_label_soft_margin, softmax_log_loss


def test_it_is_torchs_cross_entropy_where_each_image_has_one_class() -> None:
    logits, target = torch.randn(5, 4), torch.tensor([0, 3, 1, 1, 2])
    labels = 2 * torch.nn.functional.one_hot(target, 4) - 1
    torch.testing.assert_close(softmax_log_loss(logits, labels), torch.nn.functional.cross_entropy(logits, target))


def test_unknown_classes_are_left_out_of_the_softmax() -> None:
    logits = torch.tensor([[2.0, 9.0, 1.0]], requires_grad=True)
    loss = softmax_log_loss(logits, torch.tensor([[1, 0, -1]]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)))
    assert logits.grad is not None
    assert logits.grad[0, 1] == 0


def test_of_several_present_classes_the_mean_counts_and_an_image_without_any_does_not() -> None:
    logits = torch.tensor([[0.0, 0.0], [3.0, 1.0]])
    assert softmax_log_loss(logits, torch.tensor([[1, 1], [-1, -1]])).item() == pytest.approx(math.log(2))
    assert softmax_log_loss(logits, torch.tensor([[1, -1], [0, 0]])).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("label", [0, -1])
def test_without_any_present_class_it_is_0_with_a_gradient_of_0(label: int) -> None:
    logits = torch.randn(2, 3, requires_grad=True)
    loss = softmax_log_loss(logits, torch.full((2, 3), label))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert logits.grad.eq(0).all()


def test_smoothed_labels_are_torchs() -> None:
    logits, target = torch.randn(5, 4), torch.tensor([0, 3, 1, 1, 2])
    labels = 2 * torch.nn.functional.one_hot(target, 4) - 1
    expected = torch.nn.functional.cross_entropy(logits, target, label_smoothing=0.2)
    torch.testing.assert_close(softmax_log_loss(logits, labels, 0.2), expected)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, 0.1 + 0.8 * (labels > 0))
    torch.testing.assert_close(multi_label_soft_margin(logits, labels, 0.2), expected)


@pytest.mark.parametrize("loss", [softmax_log_loss, multi_label_soft_margin])
def test_smoothing_leaves_out_what_is_unknown(loss: Any) -> None:
    logits = torch.tensor([[2.0, 9.0, 1.0], [4.0, 5.0, 6.0]])
    labels = torch.tensor([[1, 0, -1], [0, 0, 0]])
    alone = loss(logits[:1, [0, 2]], labels[:1, [0, 2]], 0.1)
    torch.testing.assert_close(loss(logits, labels, 0.1), alone)


def test_an_image_without_a_class_teaches_a_smoothed_softmax_nothing() -> None:
    logits = torch.randn(2, 3)
    assert softmax_log_loss(logits, torch.full((2, 3), -1), 0.1) == 0


def test_gradients_are_right() -> None:
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[1, -1, 0, -1], [-1, 1, 1, -1], [-1, -1, -1, -1]])
    assert torch.autograd.gradcheck(lambda one: softmax_log_loss(one, labels), (logits,))
