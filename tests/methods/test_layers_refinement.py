"""Seeds, labels, weights and losses of OICR and PCL against the algorithm, one proposal after the other; gradcheck."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.core.boxes import iou
from methods.layers.pseudo import Seeds, select_distinct_best
from methods.layers.refinement import Targets, assign_targets, cluster_loss, refinement_loss

CLASSES = 3


def random_boxes(count: int, seed: int, side: int = 12) -> Tensor:
    corners = np.random.default_rng(seed).integers(0, side, (count, 2, 2))
    return torch.from_numpy(np.concatenate([corners.min(1), corners.max(1) + 4], axis=1).astype(np.float64))


def random_scores(count: int, seed: int) -> Tensor:
    return torch.rand(count, CLASSES, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_seeds(scores: Tensor, present: list[int]) -> list[int]:
    """The best proposal of each class; the row of a seed counts as 0 for the classes after it."""
    rows, found = scores.tolist(), []
    for label in present:
        found.append(max(range(len(rows)), key=lambda r: rows[r][label]))
        rows[found[-1]] = [0.0] * CLASSES
    return found


def slow_targets(
    boxes: Tensor, seeds: list[int], present: list[int], worth: list[float], ignored: float
) -> list[tuple[int, int, float]]:
    """Seed, label and weight of each proposal, 3 being background."""
    found = []
    for row in range(len(boxes)):
        best, mine = -1.0, 0
        for number, seed in enumerate(seeds):
            overlap = float(iou(boxes[[row]].numpy(), boxes[[seed]].numpy())[0, 0])
            if overlap > best:
                best, mine = overlap, number
        found.append((mine, present[mine] if best >= 0.5 else CLASSES, worth[mine] if best >= ignored else 0.0))
    return found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("present", [[0], [0, 2], [2, 0, 1]])
@pytest.mark.parametrize("ignored", [0.0, 0.2])
def test_seeds_labels_and_weights_are_those_of_the_algorithm(seed: int, present: list[int], ignored: float) -> None:
    boxes, scores = random_boxes(40, seed), random_scores(40, seed)
    seeds = select_distinct_best(scores, torch.tensor(present))
    expected = slow_seeds(scores, present)
    assert (seeds.proposal.tolist(), seeds.label.tolist()) == (expected, present)
    worth = scores[seeds.proposal, seeds.label]
    found = assign_targets(boxes, seeds, worth, background=CLASSES, ignored=ignored)
    assert list(zip(*(each.tolist() for each in found), strict=True)) == slow_targets(
        boxes, expected, present, worth.tolist(), ignored
    )
    assert CLASSES in found.label
    assert found.label.unique().tolist() != [CLASSES]


def test_a_proposal_that_is_best_for_two_classes_seeds_the_first_alone() -> None:
    scores = torch.tensor([[0.1, 0.2], [0.9, 0.8], [0.3, 0.1]])
    assert select_distinct_best(scores, torch.tensor([0, 1])).proposal.tolist() == [1, 0]
    assert select_distinct_best(scores, torch.tensor([1, 0])).proposal.tolist() == [1, 2]


def test_with_fewer_proposals_than_classes_seeds_are_still_proposals() -> None:
    seeds = select_distinct_best(torch.tensor([[0.5, 0.5]]), torch.tensor([0, 1]))
    assert seeds.proposal.tolist() == [0, 0]
    assert assign_targets(torch.tensor([[0.0, 0, 4, 4]]), seeds, torch.ones(2), background=2).label.tolist() == [0]


def test_an_overlap_of_exactly_half_is_foreground_and_half_weight_is_the_seeds() -> None:
    boxes = torch.tensor([[0.0, 0, 4, 4], [0.0, 0, 4, 2], [0.0, 0, 4, 1.9], [20.0, 20, 24, 24]])
    found = assign_targets(boxes, Seeds(torch.tensor([0]), torch.tensor([1])), torch.tensor([0.25]), background=2)
    assert found.label.tolist() == [1, 1, 2, 2]
    assert found.weight.tolist() == [0.25] * 4


def test_refinement_loss_divides_by_the_proposals_that_weigh_not_by_their_weight() -> None:
    p = [[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.1, 0.8, 0.1], [0.5, 0.25, 0.25]]
    learned = Targets(torch.zeros(4).long(), torch.tensor([0, 2, 1, 0]), torch.tensor([0.5, 0.25, 0.5, 1e-13]))
    expected = -(0.5 * math.log(0.7) + 0.25 * math.log(0.4) + 0.5 * math.log(0.8)) / 3
    assert refinement_loss(torch.tensor(p).log(), learned).item() == pytest.approx(expected)


def test_without_any_weight_there_is_no_loss() -> None:
    learned = Targets(torch.zeros(2).long(), torch.tensor([0, 1]), torch.zeros(2))
    assert refinement_loss(torch.zeros(2, 2), learned).item() == 0


def slow_cluster_loss(p: list[list[float]], learned: Targets, labels: list[int]) -> float:
    """PCL: -M w log(mean p) of each cluster, -w log p of each background proposal."""
    total = 0.0
    rows = list(zip(*(each.tolist() for each in learned), strict=True))
    for number, label in enumerate(labels):
        members = [r for r, (seed, mine, _) in enumerate(rows) if seed == number and mine != CLASSES]
        if members:
            mean = sum(p[r][label] for r in members) / len(members)
            total -= sum(rows[r][2] for r in members) * math.log(mean)
    return total - sum(w * math.log(p[r][CLASSES]) for r, (_, label, w) in enumerate(rows) if label == CLASSES)


@pytest.mark.parametrize("seed", range(4))
def test_cluster_loss_takes_the_mean_within_a_cluster_before_the_logarithm(seed: int) -> None:
    boxes, scores = random_boxes(30, seed), random_scores(30, seed)
    seeds = Seeds(torch.tensor([3, 3, 17, 8]), torch.tensor([0, 1, 1, 2]))  # the second's proposals are the first's
    learned = assign_targets(boxes, seeds, scores[seeds.proposal, seeds.label], background=CLASSES, ignored=0.1)
    p = torch.randn(30, CLASSES + 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).softmax(1)
    expected = slow_cluster_loss(p.tolist(), learned, seeds.label.tolist())
    assert cluster_loss(p.log(), learned, seeds, background=CLASSES).item() == pytest.approx(expected)


def test_gradients_of_both_losses_are_right() -> None:
    boxes, scores = random_boxes(12, 0), random_scores(12, 0)
    seeds = Seeds(torch.tensor([3, 3, 7]), torch.tensor([0, 1, 2]))
    learned = assign_targets(boxes, seeds, scores[seeds.proposal, seeds.label], background=CLASSES, ignored=0.1)
    logits = torch.randn(12, CLASSES + 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: refinement_loss(x.log_softmax(1), learned), logits)
    assert torch.autograd.gradcheck(
        lambda x: cluster_loss(x.log_softmax(1), learned, seeds, background=CLASSES), logits
    )
