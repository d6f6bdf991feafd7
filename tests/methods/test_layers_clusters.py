"""PCL's k-means against every partition, and its centres against the greedy search done one box after the other."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.core.boxes import iou
from methods.layers import clusters
from methods.layers.clusters import cluster_seeds, find_centres, highest_cluster


def squared_error(values: list[int]) -> float:
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values)


def slow_errors(values: list[int], clusters: int) -> dict[int, float]:
    """The least error of a partition of the sorted values, by the smallest value of its highest part."""
    distinct, found = sorted(set(values)), dict[int, float]()
    for cuts in combinations(range(1, len(distinct)), min(clusters, len(distinct)) - 1):
        edges = [0, *cuts, len(distinct)]
        runs = [distinct[a:b] for a, b in pairwise(edges)]
        error = sum(squared_error([v for v in values if v in run]) for run in runs)
        start = runs[-1][0]
        found[start] = min(error, found.get(start, float("inf")))
    return found


@given(st.lists(st.integers(0, 40), min_size=1, max_size=9), st.integers(1, 4))
@settings(max_examples=200, deadline=None)
def test_the_highest_cluster_is_that_of_the_best_of_all_partitions(values: list[int], clusters: int) -> None:
    errors = slow_errors(values, clusters)
    chosen = highest_cluster(torch.tensor(values).double() / 64, clusters)
    start = min(value for value, inside in zip(values, chosen.tolist(), strict=True) if inside)
    assert chosen.tolist() == [value >= start for value in values]
    assert errors[start] == pytest.approx(min(errors.values()))


def test_clusters_are_the_same_however_many_ends_are_looked_at_together(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = torch.rand(90, generator=torch.Generator().manual_seed(0)) ** 4
    whole = highest_cluster(scores, 5)
    monkeypatch.setattr(clusters, "BLOCK", 7)
    assert highest_cluster(scores, 5).equal(whole)
    assert 0 < whole.sum() < 45


def test_scores_however_small_are_told_apart() -> None:
    scores = torch.tensor([1e-12, 1.1e-12, 5e-12, 5.1e-12, 9e-12, 9.1e-12])
    assert highest_cluster(scores).tolist() == [False] * 4 + [True] * 2


def test_equal_scores_are_one_cluster() -> None:
    assert highest_cluster(torch.full((7,), 0.05)).all()


def random_boxes(count: int, seed: int, side: int = 14) -> Tensor:
    corners = np.random.default_rng(seed).integers(0, side, (count, 2, 2))
    return torch.from_numpy(np.concatenate([corners.min(1), corners.max(1) + 4], axis=1).astype(np.float64))


def slow_centres(boxes: Tensor, scores: list[float], overlap: float, most: int, spare: int) -> list[tuple[int, float]]:
    """Greedy: whoever has most links to those left, of equals the best, is a centre and takes them along."""
    table = iou(boxes.numpy(), boxes.numpy())
    left, found = set(range(len(scores))), list[tuple[int, float]]()
    while not found or len(left) > spare:
        links = {i: [j for j in left if j == i or table[i, j] > overlap] for i in left}
        centre = min(left, key=lambda i: (-len(links[i]), -scores[i], i))
        found.append((centre, max(scores[j] for j in links[centre])))
        left -= set(links[centre])
    return sorted(found, key=lambda one: -one[1])[:most]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("overlap", "most", "spare"), [(0.4, 5, 0), (0.2, 2, 0), (0.6, 9, 5), (0.4, 5, 100)])
def test_centres_are_those_of_the_greedy_search(seed: int, overlap: float, most: int, spare: int) -> None:
    boxes = random_boxes(40, seed)
    scores = torch.from_numpy(np.random.default_rng(seed).permutation(40) / 40)
    chosen, worth = find_centres(boxes, scores, overlap=overlap, most=most, spare=spare)
    expected = slow_centres(boxes, scores.tolist(), overlap, most, spare)
    assert list(zip(chosen.tolist(), worth.tolist(), strict=True)) == expected


def test_of_equally_connected_boxes_the_best_is_the_centre_then_the_first() -> None:
    boxes = torch.tensor([[0.0, 0, 9, 9]] * 3 + [[50.0, 50, 60, 60]])
    found, worth = find_centres(boxes, torch.tensor([0.2, 0.3, 0.3, 0.9]), overlap=0.4, most=5, spare=0)
    assert found.tolist() == [3, 1]
    assert worth.tolist() == pytest.approx([0.9, 0.3])


def test_boxes_without_any_area_end_the_search_too() -> None:
    boxes = torch.tensor([[5.0, 5, 5, 9]] * 4)
    found, _ = find_centres(boxes, torch.ones(4), overlap=0.4, most=9, spare=0)
    assert sorted(found.tolist()) == [0, 1, 2, 3]


SETTINGS = {"clusters": 3, "overlap": 0.4, "most": 5, "spare": 0}


@pytest.mark.parametrize("seed", range(4))
def test_centres_of_a_class_are_no_candidates_of_the_next(seed: int) -> None:
    boxes = random_boxes(60, seed)
    scores = torch.from_numpy(np.random.default_rng(seed).random((60, 1))).expand(60, 3)  # all classes agree
    seeds, worth = cluster_seeds(boxes, scores, torch.tensor([2, 0]), **SETTINGS)
    assert len(seeds.proposal.unique()) == len(seeds.proposal) == len(worth)
    first = seeds.label == 2
    pool = highest_cluster(scores[:, 0]).nonzero()[:, 0]
    alone, _ = find_centres(boxes[pool], scores[pool, 0], overlap=0.4, most=5, spare=0)
    assert seeds.proposal[first].tolist() == pool[alone].tolist()
    free = torch.ones(60, dtype=torch.bool)
    free[pool[alone]] = False
    rest = free.nonzero()[:, 0]
    pool = rest[highest_cluster(scores[rest, 0])]
    alone, _ = find_centres(boxes[pool], scores[pool, 0], overlap=0.4, most=5, spare=0)
    assert seeds.proposal[~first].tolist() == pool[alone].tolist()


def test_a_class_that_finds_no_proposal_left_has_no_centre() -> None:
    seeds, worth = cluster_seeds(torch.tensor([[0.0, 0, 9, 9]]), torch.ones(1, 2), torch.tensor([0, 1]), **SETTINGS)
    assert (seeds.proposal.tolist(), seeds.label.tolist(), worth.tolist()) == ([0], [0], [1])
