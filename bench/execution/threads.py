"""The threads that compute on a CPU. Their number is part of a training's address: it changes how sums are rounded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.core.processors import count_free_processors
from bench.errors import format_count

if TYPE_CHECKING:
    import torch

    from bench.core.progress import Progress
    from bench.execution.resolve import ResolvedRun
    from bench.records.store import Store

CHOSEN_BY = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables by which a user, or torchrun, sets the number of threads."""


@dataclass(frozen=True)
class ThreadPool:
    """The number of threads on a CPU, 0 on a GPU; is_chosen: set by the user, so that it must not be changed."""

    count: int
    is_chosen: bool


@contextmanager
def open_pool(device: torch.device, asked: int | None, progress: Progress) -> Iterator[ThreadPool]:
    """Set torch's threads during the block: as many as asked for, or one per idle processor.

    Reports the latter if it is fewer than torch would use.
    """
    import torch

    before = torch.get_num_threads()
    pool = _choose(device, asked, before, progress)
    torch.set_num_threads(pool.count or asked or before)
    try:
        yield pool
    finally:
        torch.set_num_threads(before)


def _choose(device: torch.device, asked: int | None, usual: int, progress: Progress) -> ThreadPool:
    from bench.training import process_group

    if device.type != "cpu":
        return ThreadPool(0, is_chosen=True)
    if asked is not None or any(os.environ.get(name) for name in CHOSEN_BY):
        return ThreadPool(asked or usual, is_chosen=True)
    free, why = process_group.broadcast(count_free_processors(usual))
    if why:
        progress.say(f"Computing with {format_count(free, 'thread')}: {why} (--threads N sets it).")
    return ThreadPool(free, is_chosen=False)


def find_begun(resolved: ResolvedRun, pool: ThreadPool, store: Store) -> ResolvedRun:
    """Return the run with the number of threads that it was stored or begun with; unchanged if the user set threads."""
    if pool.is_chosen or resolved.training is None:
        return resolved
    keys = {
        threads: replace(resolved.training, threads=threads)
        for threads in (pool.count, *range(1, (os.cpu_count() or 1) + 1))
    }
    folders = {threads: store.training_folder(key.address) for threads, key in keys.items()}
    predicted = {
        threads: store.predictions_folder(replace(resolved.predictions, training=key.address).address)
        for threads, key in keys.items()
    }
    stored = [one for one in keys if (folders[one] / "done.json").exists() or predicted[one].exists()]
    begun = [one for one in keys if (folders[one] / "config.json").exists()]
    threads = next(iter(stored + begun), pool.count)
    return resolved if threads == resolved.threads else replace(resolved, threads=threads).prepare()


@contextmanager
def use_threads(resolved: ResolvedRun, pool: ThreadPool, store: Store, progress: Progress) -> Iterator[None]:
    """During the block, continue an unfinished training with the number of threads that it was begun with."""
    import torch

    training = resolved.training
    if training is None or training.threads in (0, pool.count):
        yield
        return
    if (store.training_folder(training.address) / "done.json").exists():
        yield
        return
    progress.say(f"Going on with {format_count(training.threads, 'thread')}, by which this training was begun.")
    torch.set_num_threads(training.threads)
    try:
        yield
    finally:
        torch.set_num_threads(pool.count)
