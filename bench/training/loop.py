"""The one training loop: SGD as the papers use it, or AdamW, a checkpoint an epoch, exact resume.

A run that was killed and started again computes the same numbers, to the last bit on a CPU with the same number of
threads: whatever is random depends on (seed, epoch, step) alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn, optim

from bench.core.progress import SILENT, Progress, Step
from bench.core.provenance import collect_provenance, peak_memory_mib
from bench.errors import DivergedError
from bench.method import MapMethod, Method, ProposalMethod, Task, TrainedConfig
from bench.training import checkpoint, collectives, process_group
from bench.training.batches import BatchSource, Example, Plan, plan, shard
from bench.training.checkpoint import Epoch
from bench.training.device import (
    INITIAL,
    STEP,
    autocast,
    catch_interrupts,
    place,
    seed_torch,
    to_input,
    use_deterministic_algorithms,
)
from bench.training.feature_cache import ImageView, provide
from bench.training.inputs import prefetch, sizes
from bench.training.schedule import Schedule
from bench.training.single_values import refuse_single_values
from bench.training.weight_average import WeightAverage

T = TypeVar("T", bound=Method)
Terms = dict[str, Tensor]
"""The named terms of a loss, summed over steps or examples, detached."""

VERSION = 1
"""Bumped by hand whenever the same config, data and seed would train to other weights."""

LOG_EVERY = 20
"""Steps between two checks of the losses: each check waits for the GPU."""


def build(cls: type[T], config: TrainedConfig, task: Task, seed: int) -> T:
    """Build a method with its initial weights, which depend only on config, task and seed.

    Raises what its constructor raises.
    """
    seed_torch(INITIAL, seed)
    return cls(config, task)


def fit(
    method: MapMethod | ProposalMethod,
    source: BatchSource,
    folder: Path,
    *,
    seed: int,
    device: torch.device,
    workers: int = 0,
    progress: Progress = SILENT,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Train in `folder`, from its last checkpoint on, to the weights that `checkpoint.load_weights` loads.

    `check` raises if this process may no longer publish. Raises DivergedError, which leaves the last good checkpoint in
    place. On SIGTERM or Ctrl-C, finishes the current step, writes a checkpoint and raises KeyboardInterrupt.
    """
    place(method, device)
    average = WeightAverage(method, method.config.ema) if method.config.ema else None
    schedule = Schedule(method.config, source.total_steps, source.epochs, source.steps)
    if late := schedule.find_late_drops():
        progress.say(f"Note: {late}.")
    training = _Training(method, source, _make_optimiser(method), schedule, average, folder, seed, device, workers)
    method.eval()  # the features of a frozen net are computed without dropout
    if source.features is not None:
        source.features.fill(list_views(method.config))
    refuse_single_values(method, source, training._move, process_group.size())
    there = training.resume() if process_group.is_main() else []
    if process_group.is_main() and not there:
        _standardise(source)
    history = collectives.broadcast_state(method, training.optimiser, there)
    begun = history.pop() if history and "step" in history[-1] else Epoch()
    count, epochs = source.count_images, source.epochs
    done = count(len(history)) + source.config.batch_size * int(begun.get("step", 0))
    with (
        catch_interrupts() as stopped,
        use_deterministic_algorithms(device),
        progress.task(f"Training {method.name}", count(epochs), start=done) as step,
    ):
        for epoch in range(len(history), epochs):
            history.append(training.run_epoch(epoch, step, begun, stopped))
            begun = Epoch()
            check()
            if process_group.is_main():
                training.save(history)
            if process_group.any_rank(stopped()):
                raise KeyboardInterrupt
    check()
    if process_group.is_main():
        with training.final_weights():
            _finish(folder, method, history, source, device)


def list_views(config: TrainedConfig) -> list[ImageView]:
    """List the views that a training may draw."""
    mirrored, longest = (False, True)[: 1 + config.flip], getattr(config, "longest_side", 0)
    return [ImageView(size, one, longest) for size in sizes(config) for one in mirrored]


def _standardise(source: BatchSource) -> None:
    """Set the statistics by which a frozen net's features are standardised."""
    if source.features is not None and source.features.net.standardises:
        longest = getattr(source.config, "longest_side", 0)
        source.features.net.standardise(*source.features.measure_channels(sizes(source.config), longest))


@dataclass(frozen=True, eq=False)
class _Training:
    """The objects and settings that every step of a training needs."""

    method: MapMethod | ProposalMethod
    source: BatchSource
    optimiser: optim.Optimizer
    schedule: Schedule
    average: WeightAverage | None
    """The weights that predict; the first process's average counts, since it is the same in all."""
    folder: Path
    seed: int
    device: torch.device
    workers: int

    def run_epoch(self, epoch: int, step: Step, begun: Epoch, stopped: Callable[[], bool]) -> Epoch:
        """Run an epoch, from its state `begun` on, to its end or until stopped. Raises DivergedError."""
        begin, count = time.monotonic() - begun.get("seconds", 0.0), self.source.count_steps(epoch)
        total, norms = _sums("sum", begun, self.device), _sums("norm", begun, self.device)
        chosen = plan(self.method.config, len(self.source.ids), self.seed, epoch)
        self.method.train()
        rank, size = process_group.rank(), process_group.size()
        steps = range(int(begun.get("step", 0)), count)
        with closing(prefetch(partial(self._load, chosen, steps), len(steps), self.workers)) as batches:
            for number, batch in zip(steps, batches, strict=False):
                seed_torch(STEP, self.seed, epoch, number, rank)
                rate = self._set_rate(epoch, number)
                _add(total, self._update(batch, self.source.passes(number, size), norms))
                last = process_group.any_rank(stopped()) or number + 1 == count
                looking = number % LOG_EVERY == 0 or last
                figures = {"loss": self._finite_loss(total, number, epoch, rate)} if looking else {}
                step(len(self.source.positions(number)), **figures)
                if last:
                    break
        self._refuse_broken(epoch)
        collectives.average_statistics(self.method)
        seconds = time.monotonic() - begin
        if number + 1 < count:
            return _interrupted_state(epoch, number, seconds, total, norms)
        means = {f"loss/{name}": float(value) / count for name, value in total.items()}
        gradients = {f"gradient/{name}": float(value) / count for name, value in norms.items()}
        images = self.source.count_images(epoch + 1) - self.source.count_images(epoch)
        spent = {"seconds": seconds, "images_per_second": images / seconds}
        return {"epoch": epoch + 1, "loss": sum(means.values()), **means, **gradients, "lr": rate, **spent}

    def resume(self) -> list[Epoch]:
        """Restore the last checkpoint; return its history. Raises BadFileError."""
        return checkpoint.resume(self.folder, self.method, self.optimiser, self._averaged_model)

    def save(self, history: list[Epoch]) -> None:
        """Write a checkpoint, and the weights that predict after this epoch if they are to be kept."""
        if len(history) in self.method.config.snapshots and "step" not in history[-1]:
            with self.final_weights():
                checkpoint.keep(self.folder, self.method, len(history))
        checkpoint.save(self.folder, self.method, self.optimiser, history, self._averaged_model)

    @property
    def _averaged_model(self) -> nn.Module | None:
        return None if self.average is None else self.average.model

    def final_weights(self) -> AbstractContextManager[None]:
        """Return a context in which the method has the weights that predict."""
        return nullcontext() if self.average is None else self.average.swap()

    def _load(self, chosen: Plan, steps: range, index: int) -> list[Example]:
        """Load this process's examples of a step into memory that a GPU copies from without waiting."""
        examples = self.source.step(chosen, steps[index], process_group.rank(), process_group.size())
        return [_pin(example) for example in examples] if self.device.type == "cuda" else examples

    def _update(self, batch: list[Example], passes: list[range], norms: Terms) -> Terms:
        """Update weights by the mean gradient of a batch; return the mean terms of its loss.

        Adds the gradient norms of the method's `gradient_groups` to `norms`.
        """
        config, terms, count = self.method.config, Terms(), sum(map(len, passes))
        self.optimiser.zero_grad(set_to_none=True)
        for positions, example in zip(passes, batch, strict=True):
            own = len(shard(positions, process_group.rank(), process_group.size()))
            over = count / own if own else math.inf  # a borrowed image counts nothing
            arguments = self._move(example)
            with (
                provide(self.source.features, arguments[0], example.features, arguments[1]),
                autocast(self.device, config.precision),
                collectives.loss_share(own / len(positions)),
            ):
                losses = self.method.loss(*arguments)
            (torch.stack([value.float() for value in losses.values()]).sum() / over).backward()  # type: ignore[no-untyped-call]
            _add(terms, {name: value.detach().float() / over for name, value in losses.items()})
        terms = collectives.all_reduce([one for one in self.method.parameters() if one.requires_grad], terms)
        _add(norms, {name: _gradient_norm(group) for name, group in self.method.gradient_groups().items()})
        if config.grad_clip_norm:
            nn.utils.clip_grad_norm_(self.method.parameters(), config.grad_clip_norm)
        self.optimiser.step()
        if self.average is not None:
            self.average.update()
        return terms

    def _move(self, example: Example) -> list[Tensor]:
        """Move the arguments of a loss to the device, and convert the images to the net's input."""
        images, *rest = example.arguments
        moved = images if images.is_meta else to_input(images, self.device)
        return [moved, *(each.to(self.device, non_blocking=True) for each in rest)]

    def _set_rate(self, epoch: int, number: int) -> float:
        """Set the learning rates of a step, and the method's progress; return the rate before `head_lr_multiplier`."""
        done = epoch * self.source.steps + number
        self.method.progress = done / self.schedule.steps
        factor = self.schedule.compute_factor(done)
        for group in self.optimiser.param_groups:
            group["lr"] = group["base"] * factor
        return self.method.config.lr * factor

    def _finite_loss(self, total: Terms, number: int, epoch: int, rate: float) -> float:
        """Return the mean loss so far. Raises DivergedError if it is not finite."""
        means = {name: float(value) / (number + 1) for name, value in total.items()}
        if all(math.isfinite(mean) for mean in means.values()):
            return sum(means.values())
        terms = ", ".join(f"{name} {mean:.3g}" for name, mean in means.items())
        what = f"The loss is not a number by step {number + 1} of epoch {epoch + 1} ({terms}; lr {rate:g})."
        raise DivergedError(f"{what} {self._advice(epoch)}")

    def _refuse_broken(self, epoch: int) -> None:
        """Raise DivergedError if the last update made a weight NaN or infinite: no checkpoint may contain it."""
        broken = [name for name, parameter in self.method.named_parameters() if not parameter.isfinite().all()]
        if broken:
            what = f"Weights are not numbers after epoch {epoch + 1} (first: {broken[0]})."
            raise DivergedError(f"{what} {self._advice(epoch)}")

    def _advice(self, epoch: int) -> str:
        kept = f"The checkpoint of epoch {epoch} is kept in {self.folder}; delete it to begin anew. " if epoch else ""
        return f"{kept}Try a smaller lr, grad_clip_norm=10, or precision=float32."


def _make_optimiser(method: Method) -> optim.Optimizer:
    """Build an optimiser with two groups: new parameters, whose rate is `head_lr_multiplier` times `lr`, and others."""
    config = method.config
    new = {id(parameter) for parameter in method.new_parameters()}
    groups: tuple[list[nn.Parameter], list[nn.Parameter]] = ([], [])
    for parameter in method.parameters():
        groups[id(parameter) in new].append(parameter)
    rates = (config.lr, config.lr * config.head_lr_multiplier)
    given = [{"params": group, "lr": rate, "base": rate} for group, rate in zip(groups, rates, strict=True)]
    if config.optimizer == "adamw":
        return optim.AdamW(given, betas=(config.momentum, config.beta2), weight_decay=config.weight_decay)
    return optim.SGD(given, momentum=config.momentum, weight_decay=config.weight_decay)


def _pin(example: Example) -> Example:
    """Copy an example into memory that a GPU copies from without waiting."""
    pinned = tuple(each if each.is_meta else each.pin_memory() for each in example.arguments)
    return Example(pinned, example.features and [feature.pin_memory() for feature in example.features])


def _gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    return nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])


def _add(total: Terms, more: Terms) -> None:
    for name, value in more.items():
        total[name] = total[name] + value if name in total else value


def _interrupted_state(epoch: int, number: int, seconds: float, total: Terms, norms: Terms) -> Epoch:
    """Return the state of an epoch that was stopped after step `number`."""
    sums = {f"sum/{name}": float(value) for name, value in total.items()}
    return {"epoch": epoch + 1, "step": number + 1, "seconds": seconds, **sums} | {
        f"norm/{name}": float(value) for name, value in norms.items()
    }


def _sums(kind: str, begun: Epoch, device: torch.device) -> Terms:
    """Return the sums of a kind, `sum` or `norm`, from the state of an unfinished epoch."""
    saved = {key.removeprefix(f"{kind}/"): value for key, value in begun.items() if key.startswith(f"{kind}/")}
    return {name: torch.tensor(value, device=device) for name, value in saved.items()}


def _finish(folder: Path, method: Method, history: list[Epoch], source: BatchSource, device: torch.device) -> None:
    seconds = sum(epoch["seconds"] for epoch in history)
    checkpoint.finish(
        folder,
        method,
        history,
        images=len(source.ids),
        seconds=seconds,
        images_per_second=source.count_images(len(history)) / seconds if seconds else None,
        peak_memory_mib=peak_memory_mib(),
        provenance=collect_provenance(str(device)) | {"processes": process_group.size()},
    )
