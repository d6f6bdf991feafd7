"""The ranking loss against all rankings of up to seven images, and Proposition 1 against all choices of regions."""

from __future__ import annotations

from itertools import combinations, permutations

import pytest
import torch
from torch import Tensor

from methods.layers.ap_ranking import ap_ranking_loss
from methods.layers.pooling import pool_negative_evidence


def average_precision(ranking: tuple[int, ...], positive: set[int]) -> float:
    precisions = [
        sum(other in positive for other in ranking[: place + 1]) / (place + 1)
        for place, one in enumerate(ranking)
        if one in positive
    ]
    return sum(precisions) / len(precisions)


def structured_score(ranking: tuple[int, ...], scores: list[float], positive: set[int]) -> float:
    """s(y) of Eq. 12: over pairs of a positive and a negative, their difference, negated where y inverts them."""
    place = {one: where for where, one in enumerate(ranking)}
    negative = set(place) - positive
    return sum((1 if place[p] < place[n] else -1) * (scores[p] - scores[n]) for p in positive for n in negative)


def slow_loss(scores: list[float], positive: set[int], weight: float) -> float:
    """Eq. 14 by trying every ranking."""
    images = range(len(scores))
    right = (*sorted(positive), *sorted(set(images) - positive))
    worst = max(
        1 - average_precision(y, positive) + weight * structured_score(y, scores, positive)
        for y in permutations(images)
    )
    return worst - weight * structured_score(right, scores, positive)


def batch(images: int, positives: int, seed: int, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scores = scale * torch.randn(images, 1, generator=generator, dtype=torch.float64)
    labels = -torch.ones(images, 1)
    labels[torch.randperm(images, generator=generator)[:positives]] = 1
    return scores, labels


CASES = [(images, positives) for images in range(2, 7) for positives in range(1, images)]


@pytest.mark.parametrize(("images", "positives"), [*CASES, (7, 3)])
@pytest.mark.parametrize("scale", [0.05, 1.0])
def test_the_loss_is_the_worst_of_all_rankings(images: int, positives: int, scale: float) -> None:
    scores, labels = batch(images, positives, seed=images * 10 + positives, scale=scale)
    positive = {row for row in range(images) if labels[row] > 0}
    flat = scores[:, 0].tolist()
    for pairs, weight in (("sum", 1.0), ("mean", 1 / (positives * (images - positives)))):
        loss = ap_ranking_loss(scores, labels, pairs=pairs)  # type: ignore[arg-type]
        assert loss.item() == pytest.approx(slow_loss(flat, positive, weight), abs=1e-9)


def test_it_bounds_what_the_ranking_by_scores_loses() -> None:
    for seed in range(20):
        scores, labels = batch(7, 3, seed)
        order = tuple(scores[:, 0].argsort(descending=True).tolist())
        positive = {row for row in range(7) if labels[row] > 0}
        assert ap_ranking_loss(scores, labels).item() >= 1 - average_precision(order, positive) - 1e-9


def test_equal_scores_lose_what_the_worst_ranking_loses() -> None:
    labels = torch.tensor([[1.0], [-1], [-1], [1]])
    assert ap_ranking_loss(torch.zeros(4, 1), labels).item() == pytest.approx(1 - (1 / 3 + 2 / 4) / 2)


def test_a_right_ranking_by_a_margin_loses_nothing() -> None:
    scores, labels = torch.tensor([[9.0], [-9], [8]]), torch.tensor([[1.0], [-1], [1]])
    assert ap_ranking_loss(scores, labels).item() == 0


def test_unknown_labels_and_classes_of_one_kind_are_left_out() -> None:
    scores, labels = batch(6, 2, seed=3)
    more = torch.cat([scores, torch.randn(1, 1, dtype=torch.float64)]), torch.cat([labels, torch.zeros(1, 1)])
    alone = ap_ranking_loss(scores, labels)
    assert ap_ranking_loss(*more).item() == alone.item()
    wider = scores.expand(-1, 3), torch.cat([labels, torch.ones(6, 1), -torch.ones(6, 1)], dim=1)
    assert ap_ranking_loss(*wider).item() == pytest.approx(alone.item())


def test_without_any_pair_the_loss_is_0_with_a_gradient() -> None:
    scores = torch.randn(1, 3, requires_grad=True)
    loss = ap_ranking_loss(scores, torch.tensor([[1.0, -1, 0]]))
    loss.backward()
    assert loss.item() == 0
    assert scores.grad is not None


@pytest.mark.parametrize("pairs", ["sum", "mean"])
def test_gradients_are_right(pairs: str) -> None:
    scores, labels = batch(7, 3, seed=1, scale=0.1)
    given = torch.cat([scores, scores.flip(0)], dim=1).requires_grad_()
    twice = torch.cat([labels, labels], dim=1)
    assert torch.autograd.gradcheck(lambda one: ap_ranking_loss(one, twice, pairs=pairs), (given,))  # type: ignore[arg-type]


def latent_score(signs: dict[tuple[int, int], int], regions: Tensor, k_plus: int, k_minus: int) -> float:
    """s_w(x, y) with regions chosen for every pair: the maximum of Eq. 12 over them plus its minimum, halved."""
    total = 0.0
    for (p, n), sign in signs.items():
        differences = {
            k: [
                sign * (regions[p, list(a)].mean() - regions[n, list(b)].mean()).item()
                for a in combinations(range(regions.shape[1]), k)
                for b in combinations(range(regions.shape[1]), k)
            ]
            for k in {k_plus, k_minus} - {0}
        }
        highest = max(differences[k_plus])
        total += (highest + min(differences[k_minus])) / 2 if k_minus else highest
    return total


def gaps(k_plus: int, k_minus: int) -> list[float]:
    """For every ranking of two positives and two negatives: what choosing regions adds to their pooled scores."""
    regions = torch.randn(4, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    pooled = pool_negative_evidence(regions[:, None, None], k_plus, k_minus)[:, 0].tolist()
    found = []
    for ranking in permutations(range(4)):
        place = {one: where for where, one in enumerate(ranking)}
        signs = {(p, n): 1 if place[p] < place[n] else -1 for p in (0, 1) for n in (2, 3)}
        found.append(latent_score(signs, regions, k_plus, k_minus) - structured_score(ranking, pooled, {0, 1}))
    return found


@pytest.mark.parametrize("k", [1, 2, 3])
def test_regions_decouple_from_the_ranking_where_as_many_are_highest_as_lowest(k: int) -> None:
    assert gaps(k, k) == pytest.approx([0.0] * 24, abs=1e-12)


@pytest.mark.parametrize(("k_plus", "k_minus"), [(1, 0), (2, 1), (1, 3)])
def test_otherwise_they_do_not(k_plus: int, k_minus: int) -> None:
    assert max(map(abs, gaps(k_plus, k_minus))) > 0.1
