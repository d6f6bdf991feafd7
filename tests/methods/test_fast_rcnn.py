"""Fast R-CNN: what a proposal is taken for, its loss and boxes by hand, and that it learns from its objects alone."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models.detection.roi_heads import fastrcnn_loss

from bench.method import Task
from methods.fast_rcnn import BACKGROUND, IGNORED, FastRcnn, FastRcnnConfig
from methods.layers.boxes import iou

TASK = Task("made-up", ("a", "b", "c"))
IMAGE = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([1.0, -1, 1])
OBJECTS, CLASSES = torch.tensor([[0.0, 0, 32, 32], [20.0, 20, 60, 60]]), torch.tensor([0, 2])
FAR = torch.tensor([[40.0, 0, 64, 12]])


def made(**settings: Any) -> FastRcnn:
    torch.manual_seed(0)
    return FastRcnn(FastRcnnConfig(net="tiny", weights="none", **settings), TASK)


def proposals(count: int = 60) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    corners = torch.randint(0, 40, (count, 2), generator=generator).float()
    return torch.cat([corners, corners + torch.randint(8, 24, (count, 2), generator=generator)], dim=1)


def test_a_proposal_is_the_object_it_overlaps_most_or_background_or_ignored() -> None:
    boxes = torch.cat([OBJECTS, torch.tensor([[0.0, 0, 32, 16], [0.0, 0, 32, 15], [0.0, 0, 32, 3]]), FAR])
    target, of = made().assign_targets(boxes, OBJECTS, CLASSES)
    assert target.tolist() == [1, 3, 1, BACKGROUND, IGNORED, IGNORED]  # IoU 1, 1, 1/2, 15/32, 3/32, 0
    assert of.tolist()[:5] == [0, 1, 0, 0, 0]


@pytest.mark.parametrize("beta", [1.0, 1 / 9])
def test_untrained_the_loss_is_that_of_guessing_with_codes_of_0(beta: float) -> None:
    method = made(background=0.0, beta=beta)
    for layer in (method.classifier, method.regressor):
        torch.nn.init.zeros_(layer.weight)
    given = torch.cat([torch.tensor([[0.0, 0, 32, 24]]), FAR])
    terms = method.loss(IMAGE, given, LABELS, OBJECTS, CLASSES)
    assert terms["classification"].item() == pytest.approx(math.log(4))
    # Of the four boxes only the first proposal is no object: its centre is 4 of 24 off, its height 32 / 24 short.
    codes = (10 * 4 / 24, 5 * math.log(32 / 24))
    assert terms["boxes"].item() == pytest.approx(sum(code - beta / 2 for code in codes) / 4, rel=1e-5)


@pytest.mark.parametrize(("beta", "loss"), [(1.0, 0.18), (1 / 9, 0.978)])
def test_small_errors_of_boxes_count_by_their_square_as_in_equation_3(beta: float, loss: float) -> None:
    codes = torch.tensor([[0.3] * 4, [9.0] * 4])
    found = made(beta=beta)._box_loss(torch.zeros(2, 16), codes, torch.tensor([2, BACKGROUND]))
    assert found.item() == pytest.approx(loss / 2, abs=5e-4)


def test_the_loss_is_torchvisions_at_its_beta() -> None:
    generator, targets = torch.Generator().manual_seed(0), torch.tensor([0, 2, 3, 0, 1])
    codes, found = torch.randn(5, 4, generator=generator), torch.randn(5, 16, generator=generator)
    _, expected = fastrcnn_loss(torch.zeros(5, 4), found, [targets], [codes])
    torch.testing.assert_close(made(beta=1 / 9)._box_loss(found, codes, targets), expected)


def test_at_most_the_share_of_objects_is_sampled_and_a_seed_draws_the_same() -> None:
    method, drawn = made(sampled=8, positives=0.25, background=0.0), []
    method.backbone.regions = lambda image, boxes: drawn.append(boxes) or torch.zeros(len(boxes), 256)  # type: ignore[method-assign, assignment]
    for _ in range(2):
        torch.manual_seed(3)
        method.loss(IMAGE, proposals(), LABELS, OBJECTS, CLASSES)
    target, _ = method.assign_targets(drawn[0], OBJECTS, CLASSES)
    assert len(drawn[0]) == 8
    assert 1 <= int((target > 0).sum()) <= 2
    assert drawn[0].equal(drawn[1])


def test_the_order_of_the_proposals_changes_nothing() -> None:
    method, order = made(), torch.randperm(60, generator=torch.Generator().manual_seed(1))
    found = []
    for given in (proposals(), proposals()[order]):
        torch.manual_seed(3)
        found.append({name: term.item() for name, term in method.loss(IMAGE, given, LABELS, OBJECTS, CLASSES).items()})
    assert found[0] == found[1]
    (score, box), (other_score, other_box) = (
        method.detect(IMAGE, given) for given in (proposals(), proposals()[order])
    )
    assert score[order].equal(other_score)
    assert box[order].equal(other_box)
    assert score.equal(method(IMAGE, proposals()))


def test_with_codes_of_0_proposals_stay_and_boxes_end_at_the_image() -> None:
    method = made()
    torch.nn.init.zeros_(method.regressor.weight)
    given = torch.cat([proposals(), torch.tensor([[50.0, 50, 80, 64]])])
    score, box = method.detect(IMAGE, given)
    assert (score.shape, box.shape) == ((61, 3), (61, 3, 4))
    torch.testing.assert_close(box[:-1], proposals()[:, None].expand(-1, 3, -1))
    torch.testing.assert_close(box[-1], torch.tensor([[50.0, 50, 64, 64]] * 3))


def test_it_learns_its_objects_and_moves_boxes_towards_them() -> None:
    method, generator = made(background=0.0), torch.Generator().manual_seed(0)
    near = OBJECTS.repeat(20, 1) + torch.randint(-4, 5, (40, 4), generator=generator)
    given = torch.cat([near.clamp(0, 64), proposals(20)])
    optimiser = torch.optim.SGD(method.parameters(), lr=0.01, momentum=0.9)
    for _ in range(40):
        optimiser.zero_grad()
        torch.stack(list(method.loss(IMAGE, given, LABELS, OBJECTS, CLASSES).values())).sum().backward()
        optimiser.step()
    method.eval()
    near = torch.tensor([[2.0, 3, 30, 29], [22.0, 24, 58, 60]])
    score, box = method.detect(IMAGE, torch.cat([near, FAR]))
    assert score[0].argmax() == 0
    assert score[1].argmax() == 2
    assert score[:2].amax(1).min() > 0.5 > score[2].max()
    assert iou(box[:1, 0], OBJECTS)[0, 0] > iou(near, OBJECTS)[0, 0] + 0.1


@pytest.mark.parametrize(
    ("labels", "objects"), [(LABELS, 0), (-LABELS, 2), (torch.zeros(3), 2), (torch.tensor([-1.0, 1, 0]), 2)]
)
def test_without_an_object_of_a_shown_class_an_image_teaches_nothing(labels: Tensor, objects: int) -> None:
    method = made()
    terms = method.loss(IMAGE, proposals(), labels, OBJECTS[:objects], CLASSES[:objects])
    torch.stack(list(terms.values())).sum().backward()
    assert {value.item() for value in terms.values()} == {0.0}
    assert all(parameter.grad is not None and parameter.grad.eq(0).all() for parameter in method.parameters())


def test_nothing_is_learned_about_a_class_of_unknown_label() -> None:
    method = made()
    terms = method.loss(IMAGE, proposals(), torch.tensor([1.0, 0, 0]), OBJECTS, CLASSES)
    torch.stack(list(terms.values())).sum().backward()
    assert method.classifier.weight.grad is not None
    assert method.regressor.weight.grad is not None
    assert method.classifier.weight.grad[2:].eq(0).all()
    assert method.regressor.weight.grad[8:].eq(0).all()
    assert method.classifier.weight.grad[1].abs().sum() > 0


@pytest.mark.parametrize(
    "given",
    [torch.zeros(0, 4), torch.tensor([[3.0, 4, 20, 30]] * 5), torch.tensor([[0.0, 0, 64, 64], [9.0, 9, 9, 20]])],
)
def test_odd_proposals_give_finite_losses_and_gradients(given: Tensor) -> None:
    method = made()
    torch.stack(list(method.loss(IMAGE, given, LABELS, OBJECTS, CLASSES).values())).sum().backward()
    assert all(p.grad.isfinite().all() for p in method.parameters() if p.grad is not None)
