"""Layers of the map methods against the same equations done naively, on the same processor, with one thread.

With --benchmark-enable the layers' own times are shown as well.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from timing import seconds
from torch import Tensor
from torch.nn.functional import cosine_similarity

from methods.layers.divergence import pairwise_cosine
from methods.layers.pooling import negative_evidence
from methods.layers.soft_proposal import dissimilarity, stable_state, walk

BATCH = 16


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def naive_proposal(one: Tensor, epsilon: float) -> Tensor:
    """M (N,) of an image's features (K, h, w): distances position by position, then 20 steps of the walk."""
    flat, (height, width) = one.flatten(1).T.contiguous(), one.shape[1:]
    places = torch.cartesian_prod(torch.arange(height), torch.arange(width)).float()
    apart = torch.stack([(flat - row).norm(dim=1) for row in flat])
    apart *= torch.stack([(-(places - place).square().sum(dim=1) / (2 * epsilon**2)).exp() for place in places])
    transfer, state = apart / apart.sum(dim=0), torch.full((len(flat),), 1 / len(flat))
    for _ in range(20):
        state = transfer @ state
    return state


@pytest.mark.parametrize(("side", "channels"), [(14, 512), (28, 1024)])
def test_soft_proposals_take_a_tenth_of_naive_ones_and_less_than_a_walk_on_the_same_distances(
    side: int, channels: int, benchmark: BenchmarkFixture
) -> None:
    features = torch.rand(BATCH, channels, side, side, generator=torch.Generator().manual_seed(0))
    epsilon = 0.15 * side
    closed = seconds(lambda: stable_state(dissimilarity(features, epsilon)), 3)
    walked = seconds(lambda: walk(dissimilarity(features, epsilon), tolerance=0), 3)
    found: list[Tensor] = []
    naive = BATCH * seconds(lambda: found.append(naive_proposal(features[0], epsilon)), 1)
    same = walk(dissimilarity(features[:1], epsilon), tolerance=0)[0]
    torch.testing.assert_close(same, found[0], rtol=1e-3, atol=0)
    assert naive > 10 * closed
    assert walked > 1.2 * closed
    benchmark(lambda: stable_state(dissimilarity(features, epsilon)))


@pytest.mark.parametrize(("side", "k"), [(14, 30), (24, 100)])
def test_selecting_regions_takes_less_than_sorting_them(side: int, k: int, benchmark: BenchmarkFixture) -> None:
    maps = torch.randn(BATCH, 80, side, side, generator=torch.Generator().manual_seed(0))

    def sorting() -> Tensor:
        values = maps.flatten(2).sort(dim=2).values
        return (values[:, :, -k:].mean(dim=2) + values[:, :, :k].mean(dim=2)) / 2

    torch.testing.assert_close(benchmark(negative_evidence, maps, k, k), sorting())
    assert seconds(sorting, 10) > 1.2 * seconds(lambda: negative_evidence(maps, k, k), 10)


def test_the_divergence_takes_half_of_a_double_loop_over_pairs(benchmark: BenchmarkFixture) -> None:
    maps = torch.randn(BATCH, 20, 8, 28, 28, generator=torch.Generator().manual_seed(0))

    def loop() -> Tensor:
        flat = maps.flatten(3)
        pairs = [(k, other) for k in range(8) for other in range(k + 1, 8)]
        return torch.stack([cosine_similarity(flat[:, :, k], flat[:, :, other], dim=2) for k, other in pairs]).sum(0)

    torch.testing.assert_close(benchmark(pairwise_cosine, maps), loop(), rtol=1e-3, atol=1e-4)
    assert seconds(loop, 5) > 2 * seconds(lambda: pairwise_cosine(maps), 5)
