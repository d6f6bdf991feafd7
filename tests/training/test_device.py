"""Devices by name, and randomness that depends on nothing but where the run is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.errors import RequestError
from bench.training.device import (
    INITIAL,
    PLAN,
    STEP,
    entropy,
    pick_device,
    place,
    resolve_precision,
    seed_torch,
    use_deterministic_algorithms,
)


def test_auto_is_a_device_that_works() -> None:
    assert torch.ones(2, device=pick_device("auto")).sum() == 2
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cpu:x", "cuda:99", ""])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(RequestError, match="not usable here"):
        pick_device(name)


def test_randomness_is_of_purpose_seed_epoch_and_step() -> None:
    def drawn(*key: int) -> float:
        seed_torch(*key)
        return torch.rand(()).item()

    keys = [
        (purpose, seed, epoch, step)
        for purpose in (INITIAL, PLAN, STEP)
        for seed in (0, 1)
        for epoch in (0, 1)
        for step in (0, 1)
    ]
    assert len({drawn(*key) for key in keys}) == len(keys)
    assert drawn(STEP, 3, 4, 5) == drawn(STEP, 3, 4, 5)
    assert entropy(PLAN, 1, 2).entropy == (PLAN, 1, 2, 0)


def test_only_repeatable_algorithms_run_in_the_block_and_the_switch_is_put_back() -> None:
    with use_deterministic_algorithms(torch.device("cpu")):
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    with use_deterministic_algorithms(torch.device("cuda")):
        assert not torch.are_deterministic_algorithms_enabled()


def test_a_precision_that_was_asked_for_stays() -> None:
    cpu = torch.device("cpu")
    assert resolve_precision("float32", cpu) == "float32"
    assert resolve_precision("bfloat16", cpu) == "bfloat16"
    assert resolve_precision("auto", cpu) in ("float32", "bfloat16")


@pytest.mark.parametrize(
    ("layer", "plain"),
    [
        (nn.Conv2d(8, 16, 1, stride=2), True),
        (nn.Conv2d(16, 16, 1, stride=2), False),
        (nn.Conv2d(8, 16, 1), False),
        (nn.Conv2d(8, 16, 3, stride=2), False),
    ],
)
def test_layers_that_crash_with_channels_last_get_them_first(layer: nn.Conv2d, plain: bool) -> None:
    """On a processor with the fault, the backward pass of the first one ends the process otherwise."""
    seen = []
    layer.register_forward_hook(lambda _, given, out: seen.append(given[0].is_contiguous()))
    for _ in range(2):
        place(layer, torch.device("cpu"))
    images = torch.rand(2, layer.in_channels, 64, 64).to(memory_format=torch.channels_last).requires_grad_()
    layer(images).sum().backward()
    assert seen == [plain]
    assert len(layer._forward_pre_hooks) == plain
