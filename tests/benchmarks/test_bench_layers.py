"""Layers of the map methods against the same equations done naively, on the same processor, with one thread.

With --benchmark-enable the layers' own times are shown as well.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from timing import times_faster
from torch import Tensor
from torch.nn.functional import cosine_similarity

from methods.layers.divergence import pairwise_cosine
from methods.layers.pooling import pool_negative_evidence
from methods.layers.soft_proposal import dissimilarity, stable_state, walk

pytestmark = pytest.mark.slow

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
def test_soft_proposals_are_faster_than_naive_ones_and_than_a_walk_on_the_same_distances(
    side: int, channels: int, full: bool, benchmark: BenchmarkFixture
) -> None:
    features = torch.rand(BATCH, channels, side, side, generator=torch.Generator().manual_seed(0))
    epsilon = 0.15 * side
    distances = dissimilarity(features, epsilon)
    naive = naive_proposal(features[0], epsilon)
    torch.testing.assert_close(walk(distances[:1], tolerance=0)[0], naive, rtol=1e-3, atol=0)

    def closed() -> Tensor:
        return stable_state(dissimilarity(features, epsilon))

    benchmark(closed)
    assert BATCH * times_faster(closed, lambda: naive_proposal(features[0], epsilon)) > (10 if full else 4)
    assert times_faster(lambda: stable_state(distances), lambda: walk(distances, tolerance=0)) > 10
    if full:  # most of which is the distances
        assert times_faster(closed, lambda: walk(dissimilarity(features, epsilon), tolerance=0)) > 1.2


@pytest.mark.parametrize(("side", "k"), [(14, 30), (24, 100)])
def test_selecting_regions_takes_less_than_sorting_them(side: int, k: int, benchmark: BenchmarkFixture) -> None:
    maps = torch.randn(BATCH, 80, side, side, generator=torch.Generator().manual_seed(0))

    def sorting() -> Tensor:
        values = maps.flatten(2).sort(dim=2).values
        return (values[:, :, -k:].mean(dim=2) + values[:, :, :k].mean(dim=2)) / 2

    torch.testing.assert_close(benchmark(pool_negative_evidence, maps, k, k), sorting())
    assert times_faster(lambda: pool_negative_evidence(maps, k, k), sorting) > 1


def test_the_divergence_takes_less_than_a_double_loop_over_pairs(full: bool, benchmark: BenchmarkFixture) -> None:
    maps = torch.randn(BATCH if full else 1, 20, 8, 28, 28, generator=torch.Generator().manual_seed(0))

    def loop() -> Tensor:
        flat = maps.flatten(3)
        pairs = [(k, other) for k in range(8) for other in range(k + 1, 8)]
        return torch.stack([cosine_similarity(flat[:, :, k], flat[:, :, other], dim=2) for k, other in pairs]).sum(0)

    torch.testing.assert_close(benchmark(pairwise_cosine, maps), loop(), rtol=1e-3, atol=1e-4)
    assert times_faster(lambda: pairwise_cosine(maps), loop) > (1 if full else 2)
