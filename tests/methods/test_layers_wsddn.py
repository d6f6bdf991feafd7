"""WSDDN's scores, losses and regulariser against loops, and gradcheck; the losses' treatment of unknown labels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bench.core.boxes import iou
from methods.layers.losses import binary_log_loss, multi_label_soft_margin
from methods.layers.wsddn import image_log_scores, released_regulariser, spatial_regulariser, two_stream_log_scores


def streams(regions: int = 6, classes: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(regions, classes, generator=generator, dtype=torch.float64) for _ in range(2))  # type: ignore[return-value]


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_score_is_softmax_over_classes_times_softmax_over_regions(temperature: float) -> None:
    recognition, detection = streams()
    scores = two_stream_log_scores(recognition, detection, temperature=temperature).exp()
    for r in range(6):
        for c in range(3):
            by_class = math.exp(recognition[r, c]) / sum(math.exp(recognition[r, k]) for k in range(3))
            powers = [math.exp(detection[k, c] / temperature) for k in range(6)]
            assert scores[r, c].item() == pytest.approx(by_class * powers[r] / sum(powers), abs=1e-6)


def test_image_scores_are_sums_over_regions_within_0_and_1() -> None:
    log_scores = two_stream_log_scores(*streams())
    image = image_log_scores(log_scores).exp()
    assert image.tolist() == pytest.approx(log_scores.exp().sum(0).tolist())
    assert ((image > 0) & (image < 1)).all()


def test_binary_log_loss_by_hand() -> None:
    loss = binary_log_loss(torch.tensor([0.25, 0.25, 0.25]).log(), torch.tensor([1, -1, 0]))
    assert loss.tolist() == pytest.approx([-math.log(0.25), -math.log(0.75), 0])


def test_binary_log_loss_of_a_certain_mistake_is_finite() -> None:
    assert torch.isfinite(binary_log_loss(torch.zeros(1), torch.tensor([-1]))).all()


def test_multi_label_soft_margin_by_hand_and_without_unknown_labels() -> None:
    logits = torch.tensor([[2.0, -1.0, 7.0]])
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1))) / 2
    assert multi_label_soft_margin(logits, torch.tensor([[1, -1, 0]])).item() == pytest.approx(expected)
    assert multi_label_soft_margin(logits, torch.zeros(1, 3)).item() == 0


def test_multi_label_soft_margin_is_torchs_where_all_labels_are_known() -> None:
    logits, labels = torch.randn(4, 5), torch.randint(0, 2, (4, 5)) * 2 - 1
    expected = torch.nn.functional.multilabel_soft_margin_loss(logits, (labels > 0).float())
    torch.testing.assert_close(multi_label_soft_margin(logits, labels), expected)


def slow_regulariser(
    features: Tensor, scores: Tensor, boxes: Tensor, present: list[int], overlap: float, top: int
) -> float:
    total = 0.0
    for c in present:
        order = sorted(range(len(scores)), key=lambda r: -float(scores[r, c]))[:top]
        for r in order:
            if iou(boxes[order[:1]].numpy(), boxes[[r]].numpy())[0, 0] >= overlap:
                distance = float((features[order[0]] - features[r]).square().sum())
                total += 0.5 * float(scores[order[0], c]) ** 2 * distance
    return total


@pytest.mark.parametrize("top", [2, 10])
def test_spatial_regulariser_is_its_sum(top: int) -> None:
    generator = torch.Generator().manual_seed(2)
    corners = torch.randint(0, 4, (12, 2), generator=generator).double()
    boxes = torch.cat([corners, corners + 12], dim=1)
    features, scores = (torch.rand(12, d, generator=generator, dtype=torch.float64) for d in (5, 3))
    present = torch.tensor([True, False, True])
    got = spatial_regulariser(features, scores, boxes, present, overlap=0.6, top=top)
    assert got.item() == pytest.approx(slow_regulariser(features, scores, boxes, [0, 2], 0.6, top), abs=1e-9)


def test_gradients_of_the_regulariser_are_right() -> None:
    generator = torch.Generator().manual_seed(2)
    features, scores = (torch.rand(6, d, generator=generator, dtype=torch.float64, requires_grad=True) for d in (4, 2))
    boxes, present = torch.tensor([[0.0, 0, 9, 9 + 0.1 * r] for r in range(6)]).double(), torch.tensor([True, False])
    assert torch.autograd.gradcheck(lambda f, s: spatial_regulariser(f, s, boxes, present, top=4), (features, scores))


def test_gradients_are_right() -> None:
    labels = torch.tensor([1, -1, 0])
    recognition, detection = (one.requires_grad_() for one in streams())

    def loss(a: Tensor, b: Tensor) -> Tensor:
        return binary_log_loss(image_log_scores(two_stream_log_scores(a, b, temperature=2)), labels)

    assert torch.autograd.gradcheck(loss, (recognition, detection))
    logits = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: multi_label_soft_margin(x, labels.expand(2, 3)), logits)


@pytest.mark.parametrize("top", [2, 5])
def test_released_regulariser_and_its_gradient_are_loops(top: int) -> None:
    """The released layer's value weighs differences by squared scores, its gradient by scores."""
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(6, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    scores = torch.rand(6, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    boxes = torch.tensor([[0, 0, 10, height] for height in (10, 9, 8, 7, 6, 5)], dtype=torch.float64)
    value, gradient = 0.0, torch.zeros_like(features)
    for c in (0, 2):
        best, *others = scores[:, c].argsort(descending=True).tolist()[:top]
        for r in others:
            if iou(boxes[best, None].numpy(), boxes[r, None].numpy())[0, 0] > 0.6:
                difference = (features[r] - features[best]).detach()
                value += 0.5 * float(((scores[r, c].detach() * difference) ** 2).sum())
                gradient[r] += scores[r, c].detach() * difference
                gradient[best] -= scores[r, c].detach() * difference
    loss = released_regulariser(features, scores, boxes, torch.tensor([True, False, True]), top=top)
    loss.backward()
    assert loss.item() == pytest.approx(value)
    torch.testing.assert_close(features.grad, gradient)
    assert scores.grad is None
