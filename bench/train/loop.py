"""The one training loop: SGD as the papers use it, a checkpoint an epoch, exact resume.

A run that was killed and started again computes the same numbers, to the last bit on a CPU with the same number of
threads: whatever is random depends on (seed, epoch, step) alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn, optim

from bench.errors import DivergedError
from bench.method import MapMethod, Method, ProposalMethod, Task, TrainedConfig
from bench.progress import SILENT, Progress, Step
from bench.provenance import peak_memory_mib, provenance
from bench.train import checkpoint
from bench.train.checkpoint import Epoch
from bench.train.device import INITIAL, STEP, as_input, autocast, deterministic, seed_torch
from bench.train.feed import Example, Feed, ahead, plan

T = TypeVar("T", bound=Method)

VERSION = 1
"""Bumped by hand whenever the same config, data and seed would train to other weights."""

LOOK_EVERY = 20
"""Steps between two looks at the losses: each look waits for the GPU."""


def build(cls: type[T], config: TrainedConfig, task: Task, seed: int) -> T:
    """A method with its initial weights, which depend on config, task and seed alone. Raises as its constructor."""
    seed_torch(INITIAL, seed)
    return cls(config, task)


def fit(
    method: MapMethod | ProposalMethod,
    feed: Feed,
    folder: Path,
    *,
    seed: int,
    device: torch.device,
    workers: int = 0,
    progress: Progress = SILENT,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Train in `folder`, from its last checkpoint on, to the weights that `checkpoint.load_weights` loads.

    `check` raises if this process may no longer publish. Raises DivergedError; the last good checkpoint stays.
    """
    config = method.config
    method.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = _optimiser(method)
    history = checkpoint.resume(folder, method, optimiser)
    total, start = config.epochs * len(feed.ids), len(history) * len(feed.ids)
    with deterministic(device), progress.task(f"Training {method.name}", total, start=start) as step:
        for epoch in range(len(history), config.epochs):
            history.append(_epoch(method, feed, optimiser, device, seed, epoch, workers, step, folder))
            check()
            checkpoint.save(folder, method, optimiser, history)
    check()
    _finish(folder, method, history, len(feed.ids), device)


def _optimiser(method: Method) -> optim.SGD:
    """SGD over two groups: what pretrained weights set, and what is new, which learns `head_lr` times faster."""
    config = method.config
    new = {id(parameter) for parameter in method.new_parameters()}
    groups = [[], []]  # type: list[list[nn.Parameter]]
    for parameter in method.parameters():
        groups[id(parameter) in new].append(parameter)
    rates = (config.lr, config.lr * config.head_lr)
    return optim.SGD(
        [{"params": group, "lr": rate, "base": rate} for group, rate in zip(groups, rates, strict=True)],
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )


def _epoch(
    method: MapMethod | ProposalMethod,
    feed: Feed,
    optimiser: optim.Optimizer,
    device: torch.device,
    seed: int,
    epoch: int,
    workers: int,
    step: Step,
    folder: Path,
) -> Epoch:
    """One pass over the feed. Raises DivergedError."""
    begin, rate = time.monotonic(), _set_rate(optimiser, method.config, epoch)
    chosen = plan(method.config, len(feed.ids), seed, epoch)
    total: dict[str, Tensor] = {}
    method.train()
    with closing(ahead(lambda number: feed.step(chosen, number), feed.steps, workers)) as batches:
        for number, batch in enumerate(batches):
            seed_torch(STEP, seed, epoch, number)
            for name, value in _step(method, optimiser, batch, device).items():
                total[name] = total.get(name, torch.zeros((), device=device)) + value
            looking = number % LOOK_EVERY == 0 or number + 1 == feed.steps
            figures = _figures(total, number, epoch, rate, folder) if looking else {}
            step(min(method.config.batch_size, len(feed.ids) - number * method.config.batch_size), **figures)
    _refuse_broken(method, epoch, folder)
    seconds = time.monotonic() - begin
    means = {f"loss/{name}": float(value) / feed.steps for name, value in total.items()}
    return {
        "epoch": epoch + 1,
        "loss": sum(means.values()),
        **means,
        "lr": rate,
        "seconds": seconds,
        "images_per_second": len(feed.ids) / seconds,
    }


def _step(
    method: MapMethod | ProposalMethod, optimiser: optim.Optimizer, batch: list[Example], device: torch.device
) -> dict[str, Tensor]:
    """One update from the mean gradient of a batch; the terms of its loss, detached."""
    config = method.config
    optimiser.zero_grad(set_to_none=True)
    terms: dict[str, Tensor] = {}
    for images, *rest in batch:
        with autocast(device, config.precision):
            found = method.loss(as_input(images, device), *(each.to(device) for each in rest))
        (torch.stack([value.float() for value in found.values()]).sum() / len(batch)).backward()  # type: ignore[no-untyped-call]
        for name, value in found.items():
            terms[name] = terms.get(name, torch.zeros((), device=device)) + value.detach().float() / len(batch)
    if config.clip:
        nn.utils.clip_grad_norm_(method.parameters(), config.clip)
    optimiser.step()
    return terms


def _set_rate(optimiser: optim.Optimizer, config: TrainedConfig, epoch: int) -> float:
    """Set the learning rates of an epoch: a tenth after `lr_drop` of all epochs. Returns that of the old layers."""
    factor = 1.0 if epoch < config.lr_drop * config.epochs else 0.1
    for group in optimiser.param_groups:
        group["lr"] = group["base"] * factor
    return config.lr * factor


def _figures(total: dict[str, Tensor], number: int, epoch: int, rate: float, folder: Path) -> dict[str, float]:
    """The mean loss so far. Raises DivergedError if it is no number."""
    means = {name: float(value) / (number + 1) for name, value in total.items()}
    if all(math.isfinite(mean) for mean in means.values()):
        return {"loss": sum(means.values())}
    terms = ", ".join(f"{name} {mean:.3g}" for name, mean in means.items())
    raise DivergedError(
        f"The loss is not a number by step {number + 1} of epoch {epoch + 1} ({terms}; lr {rate:g}). The checkpoint "
        f"of the epoch before is kept in {folder}. Try a smaller lr, clip=10, or precision=float32."
    )


def _refuse_broken(method: Method, epoch: int, folder: Path) -> None:
    """Raise DivergedError if the last update left a weight that is no number: no checkpoint may hold it."""
    broken = [name for name, parameter in method.named_parameters() if not parameter.isfinite().all()]
    if broken:
        raise DivergedError(
            f"Weights are not numbers after epoch {epoch + 1} (first: {broken[0]}). The checkpoint of the epoch "
            f"before is kept in {folder}. Try a smaller lr, clip=10, or precision=float32."
        )


def _finish(folder: Path, method: Method, history: list[Epoch], images: int, device: torch.device) -> None:
    seconds = sum(epoch["seconds"] for epoch in history)
    checkpoint.finish(
        folder,
        method,
        history,
        images=images,
        seconds=seconds,
        images_per_second=images * len(history) / seconds if seconds else None,
        peak_memory_mib=peak_memory_mib(),
        provenance=provenance(str(device)),
    )
