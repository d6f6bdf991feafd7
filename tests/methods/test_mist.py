"""MIST: its seeds and terms against the algorithm in loops, its boxes, and Concrete DropBlock."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from test_refined_methods import LABELS, made, regions, stages
from torch import Tensor
from torch.nn.functional import cross_entropy, smooth_l1_loss

from bench.core.boxes import iou
from methods.layers.concrete_dropblock import ConcreteDropBlock
from methods.layers.self_training import spread_seeds
from methods.mist import Mist
from methods.oicr import Oicr


def slow_seeds(boxes: Tensor, scores: Tensor, present: list[int], *, all_better: bool) -> list[tuple[int, int]]:
    """Alg. 1 one proposal after the other; as released, a seed is apart from all that score better."""
    overlap, found = iou(boxes.numpy(), boxes.numpy()), []
    for label in present:
        ranked = sorted(range(len(boxes)), key=lambda r: -scores[r, label].item())[: int(0.3 * len(boxes))]
        chosen: list[int] = []
        for place, row in enumerate(ranked):
            if all(overlap[row, other] < 0.2 for other in (ranked[:place] if all_better else chosen)):
                chosen.append(row)
        found += [(row, label) for row in chosen]
    return found


@pytest.mark.parametrize("all_better", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_seeds_are_those_of_the_algorithm(seed: int, all_better: bool) -> None:
    boxes, generator = regions(60)[1], torch.Generator().manual_seed(seed)
    scores = torch.rand(60, 3, generator=generator)
    seeds = spread_seeds(boxes, scores, torch.tensor([0, 2]), share=0.3, apart=0.2, all_better=all_better)
    found = list(zip(seeds.proposal.tolist(), seeds.label.tolist(), strict=True))
    assert found == slow_seeds(boxes, scores, [0, 2], all_better=all_better)
    assert len(found) > 2


def test_as_released_fewer_are_seeds() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [2, 0, 12, 10], [8, 0, 18, 10]])  # the last one overlaps the second
    scores = torch.tensor([[0.9], [0.8], [0.7]])
    count = [
        len(spread_seeds(boxes, scores, torch.tensor([0]), share=1, apart=0.2, all_better=each)[0])
        for each in (False, True)
    ]
    assert count == [2, 1]


def test_a_class_has_a_seed_however_few_proposals_there_are() -> None:
    seeds = spread_seeds(
        torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[0.5, 0.1]]), torch.arange(2), share=0.1, apart=0.2
    )
    assert (seeds.proposal.tolist(), seeds.label.tolist()) == ([0, 0], [0, 1])


def slow_terms(method: Mist, features: Tensor, boxes: Tensor, known: list[int]) -> tuple[float, float]:
    """Losses of the refinements as the released code has them: means over all proposals, the first one threefold."""
    overlap, losses, moved = iou(boxes.numpy(), boxes.numpy()), 0.0, 0.0
    for number, (before, after) in enumerate(pairwise(stages(method, features))):
        seeds = slow_seeds(boxes, before, [0, 2], all_better=False)
        factor, columns = (3 if number == 0 else 1) / len(boxes), [*known, 3]
        logits = method.refinements[number](features)[:, columns]
        for row in range(len(boxes)):
            nearest = max(range(len(seeds)), key=lambda k, row=row: (overlap[row, seeds[k][0]], -k))
            (seed, label), near = seeds[nearest], overlap[row, seeds[nearest][0]] >= 0.5
            target, weight = torch.tensor(columns.index(label if near else 3)), before[seed, label].item()
            losses += factor * weight * cross_entropy(logits[row], target).item()
            if near:
                move = method.regressors[number](features)[row, 4 * label : 4 * label + 4]
                moved += factor * weight * smooth_l1_loss(move, encode(boxes[seed], boxes[row]), reduction="sum").item()
        assert after.shape == (len(boxes), 4)
    return losses, moved


def encode(target: Tensor, box: Tensor) -> Tensor:
    """Moves from a box to a target: of centres by sides, of sides by logarithm, times 10 and 5."""
    side, wanted = box[2:] - box[:2], target[2:] - target[:2]
    shift = (target[:2] + wanted / 2 - box[:2] - side / 2) / side
    return torch.cat([10 * shift, 5 * (wanted / side).log()])


@pytest.mark.parametrize(("labels", "known"), [(LABELS, [0, 1, 2]), (torch.tensor([1, 0, 1]), [0, 2])])
def test_terms_are_those_of_the_released_code(labels: Tensor, known: list[int]) -> None:
    method, (features, boxes) = made(Mist, share=0.3), regions()
    if len(known) < 3:  # a class that is not known has no part in any softmax
        for layer in (method.recognition, *method.refinements):
            layer.bias.data[1] = -1e4
    losses, moved = slow_terms(method, features, boxes, known)
    terms = method.terms(features, boxes, labels)
    assert terms["refinement"].item() == pytest.approx(losses, rel=1e-4)
    assert terms["boxes"].item() == pytest.approx(moved, rel=1e-4)


def test_with_one_seed_a_class_and_no_boxes_it_is_nearly_oicr() -> None:
    """Seeds are the best proposals; OICR lets no proposal be the seed of two classes, which here none is."""
    method, (features, boxes) = made(Mist, share=1e-6, regression=False, first=1.0), regions()
    terms = method.terms(features, boxes, LABELS)
    assert set(terms) == {"classification", "refinement"}
    expected = made(Oicr).terms(features, boxes, LABELS)
    for name, value in terms.items():
        assert value.item() == pytest.approx(expected[name].item())


def test_boxes_are_the_mean_of_the_moves_and_permute_with_the_proposals() -> None:
    method, image = made(Mist).float().eval(), torch.rand(1, 3, 48, 48)
    proposals = regions()[1].float()
    with torch.no_grad():
        scores, boxes = method.detect(image, proposals)
        features = method.features(image, proposals)
        move = torch.stack([one(features) for one in method.regressors]).mean(dim=0)[5].view(3, 4)
        order = torch.randperm(40)
        permuted = method.detect(image, proposals[order])
    assert boxes.shape == (40, 3, 4)
    box = proposals[5]
    centre, side = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    centre, side = centre + side * move[:, :2] / 10, side * (move[:, 2:] / 5).exp()
    expected = torch.cat([centre - side / 2, centre + side / 2], dim=1).clamp(0, 48)
    torch.testing.assert_close(boxes[5], expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(permuted, (scores[order], boxes[order]), rtol=1e-3, atol=1e-3)
    assert method.detect(image, proposals)[1] is not None
    assert made(Mist, regression=False).float().detect(image, proposals)[1] is None


def test_without_a_present_class_no_box_is_learned() -> None:
    method, (features, boxes) = made(Mist), regions()
    terms = method.terms(features, boxes, -torch.ones(3))
    assert (terms["refinement"].item(), terms["boxes"].item()) == (0, 0)


def drop_block(**settings: Any) -> ConcreteDropBlock:
    torch.manual_seed(0)
    return ConcreteDropBlock(4, **settings).double()


def test_blocks_around_the_drawn_cells_are_dropped_and_the_rest_is_scaled_up() -> None:
    layer, regions = drop_block(rate=0.9), torch.rand(6, 4, 7, 7, dtype=torch.float64) + 0.1
    torch.manual_seed(1)
    centres = layer.draw(regions)
    torch.manual_seed(1)
    found = layer(regions)
    kept = torch.ones(6, 7, 7, dtype=torch.float64)
    for region, row, column in (centres[:, 0] > 0.5).nonzero().tolist():
        kept[region, max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = 0
    assert 0 < kept.mean() < 1
    torch.testing.assert_close(found, regions * kept[:, None] * kept.numel() / kept.sum())
    assert layer.eval()(regions) is regions


def test_a_cell_is_drawn_as_often_as_the_net_says() -> None:
    layer, regions = drop_block(rate=0.8, block=1).eval(), torch.rand(400, 4, 7, 7, dtype=torch.float64)
    with torch.no_grad():
        p = (layer.residual(regions) + layer.shortcut(regions)).sigmoid() * 0.8
        assert layer.draw(regions).mean().item() == pytest.approx(p.mean().item(), abs=0.02)


def test_the_net_that_hides_learns_to_raise_the_loss() -> None:
    gradients = {}
    for adversary in (0.01, -1.0):
        layer, regions = drop_block(rate=0.9, temperature=1.0, adversary=adversary), torch.rand(6, 4, 7, 7).double()
        torch.manual_seed(1)
        layer(regions).square().sum().backward()
        gradients[adversary] = layer.shortcut.weight.grad
    torch.testing.assert_close(gradients[0.01], -0.01 * gradients[-1.0])
    assert gradients[-1.0].abs().sum() > 0


def test_parts_of_regions_are_hidden_in_training_alone() -> None:
    method, image, proposals = made(Mist, drop_block=True).float(), torch.rand(1, 3, 48, 48), regions()[1].float()
    plain = made(Mist).float().eval()
    with torch.no_grad():
        assert not method.train().features(image, proposals).equal(method.eval().features(image, proposals))
        assert method.features(image, proposals).shape == plain.features(image, proposals).shape
    method.train()
    torch.stack(list(method.loss(image, proposals, LABELS).values())).sum().backward()
    assert all(each.grad is not None for each in method.drop.parameters())
    assert not method.backbone.roi_head._forward_pre_hooks


def test_what_is_frozen_cannot_learn_from_hidden_parts() -> None:
    with pytest.raises(ValidationError, match="freeze_backbone=false"):
        Mist.Config(drop_block=True, freeze_backbone=True)
