"""One run in several processes, on one machine or many, as started by `torchrun` or a cluster's job.

All processes run the same code, each on its part of every batch and of the images to predict. Only the first one
claims leases, writes files and reports progress. In a single process, all functions here are no-ops.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from bench.core.lease import Lease
from bench.errors import BenchError, DivergedError, LostError, RequestError

T = TypeVar("T")

PATIENCE = timedelta(days=7)
"""How long processes wait for one another: the first may have to wait for another run's lease."""


@contextmanager
def join_group(device: torch.device) -> Iterator[None]:
    """Join the process group that `torchrun`'s variables (RANK, WORLD_SIZE, MASTER_ADDR ...) describe, for the block.

    Raises RequestError if the other processes cannot be reached. A nested block does nothing.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    except (ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        line = f"WORLD_SIZE is set, but the other processes are not there ({reason}): use torchrun"
        raise RequestError(line) from None
    try:
        yield
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """Return the rank of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this is the first process."""
    return rank() == 0


@contextmanager
def abort_together() -> Iterator[None]:
    """Raise LostError if the block fails, which ends all processes.

    DivergedError passes unchanged, because every process raises it; so do all errors if there is only one process.
    """
    try:
        yield
    except (BenchError, torch.OutOfMemoryError) as error:
        if size() == 1 or isinstance(error, DivergedError | LostError):
            raise
        raise LostError(f"{_name()}: {str(error).partition(chr(10))[0]}") from None


def broadcast(value: T) -> T:
    """Return the main process's value in every process."""
    if size() == 1:
        return value
    values = [value]
    with as_run_error():
        dist.broadcast_object_list(values, src=0)
    return values[0]


def any_rank(value: bool) -> bool:
    """Whether `value` is true in any process."""
    if size() == 1:
        return value
    most = torch.tensor(int(value))
    with as_run_error():
        dist.all_reduce(most, dist.ReduceOp.MAX)
    return bool(most)


def gather(value: T) -> list[T]:
    """Return every process's value, in order of rank, in the main process; nothing in the others."""
    if size() == 1:
        return [value]
    values: list[Any] | None = [None] * size() if is_main() else None
    with as_run_error():
        dist.gather_object(value, values, dst=0)
    return values or []


def main_first(make: Callable[[], T], key: Callable[[T], str]) -> T:
    """Call `make` in the main process first, then in the others, and check that `key` agrees in all of them.

    If `make` fails in any process, raises in all: its own error where it failed, RequestError in the others. Raises
    RequestError if keys differ.
    """
    if size() == 1:
        return make()
    made, own_key, error = [], "", None
    for turn in (True, False):
        if turn == is_main():
            try:
                made.append(make())
                own_key = key(made[0])
            except BenchError as raised:
                error = raised
        broadcast(None)
    outcomes: list[Any] = [None] * size()
    with as_run_error():
        dist.all_gather_object(outcomes, (_name(), None if error is None else str(error), own_key))
    if error is not None:
        raise error
    for name, failed, other_key in outcomes:
        if failed is not None:
            raise RequestError(f"{name}: {failed}")
        if other_key != own_key:
            raise RequestError(f"{name} would train or predict otherwise: other data, weights, device or threads.")
    return made[0]


@contextmanager
def hold_lease(claim: AbstractContextManager[Lease | None]) -> Iterator[Callable[[], None] | None]:
    """Yield the check of a lease that the main process holds for all; None where `claim` yields None."""
    if not is_main():
        yield (lambda: None) if broadcast(False) else None
        return
    with claim as lease:
        yield lease.check if broadcast(lease is not None) and lease is not None else None


def _name() -> str:
    return f"Process {rank()} of {size()} on {socket.gethostname()}"


@contextmanager
def as_run_error() -> Iterator[None]:
    """Raise LostError when another process is gone."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise LostError(f"{_name()}: another process of this run has ended; its message says why ({reason}).") from None
