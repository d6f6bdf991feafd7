"""The training loop: what an update is, when the rate drops, what survives an interruption, and what stops it."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from train_cases import CPU, Colours, Corners, Photographs, boxes, log, made, make_source, train, weights

from bench.errors import BusyError, DivergedError, RequestError
from bench.training import checkpoint
from bench.training.batches import plan
from bench.training.loop import fit

HALVES = [(0, 0, 16, 24), (16, 0, 32, 24), (0, 0, 32, 24)]


class InterruptedHereError(Exception):
    """The process ends here, as far as the loop can tell."""


def interrupting(when: int) -> Callable[[], None]:
    """A `check` that interrupts at its call number `when`, counted from 1."""
    calls = iter(range(1, 1000))

    def check() -> None:
        if next(calls) == when:
            raise InterruptedHereError

    return check


def loaded(folder: Path, cls: type[Any] = Colours, **settings: Any) -> Any:
    method = made(cls, seed=9, **settings)
    checkpoint.load_weights(folder, method)
    return method


class Breaking(Colours):
    """Its loss is not a number from a given image on, counted over all epochs."""

    seen, last = 0, 22

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        type(self).seen += len(images)
        return {
            name: value * (1 if self.seen <= self.last else torch.nan)
            for name, value in super().loss(images, labels).items()
        }


@pytest.fixture
def photographs(tmp_path: Path) -> Photographs:
    return Photographs(tmp_path, 10)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


def test_training_ends_with_the_weights_a_mark_and_a_line_an_epoch(run: Path, photographs: Photographs) -> None:
    method = train(made(Colours, epochs=3, batch_size=4), run, photographs)
    assert weights(loaded(run)) == weights(method)
    assert [line["epoch"] for line in log(run)] == [1, 2, 3]
    assert all(line["loss"] == pytest.approx(line["loss/fit"] + line["loss/size"]) for line in log(run))
    assert checkpoint.summary(run)["epochs"] == 3
    assert {path.name for path in run.iterdir()} == {"weights.pt", "done.json", "log.jsonl"}


def test_no_epochs_keep_the_initial_weights(run: Path, photographs: Photographs) -> None:
    train(made(Colours, epochs=0), run, photographs)
    assert weights(loaded(run)) == weights(made(Colours))
    assert checkpoint.done_path(run).exists()


def test_initial_weights_are_of_the_seed() -> None:
    assert weights(made(Colours, seed=1)) == weights(made(Colours, seed=1))
    assert weights(made(Colours, seed=1)) != weights(made(Colours, seed=2))


@pytest.mark.parametrize("interruption", [1, 2, 3, 4])
def test_what_was_interrupted_goes_on_to_the_same_weights(
    run: Path, tmp_path: Path, photographs: Photographs, interruption: int
) -> None:
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 4, "lr_drop": 0.5, "momentum": 0.9}
    whole = train(made(Colours, **settings), tmp_path / "whole", photographs)
    with pytest.raises(InterruptedHereError):
        train(made(Colours, **settings), run, photographs, check=interrupting(interruption))
    assert not checkpoint.done_path(run).exists()
    again = train(made(Colours, **settings), run, photographs)
    assert weights(again) == weights(whole) == weights(loaded(run))
    timeless = [{key: value for key, value in line.items() if "second" not in key} for line in log(run)]
    assert timeless == [{key: line[key] for key in timeless[0]} for line in log(tmp_path / "whole")]


class Continuing(Colours):
    """It notes its progress at each step."""

    noted: ClassVar[list[float]] = []

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        self.noted.append(self.progress)
        return super().loss(images, labels)


@pytest.mark.parametrize("settings", [{"epochs": 2}, {"iterations": 6}])
def test_a_method_is_told_its_progress_and_told_the_same_when_it_goes_on(
    run: Path, photographs: Photographs, settings: dict[str, Any]
) -> None:
    Continuing.noted.clear()
    with pytest.raises(InterruptedHereError):
        train(made(Continuing, batch_size=4, **settings), run, photographs, check=interrupting(2))
    train(made(Continuing, batch_size=4, **settings), run, photographs)
    assert Continuing.noted == pytest.approx([step / 6 for step in (0, 1, 2, 3, 4, 5, 3, 4, 5)])


class Terminated(Colours):
    """A SIGTERM comes while it computes its loss number `when`, counted from 1."""

    when = 0

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        type(self).when -= 1
        if self.when == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().loss(images, labels)

    def gradient_groups(self) -> dict[str, list[torch.nn.Parameter]]:
        return {"maps": list(self.maps.parameters())}


@pytest.mark.parametrize("when", range(1, 7))
def test_what_is_terminated_writes_a_checkpoint_after_its_step_and_goes_on_from_there(
    run: Path, tmp_path: Path, photographs: Photographs, monkeypatch: pytest.MonkeyPatch, when: int
) -> None:
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 4, "momentum": 0.9, "snapshots": (1,)}
    whole = train(made(Terminated, **settings), tmp_path / "whole", photographs)
    monkeypatch.setattr(Terminated, "when", when)
    with pytest.raises(KeyboardInterrupt):
        train(made(Terminated, **settings), run, photographs)
    assert not checkpoint.done_path(run).exists()
    assert (run / "weights-00001.pt").exists() == (when >= 3)
    assert len(log(run)) == when // 3
    train(made(Terminated, **settings), run, photographs)
    assert Terminated.when == when - 6  # no step was computed twice
    assert weights(loaded(run)) == weights(whole)
    timeless = [{key: value for key, value in line.items() if "second" not in key} for line in log(run)]
    assert timeless == [{key: line[key] for key in timeless[0]} for line in log(tmp_path / "whole")]


def test_momentum_is_part_of_what_goes_on(run: Path, tmp_path: Path, photographs: Photographs) -> None:
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 4}
    whole = train(made(Colours, **settings), tmp_path / "whole", photographs)
    with pytest.raises(InterruptedHereError):
        train(made(Colours, **settings), run, photographs, check=interrupting(2))
    [saved] = run.glob("checkpoint-*.pt")
    state = torch.load(saved, weights_only=True)
    for of_parameter in state["optimiser"]["state"].values():
        of_parameter["momentum_buffer"].zero_()
    torch.save(state, saved)
    assert weights(train(made(Colours, **settings), run, photographs)) != weights(whole)


def test_workers_change_nothing(tmp_path: Path, photographs: Photographs) -> None:
    found = [
        train(made(Colours, epochs=2, batch_size=3), tmp_path / str(workers), photographs, workers=workers)
        for workers in (0, 1, 3)
    ]
    assert weights(found[0]) == weights(found[1]) == weights(found[2])


def test_a_process_that_may_not_publish_writes_nothing(run: Path, photographs: Photographs) -> None:
    def taken_over() -> None:
        raise BusyError("somebody else")

    with pytest.raises(BusyError):
        train(made(Colours, epochs=1), run, photographs, check=taken_over)
    with pytest.raises(BusyError):
        train(made(Colours, epochs=0), run, photographs, check=taken_over)
    assert not run.exists()


def test_the_rate_drops_to_a_tenth_after_its_share_of_all_epochs(run: Path, photographs: Photographs) -> None:
    settings: dict[str, Any] = {"epochs": 4, "lr": 0.5, "lr_drop": 0.75, "batch_size": 10}
    with pytest.raises(InterruptedHereError):
        train(made(Colours, **settings), run, photographs, check=interrupting(3))
    train(made(Colours, **settings), run, photographs)
    assert [line["lr"] for line in log(run)] == pytest.approx([0.5, 0.5, 0.5, 0.05])


def updates(settings: dict[str, Any], gradients: list[float], rate: float) -> float:
    """How far a parameter that begins at 0 has moved after SGD with momentum and weight decay, step by step."""
    value = velocity = 0.0
    for gradient in gradients:
        velocity = settings["momentum"] * velocity + gradient + settings["weight_decay"] * value
        value -= rate * velocity
    return value


class Pulled(Colours):
    """Every step pulls each parameter by 1; both begin at 0."""

    def __init__(self, config: Any, task: Any) -> None:
        super().__init__(config, task)
        for parameter in self.parameters():
            torch.nn.init.zeros_(parameter)

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"pull": sum((parameter.sum() for parameter in self.parameters()), torch.zeros(()))}


@pytest.mark.parametrize(("iterations", "shown"), [(6, [10, 10]), (7, [10, 10, 4]), (2, [8])])
def test_a_training_ends_after_its_iterations(
    run: Path, tmp_path: Path, photographs: Photographs, iterations: int, shown: list[int]
) -> None:
    method = train(made(Colours, iterations=iterations, batch_size=4, lr_drop=1), run, photographs)
    rates = [line["images_per_second"] * line["seconds"] for line in log(run)]
    assert rates == pytest.approx(shown)
    whole = train(made(Colours, epochs=2, batch_size=4, lr_drop=1), tmp_path / "whole", photographs)
    assert (weights(method) == weights(whole)) == (iterations == 6)


def test_steps_may_lower_the_rate_within_an_epoch(run: Path, tmp_path: Path, photographs: Photographs) -> None:
    train(made(Colours, epochs=3, batch_size=4, lr_steps=(2, 6)), run, photographs)
    assert [line["lr"] for line in log(run)] == pytest.approx([0.01, 0.01, 0.001])
    by_step = train(made(Colours, epochs=2, batch_size=4, lr_steps=(3,)), tmp_path / "steps", photographs)
    by_share = train(made(Colours, epochs=2, batch_size=4, lr_drop=0.5), tmp_path / "share", photographs)
    assert weights(by_step) == weights(by_share)


@pytest.mark.parametrize("interruption", [1, 2, 3])
def test_crops_and_iterations_go_on_to_the_same_weights(
    run: Path, tmp_path: Path, photographs: Photographs, interruption: int
) -> None:
    settings = {"iterations": 7, "lr_steps": (4,), "batch_size": 4, "augment": "resized-crop", "resize_to": 40}
    whole = train(made(Colours, **settings), tmp_path / "whole", photographs)
    with pytest.raises(InterruptedHereError):
        train(made(Colours, **settings), run, photographs, check=interrupting(interruption))
    assert weights(train(made(Colours, **settings), run, photographs)) == weights(whole) == weights(loaded(run))


def test_updates_are_sgd_and_new_layers_learn_faster(run: Path, photographs: Photographs) -> None:
    settings = {"momentum": 0.5, "weight_decay": 0.01, "lr": 0.1, "head_lr_multiplier": 3.0, "lr_drop": 1.0}
    method = train(made(Pulled, epochs=2, batch_size=4, **settings), run, photographs)
    assert method.maps.weight.detach().flatten().tolist() == pytest.approx([updates(settings, [1.0] * 6, 0.1)] * 6)
    assert method.maps.bias.tolist() == pytest.approx([updates(settings, [1.0] * 6, 0.3)] * 2)


def follow_adamw(settings: dict[str, Any], gradients: list[float], rate: float) -> float:
    """How far a parameter that begins at 0 has moved after AdamW (Loshchilov and Hutter, ICLR 2019, Algorithm 2)."""
    value = mean = square = 0.0
    for step, gradient in enumerate(gradients, 1):
        mean = settings["momentum"] * mean + (1 - settings["momentum"]) * gradient
        square = settings["beta2"] * square + (1 - settings["beta2"]) * gradient**2
        unbiased = mean / (1 - settings["momentum"] ** step), square / (1 - settings["beta2"] ** step)
        value -= rate * (unbiased[0] / (unbiased[1] ** 0.5 + 1e-8) + settings["weight_decay"] * value)
    return value


def test_updates_are_adamw_and_new_layers_learn_faster(run: Path, photographs: Photographs) -> None:
    settings = {
        "momentum": 0.8,
        "beta2": 0.9,
        "weight_decay": 0.1,
        "lr": 0.1,
        "head_lr_multiplier": 3.0,
        "lr_drop": 1.0,
    }
    method = train(made(Pulled, optimizer="adamw", epochs=2, batch_size=4, **settings), run, photographs)
    expected = [follow_adamw(settings, [1.0] * 6, rate) for rate in (0.1, 0.3)]
    assert method.maps.weight.detach().flatten().tolist() == pytest.approx([expected[0]] * 6, rel=1e-5)
    assert method.maps.bias.tolist() == pytest.approx([expected[1]] * 2, rel=1e-5)


@pytest.mark.parametrize("schedule", ["cosine", "poly"])
def test_the_rate_falls_step_by_step_to_the_end_of_epochs_or_iterations(
    run: Path, tmp_path: Path, photographs: Photographs, schedule: str
) -> None:
    settings: dict[str, Any] = {"batch_size": 4, "schedule": schedule, "warmup_steps": 2}
    method = train(made(Colours, epochs=3, **settings), run, photographs)
    again = train(made(Colours, iterations=9, **settings), tmp_path / "iterations", photographs)
    assert weights(method) == weights(again)
    share = 1 / 7  # of the 7 steps after the warm-up, what is left in the last one
    last = (1 + math.cos(math.pi * (1 - share))) / 2 if schedule == "cosine" else share**0.9
    assert log(run)[-1]["lr"] == pytest.approx(0.1 * last)


def test_a_warm_up_of_the_whole_training_is_refused_before_it(run: Path, photographs: Photographs) -> None:
    with pytest.raises(RequestError, match=r"warmup_epochs=2.0 is a warm-up of 6 steps, and the whole training has 6"):
        train(made(Colours, epochs=2, batch_size=4, warmup_epochs=2), run, photographs)
    assert not run.exists()


def test_gradients_are_clipped_to_a_norm(run: Path, photographs: Photographs) -> None:
    settings = {"momentum": 0.0, "weight_decay": 0.0, "lr": 1.0, "grad_clip_norm": 0.5}
    method = train(made(Pulled, epochs=1, batch_size=10, **settings), run, photographs)
    moved = torch.cat([value.detach().flatten() for value in method.parameters()])
    assert moved.norm().item() == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("parts", [2, 3, 9])
def test_a_batch_in_parts_is_one_update_from_the_mean_gradient(
    tmp_path: Path, photographs: Photographs, parts: int
) -> None:
    ways = [made(Colours, batch_size=5, epochs=1, grad_accumulation_steps=parts) for parts in (1, parts)]
    for number, method in enumerate(ways):
        method.drop = nn.Identity()  # which draws for all that it is given
        train(method, tmp_path / str(number), photographs)
    whole, inparts = (method.state_dict() for method in ways)
    assert not whole["maps.weight"].equal(made(Colours).state_dict()["maps.weight"])
    torch.testing.assert_close(inparts, whole, rtol=1e-5, atol=1e-7)


def test_a_step_of_proposals_is_one_update_from_the_mean_gradient(run: Path, photographs: Photographs) -> None:
    proposals = boxes(photographs, HALVES)
    settings: dict[str, Any] = {"epochs": 1, "batch_size": 10, "momentum": 0.0, "weight_decay": 0.0, "min_proposal": 0}
    method, by_hand = made(Corners, **settings), made(Corners, **settings)
    examples = make_source(by_hand, photographs, proposals).step(plan(by_hand.config, 10, 0, 0), 0)
    mean = sum(by_hand.loss(image / 255, rois, labels)["fit"] for (image, rois, labels), _ in examples) / 10
    mean.backward()
    train(method, run, photographs, proposals)
    for moved, start in zip(method.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(moved, start - 0.1 * start.grad)
    assert log(run)[0]["loss"] == pytest.approx(mean.item())


def test_a_loss_that_is_no_number_stops_and_says_so_and_keeps_the_epoch_before(
    run: Path, photographs: Photographs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Breaking, "seen", 0)
    says = (
        r"not a number by step 5 of epoch 3 \(fit nan, size nan; lr 0.1\). The checkpoint of epoch 2 is kept in .*run"
    )
    with pytest.raises(DivergedError, match=says):
        train(made(Breaking, epochs=4, batch_size=2), run, photographs)
    assert [path.name for path in run.glob("checkpoint-*")] == ["checkpoint-00002.pt"]
    assert not checkpoint.done_path(run).exists()
    assert [line["epoch"] for line in log(run)] == [1, 2]

    with pytest.raises(DivergedError, match="by step 1 of epoch 3"):
        train(made(Breaking, epochs=4, batch_size=2), run, photographs)
    monkeypatch.setattr(Breaking, "last", 1000)
    assert train(made(Breaking, epochs=4, batch_size=2), run, photographs)
    assert [line["epoch"] for line in log(run)] == [1, 2, 3, 4]


def test_a_first_epoch_that_breaks_speaks_of_no_checkpoint(
    run: Path, photographs: Photographs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Breaking, "last", 0)
    with pytest.raises(DivergedError, match=r"of epoch 1 .*\. Try a smaller lr") as error:
        train(made(Breaking, epochs=4), run, photographs)
    assert "checkpoint" not in str(error.value)
    assert not run.exists()


class BreakingWeights(Colours):
    """The last update of the second epoch leaves a weight that is no number; every loss before it was fine."""

    steps = 0

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        self.steps += 1
        terms = super().loss(images, labels)
        if self.steps == 2:
            self.maps.bias.register_hook(lambda gradient: gradient * torch.nan)
        return terms


def test_weights_that_are_no_numbers_reach_no_checkpoint(run: Path, photographs: Photographs) -> None:
    with pytest.raises(DivergedError, match=r"after epoch 2 \(first: maps.bias\). The checkpoint of epoch 1 is kept"):
        train(made(BreakingWeights, epochs=2, batch_size=10), run, photographs)
    assert [path.name for path in run.glob("checkpoint-*")] == ["checkpoint-00001.pt"]


def test_progress_counts_every_image_from_where_it_goes_on(run: Path, photographs: Photographs) -> None:
    class Counting:
        def __init__(self) -> None:
            self.opened: list[tuple[str, int, int]] = []
            self.done = 0
            self.losses: list[float] = []

        def task(self, title: str, total: int, *, start: int = 0, unit: str = "images") -> Counting:
            self.opened.append((title, total, start))
            return self

        def __enter__(self) -> Callable[..., None]:
            return self.step

        def __exit__(self, *_: object) -> None:
            pass

        def step(self, done: int = 1, **figures: float) -> None:
            self.done += done
            self.losses += figures.values()

        def say(self, text: str) -> None:
            pass

    with pytest.raises(InterruptedHereError):
        train(made(Colours, epochs=2, batch_size=3), run, photographs, check=interrupting(2))
    counting = Counting()
    method = made(Colours, epochs=2, batch_size=3)
    fit(method, make_source(method, photographs), run, seed=0, device=CPU, progress=counting)
    assert counting.opened == [("Training colours", 20, 10)]
    assert counting.done == 10
    assert len(counting.losses) == 2


def test_weights_of_snapshots_are_those_that_shorter_runs_of_the_same_schedule_had(
    run: Path, tmp_path: Path, photographs: Photographs
) -> None:
    settings: dict[str, Any] = {"epochs": 4, "batch_size": 4, "lr_drop": 0.9}
    train(made(Colours, snapshots=(1, 3), **settings), run, photographs)
    for epoch in (1, 3):
        short = train(
            made(Colours, **{**settings, "epochs": epoch, "lr_drop": 1.0}), tmp_path / str(epoch), photographs
        )
        kept = made(Colours, seed=9)
        checkpoint.load_weights(run, kept, epoch)
        assert weights(kept) == weights(short)
    assert {path.name for path in run.glob("weights*")} == {"weights.pt", "weights-00001.pt", "weights-00003.pt"}


def test_an_interruption_costs_no_snapshot(run: Path, tmp_path: Path, photographs: Photographs) -> None:
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 4, "snapshots": (1, 2)}
    train(made(Colours, **settings), tmp_path / "whole", photographs)
    with pytest.raises(InterruptedHereError):
        train(made(Colours, **settings), run, photographs, check=interrupting(2))
    train(made(Colours, **settings), run, photographs)
    for epoch in (0, 1, 2):
        here, there = made(Colours), made(Colours)
        checkpoint.load_weights(run, here, epoch)
        checkpoint.load_weights(tmp_path / "whole", there, epoch)
        assert weights(here) == weights(there)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"snapshots": (2, 9)}, "snapshots=9 is none of epochs 1 ... 4"),
        ({"snapshots": (2,), "checkpoint_epoch": 3}, "checkpoint_epoch=3 needs snapshots=3"),
    ],
)
def test_an_epoch_that_is_not_kept_cannot_be_asked_for(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        made(Colours, epochs=4, **settings)
    assert made(Colours, epochs=4, snapshots=(2, 3), checkpoint_epoch=3).config.checkpoint_epoch == 3


def test_what_a_method_watches_is_logged_as_the_norm_of_its_gradient(run: Path, photographs: Photographs) -> None:
    class Watched(Corners):
        def gradient_groups(self) -> dict[str, list[torch.nn.Parameter]]:
            return {"all": list(self.linear.parameters()), "bias": [self.linear.bias]}

    settings: dict[str, Any] = {"epochs": 2, "batch_size": 10, "momentum": 0.0, "weight_decay": 0.0, "min_proposal": 0}
    given = boxes(photographs, HALVES)
    method = made(Watched, **settings)
    train(method, run, photographs, given)
    first, second = log(run)
    before = made(Watched, **settings)
    examples = make_source(before, photographs, given).step(plan(before.config, 10, 0, 0), 0)
    sum(before.loss(image / 255, box, label)["fit"] for (image, box, label), _ in examples).div(10).backward()
    grads = [parameter.grad for parameter in before.linear.parameters()]
    assert first["gradient/bias"] == pytest.approx(grads[1].norm().item(), rel=1e-5)
    assert first["gradient/all"] == pytest.approx(sum(grad.square().sum() for grad in grads).sqrt().item(), rel=1e-5)
    assert second["gradient/all"] != first["gradient/all"]
    assert first["loss"] == first["loss/fit"]


def test_the_hook_of_release_0_1_for_gradients_is_still_asked(run: Path, photographs: Photographs) -> None:
    class Former(Colours):
        def watched(self) -> dict[str, list[torch.nn.Parameter]]:
            return {"maps": list(self.parameters())}

    train(made(Former, epochs=1), run, photographs)
    assert log(run)[0]["gradient/maps"] > 0
