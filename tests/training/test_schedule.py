"""The learning rate step by step: as torch's schedulers set it, and no longer a warm-up than there is training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import optim
from torch.optim import lr_scheduler
from train_cases import FLAT

from bench.errors import RequestError
from bench.method import MapConfig
from bench.training.schedule import Schedule


def compute_factors(steps: int = 20, epochs: int = 4, **settings: Any) -> list[float]:
    """What the rate is multiplied by in each step of a training."""
    schedule = Schedule(MapConfig(**{**FLAT, **settings}), steps, epochs, -(-steps // epochs))
    return [schedule.compute_factor(step) for step in range(steps)]


def follow(make: Callable[[optim.Optimizer], lr_scheduler.LRScheduler], steps: int) -> list[float]:
    """The rates of torch's scheduler from a rate of 1 on."""
    optimiser = optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler, rates = make(optimiser), []
    for _ in range(steps):
        rates.append(float(optimiser.param_groups[0]["lr"]))
        optimiser.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("final", [0.0, 0.1])
def test_a_cosine_is_torchs(final: float) -> None:
    expected = follow(lambda one: lr_scheduler.CosineAnnealingLR(one, T_max=20, eta_min=final), 20)
    assert compute_factors(schedule="cosine", lr_final=final) == pytest.approx(expected)


@pytest.mark.parametrize("power", [0.9, 1.0, 2.0])
def test_a_polynomial_is_torchs(power: float) -> None:
    expected = follow(lambda one: lr_scheduler.PolynomialLR(one, total_iters=20, power=power), 20)
    assert compute_factors(schedule="poly", poly_power=power) == pytest.approx(expected)


@pytest.mark.parametrize("warmup", [{"warmup_steps": 5}, {"warmup_epochs": 1.0}, {"warmup_epochs": 0.9}])
def test_a_warm_up_is_torchs_and_what_falls_begins_after_it(warmup: dict[str, Any]) -> None:
    rise = follow(lambda one: lr_scheduler.LinearLR(one, start_factor=1 / 5, total_iters=4), 5)
    fall = follow(lambda one: lr_scheduler.CosineAnnealingLR(one, T_max=15), 15)
    length = 5 if warmup != {"warmup_epochs": 0.9} else 4
    found = compute_factors(schedule="cosine", **warmup)
    assert found[length - 1 : length + 1] == [1.0, 1.0]
    if length == 5:
        assert found == pytest.approx([*rise, *fall])


def test_drops_after_the_last_step_are_named() -> None:
    def find(**settings: Any) -> str:
        return Schedule(MapConfig(**{**FLAT, **settings}), 20, 4, 5).find_late_drops()

    assert find(lr_steps=(10, 20, 90)) == "of lr_steps, 20, 90 have no effect: the training has 20 steps"
    assert find(lr_steps=(10, 19)) == find() == ""


def test_a_rate_that_falls_to_itself_is_refused() -> None:
    with pytest.raises(ValidationError, match="less than 1"):
        MapConfig(**{**FLAT, "schedule": "cosine", "lr_final": 1.0})


def test_steps_are_counted_from_the_start_with_a_warm_up_too() -> None:
    plain = compute_factors(lr_steps=(10, 15))
    assert plain == pytest.approx([1.0] * 10 + [0.1] * 5 + [0.01] * 5)
    assert compute_factors(lr_steps=(10, 15), warmup_steps=2) == pytest.approx([0.5, *plain[1:]])
    assert compute_factors(lr_drop=0.5, warmup_steps=2) == pytest.approx([0.5, *[1.0] * 9, *[0.1] * 10])


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"warmup_steps": 20}, "warmup_steps=20 is a warm-up of 20 steps, and the whole training has 20"),
        ({"warmup_epochs": 4.5}, "warmup_epochs=4.5 is a warm-up of 22 steps, and the whole training has 20"),
    ],
)
def test_a_warm_up_without_an_end_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        compute_factors(**settings)
    assert compute_factors(steps=0, **settings) == []  # no epochs: the initial weights
