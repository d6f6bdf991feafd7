"""The moving average of the weights: its recursion, what predicts with it, and that an interruption changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from train_cases import Colours, Photographs, made, train, weights

from bench.training import checkpoint
from bench.training.weight_average import WeightAverage

SETTINGS: dict[str, Any] = {"epochs": 3, "batch_size": 4, "momentum": 0.9, "ema": 0.8}


class InterruptedHereError(Exception):
    """The process ends here, as far as the loop can tell."""


@pytest.fixture
def photographs(tmp_path: Path) -> Photographs:
    return Photographs(tmp_path, 10)


def load(folder: Path, epoch: int = 0) -> dict[str, list[Any]]:
    """Return the weights that predict, or those after an epoch."""
    snapshots: tuple[int, ...] = (epoch,) if epoch else ()
    method = made(Colours, seed=9, **SETTINGS, snapshots=snapshots)
    checkpoint.load_weights(folder, method, epoch)
    return weights(method)


def test_it_is_its_recursion_and_leaves_the_weights_as_they_are() -> None:
    layer = nn.Linear(3, 2)
    average, expected = WeightAverage(layer, 0.8), torch.zeros(2, 3)
    for step in range(5):
        with torch.no_grad():
            layer.weight += 1
        average.update()
        expected = layer.weight.detach().clone() if step == 0 else 0.8 * expected + 0.2 * layer.weight.detach()
    last = layer.weight.detach().clone()
    with average.swap():
        torch.testing.assert_close(layer.weight, expected)
    assert layer.weight.equal(last)


def test_what_does_not_learn_is_not_averaged() -> None:
    layer = nn.Linear(3, 2)
    layer.bias.requires_grad_(False)
    assert [tuple(one.shape) for one in WeightAverage(layer, 0.5).model.parameters()] == [(2, 3)]


def test_the_average_predicts_and_the_training_is_the_same(tmp_path: Path, photographs: Photographs) -> None:
    method = train(made(Colours, **SETTINGS), tmp_path / "average", photographs)
    plain = train(made(Colours, **{**SETTINGS, "ema": 0.0}), tmp_path / "plain", photographs)
    assert weights(method) == weights(plain) == load(tmp_path / "plain")
    assert load(tmp_path / "average") != weights(method)


@pytest.mark.parametrize("interruption", [1, 2, 3])
def test_a_training_that_was_interrupted_ends_with_the_same_average(
    tmp_path: Path, photographs: Photographs, interruption: int
) -> None:
    settings, calls = {**SETTINGS, "snapshots": (2,)}, iter(range(1, 99))

    def check() -> None:
        if next(calls) == interruption:
            raise InterruptedHereError

    train(made(Colours, **settings), tmp_path / "whole", photographs)
    with pytest.raises(InterruptedHereError):
        train(made(Colours, **settings), tmp_path / "run", photographs, check=check)
    train(made(Colours, **settings), tmp_path / "run", photographs)
    assert load(tmp_path / "run") == load(tmp_path / "whole")
    assert load(tmp_path / "run", epoch=2) == load(tmp_path / "whole", epoch=2)


def test_a_training_without_it_keeps_its_address() -> None:
    assert "ema" not in made(Colours).config.select_addressed("training")
    assert made(Colours, ema=0.9).config.select_addressed("training")["ema"] == 0.9
