"""Clique partitions against MELM, Sec. 3.2.1, and its released code, done one proposal after the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.core.boxes import iou as slow_iou
from methods.layers.boxes import canonical_order, iou, select_best
from methods.layers.cliques import connected_components, partition, partition_complete_linkage


def random_boxes(count: int, seed: int, side: int = 100) -> Tensor:
    corners = np.random.default_rng(seed).integers(0, side, (count, 2, 2))
    return torch.from_numpy(np.concatenate([corners.min(1), corners.max(1) + 5], axis=1).astype(np.float64))


def slow_cliques(boxes: Tensor, scores: Tensor, tau: float, top: int) -> set[frozenset[int]]:
    rows = [tuple(row) for row in boxes.tolist()]
    left = sorted(range(len(rows)), key=lambda i: (-float(scores[i]), rows[i]))[:top]
    overlap = slow_iou(boxes.numpy(), boxes.numpy())
    cliques = set()
    while left:
        clique = [left.pop(0)]
        grown = True
        while grown:
            joining = [i for i in left if any(overlap[i, j] > tau for j in clique)]
            clique += joining
            left = [i for i in left if i not in joining]
            grown = bool(joining)
        cliques.add(frozenset(clique))
    return cliques


def as_sets(boxes: Tensor, scores: Tensor, tau: float, top: int) -> set[frozenset[int]]:
    members, clique = partition(boxes, scores, tau=tau, top=top)
    return {frozenset(members[clique == name].tolist()) for name in clique.unique()}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("tau", "top"), [(0.1, 200), (0.3, 60), (0.7, 30), (1.0, 200)])
def test_cliques_are_those_of_the_two_steps(seed: int, tau: float, top: int) -> None:
    boxes = random_boxes(80, seed, side=30)
    scores = torch.from_numpy(np.random.default_rng(seed + 100).integers(0, 20, 80) / 4)
    assert as_sets(boxes, scores, tau, top) == slow_cliques(boxes, scores, tau, top)


@given(seed=st.integers(0, 10_000), count=st.integers(1, 60))
@settings(max_examples=30, deadline=None)
def test_cliques_do_not_depend_on_the_order_of_the_proposals(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    boxes, scores = random_boxes(count, seed, side=25), torch.from_numpy(random.integers(0, 4, count) / 2)
    order = torch.from_numpy(random.permutation(count))

    def boxes_of(cliques: set[frozenset[int]], rows: Tensor) -> list[list[list[float]]]:
        return sorted(sorted(rows[i].tolist() for i in clique) for clique in cliques)

    here = boxes_of(as_sets(boxes, scores, 0.5, 20), boxes)
    assert here == boxes_of(as_sets(boxes[order], scores[order], 0.5, 20), boxes[order])


def test_a_chain_of_overlaps_is_one_clique_although_its_ends_are_apart() -> None:
    boxes = torch.tensor([[i * 1.0, 0, i + 10.0, 10] for i in range(30)])
    members, clique = partition(boxes, torch.arange(30.0), tau=0.7)
    assert members[0] == 29
    assert clique.unique().tolist() == [0]


def test_an_overlap_of_exactly_tau_does_not_merge() -> None:
    boxes = torch.tensor([[0.0, 0, 4, 4], [0.0, 0, 4, 2]], dtype=torch.float64)
    assert partition(boxes, torch.ones(2), tau=0.5).clique.tolist() == [0, 1]
    assert partition(boxes, torch.ones(2), tau=0.49).clique.tolist() == [0, 0]


def test_equal_scores_at_the_last_rank_go_by_coordinates() -> None:
    boxes = torch.tensor([[5.0, 0, 9, 9], [1.0, 0, 9, 9], [3.0, 0, 9, 9]])
    assert partition(boxes, torch.ones(3), top=2).members.tolist() == [1, 2]


def test_duplicates_share_a_clique_and_a_lone_proposal_is_one() -> None:
    assert partition(torch.tensor([[0.0, 0, 4, 4]] * 3), torch.zeros(3)).clique.tolist() == [0, 0, 0]
    assert partition(torch.tensor([[0.0, 0, 4, 4]]), torch.zeros(1)).clique.tolist() == [0]
    assert partition(torch.zeros(0, 4), torch.zeros(0)).clique.tolist() == []


def test_rows_of_scores_are_partitioned_each_for_itself() -> None:
    boxes = random_boxes(50, 0)
    scores = torch.rand(4, 50, generator=torch.Generator().manual_seed(0))
    together = partition(boxes, scores, tau=0.3, top=20)
    for row in range(4):
        alone = partition(boxes, scores[row], tau=0.3, top=20)
        assert together.members[row].equal(alone.members)
        assert together.clique[row].equal(alone.clique)


def test_components_of_a_shuffled_path_are_one() -> None:
    n = 200
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    linked = torch.zeros(n, n, dtype=torch.bool)
    linked[order[:-1], order[1:]] = linked[order[1:], order[:-1]] = True
    assert connected_components(linked).eq(0).all()


def test_iou_is_that_of_the_harness_and_0_for_empty_boxes() -> None:
    boxes = torch.cat([random_boxes(40, 3), torch.tensor([[5.0, 5, 5, 5], [9.0, 9, 2, 2]], dtype=torch.float64)])
    torch.testing.assert_close(iou(boxes, boxes), torch.from_numpy(slow_iou(boxes.numpy(), boxes.numpy())))


def test_the_canonical_order_is_that_of_sorted_rows() -> None:
    boxes = random_boxes(60, 1, side=4)
    rows = boxes.tolist()
    assert [rows[i] for i in canonical_order(boxes)] == sorted(rows)


@pytest.mark.parametrize("top", [0, 1, 7, 59, 60, 99])
def test_the_best_are_the_first_of_all_sorted_by_score_then_row(top: int) -> None:
    boxes = random_boxes(60, 1, side=4)
    rows, scores = boxes.tolist(), torch.from_numpy(np.random.default_rng(1).integers(0, 9, (3, 60))).float()
    scores[1] = 2  # all equal
    for found, score in zip(select_best(boxes, scores, top).tolist(), scores, strict=True):
        expected = sorted(range(60), key=lambda i: (-float(score[i]), rows[i]))[:top]
        assert [rows[i] for i in found] == [rows[i] for i in expected]


def slow_linkage(boxes: Tensor, scores: Tensor, tau: float, top: int, window: int) -> dict[int, int]:
    """The released partition: for each of the best proposals the one that started its clique."""
    rows = [tuple(row) for row in boxes.tolist()]
    members = sorted(sorted(range(len(rows)), key=lambda i: (-float(scores[i]), rows[i]))[:top])
    overlap = slow_iou(boxes.numpy(), boxes.numpy())
    clique_of = dict[int, int]()
    for place, first in enumerate(members):
        if first in clique_of:
            continue
        clique = [first]
        for other in members[place + 1 : place + window]:
            if all(overlap[other, member] >= tau for member in clique):
                clique.append(other)
        clique_of |= dict.fromkeys(clique, first)
    return clique_of


@given(seed=st.integers(0, 10_000), count=st.integers(0, 60), top=st.integers(1, 70), window=st.integers(1, 70))
@settings(max_examples=60, deadline=None)
def test_released_cliques_are_those_of_its_loops(seed: int, count: int, top: int, window: int) -> None:
    boxes, scores = random_boxes(count, seed, side=12), torch.from_numpy(np.random.default_rng(seed).random(count))
    members, clique = partition_complete_linkage(boxes, scores, tau=0.4, top=top, window=window)
    expected = slow_linkage(boxes, scores, 0.4, top, window)
    assert dict(zip(members.tolist(), members[clique].tolist(), strict=True)) == expected


def test_in_released_cliques_a_chain_of_overlaps_breaks_and_later_ones_take_from_earlier_ones() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [1.0, 0, 11, 10], [2.0, 0, 12, 10], [1.5, 0, 11.5, 10]])
    found = partition_complete_linkage(boxes, torch.ones(4), tau=0.72)
    assert found.clique.tolist() == [0, 0, 2, 2]  # the last overlaps the first two by enough as well
    assert partition_complete_linkage(boxes, torch.ones(4), tau=0.72, window=1).clique.tolist() == [0, 1, 2, 3]


def test_in_released_cliques_an_overlap_of_exactly_tau_merges() -> None:
    boxes = torch.tensor([[0.0, 0, 4, 4], [0.0, 0, 4, 2]], dtype=torch.float64)
    assert partition_complete_linkage(boxes, torch.ones(2), tau=0.5).clique.tolist() == [0, 0]
