"""One run in several processes, on one machine or many: what `torchrun`, or a cluster's job, has started.

Every process does the same, on its part of each batch and of the images to predict. The first one leads: it alone
claims, writes and speaks. In one process every function here does nothing.
"""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn, optim

from bench.errors import BenchError, DivergedError, LostError, RequestError
from bench.lease import Lease

T = TypeVar("T")

PATIENCE = timedelta(days=7)
"""How long processes wait for one another: the first may have to wait for another run's lease."""

_share = 1.0


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Join the processes that `torchrun`'s variables (RANK, WORLD_SIZE, MASTER_ADDR ...) tell of, during the block.

    Raises RequestError if the others cannot be reached.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    except (ValueError, RuntimeError) as error:
        said = str(error).partition("\n")[0]
        raise RequestError(f"WORLD_SIZE is set, but the other processes are not there ({said}): use torchrun") from None
    try:
        yield
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def leads() -> bool:
    """Whether this is the first process."""
    return rank() == 0


@contextmanager
def together() -> Iterator[None]:
    """What fails in the block fails in this process alone, and ends them all: raises LostError.

    But for DivergedError: every process finds the same loss.
    """
    try:
        yield
    except (BenchError, torch.OutOfMemoryError) as error:
        if size() == 1 or isinstance(error, DivergedError | LostError):
            raise
        raise LostError(f"{_name()}: {str(error).partition(chr(10))[0]}") from None


def decided(value: T) -> T:
    """What the first process says."""
    if size() == 1:
        return value
    told = [value]
    with _talk():
        dist.broadcast_object_list(told, src=0)
    return told[0]


def anyone(value: bool) -> bool:
    """Whether any process says so."""
    if size() == 1:
        return value
    told = torch.tensor(int(value))
    with _talk():
        dist.all_reduce(told, dist.ReduceOp.MAX)
    return bool(told)


def collected(value: T) -> list[T]:
    """What each process says, in order, for the first one; nothing for the others."""
    if size() == 1:
        return [value]
    told: list[Any] | None = [None] * size() if leads() else None
    with _talk():
        dist.gather_object(value, told, dst=0)
    return told or []


def everywhere(make: Callable[[], T], key: Callable[[T], str]) -> T:
    """What each process makes, the first one before the others, and of which `key` is everywhere the same.

    Raises everywhere what `make` raises anywhere, and RequestError where keys differ.
    """
    if size() == 1:
        return make()
    made, said, error = [], "", None
    for turn in (True, False):
        if turn == leads():
            try:
                made.append(make())
                said = key(made[0])
            except BenchError as raised:
                error = raised
        decided(None)
    told: list[Any] = [None] * size()
    with _talk():
        dist.all_gather_object(told, (_name(), None if error is None else str(error), said))
    if error is not None:
        raise error
    for name, failed, other in told:
        if failed is not None:
            raise RequestError(f"{name}: {failed}")
        if other != said:
            raise RequestError(f"{name} would train or predict otherwise: other data, weights, device or threads.")
    return made[0]


@contextmanager
def claimed(claim: AbstractContextManager[Lease | None]) -> Iterator[Callable[[], None] | None]:
    """What checks a lease, which the first process takes for all (the others check nothing); None as from `claim`."""
    if not leads():
        yield (lambda: None) if decided(False) else None
        return
    with claim as lease:
        yield lease.check if decided(lease is not None) and lease is not None else None


def spread(method: nn.Module, optimiser: optim.Optimizer | None = None, more: T | None = None) -> T | None:
    """Bring every process's method and optimiser to where the first one's are, and give all its `more`."""
    if size() == 1:
        return more
    file = io.BytesIO()
    if leads():
        torch.save((method.state_dict(), optimiser.state_dict() if optimiser else None, more), file)
    sent = io.BytesIO(decided(file.getvalue()))
    weights, of_optimiser, more = torch.load(sent, map_location="cpu", weights_only=True)
    method.load_state_dict(weights)
    if optimiser is not None:
        optimiser.load_state_dict(of_optimiser)
    return more


def summed(parameters: Sequence[nn.Parameter], terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """The sums over processes: of gradients, in their place, and of terms (scalars).

    A parameter without a gradient in any process is left without.
    """
    if size() == 1:
        return terms
    there = torch.tensor([parameter.grad is not None for parameter in parameters])
    gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in parameters]
    flat = torch.cat([*(one.flatten() for one in gradients), *(one[None] for one in terms.values())])
    with _talk():
        dist.all_reduce(there, dist.ReduceOp.MAX)
        dist.all_reduce(flat)
    *sums, values = flat.split([*(one.numel() for one in gradients), len(terms)])
    for parameter, gradient, total, any_ in zip(parameters, gradients, sums, there.tolist(), strict=True):
        parameter.grad = gradient.copy_(total.view_as(gradient)) if any_ else None
    return dict(zip(terms, values.unbind(), strict=True))


@contextmanager
def sharing(share: float) -> Iterator[None]:
    """Say what share of a pass's images this process has; 0 for one that stands in, whose loss counts nothing."""
    global _share
    before, _share = _share, share
    try:
        yield
    finally:
        _share = before


def gathered(rows: Tensor) -> Tensor:
    """Rows (n, ...) of this process and of all the others, for a loss that is no mean over the images of a batch.

    What is computed from them is the whole batch's. Gradients arrive as the harness, which weighs a process's loss by
    its share of the images, needs them to sum to those of one process.
    """
    return rows if size() == 1 else _Gathered.apply(rows, _share)  # type: ignore[no-any-return, no-untyped-call]


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, share: float) -> Tensor:
        own = rows.detach() if share else rows.detach()[:0]
        counts = [torch.zeros((), dtype=torch.int64) for _ in range(size())]
        with _talk():
            dist.all_gather(counts, torch.tensor(len(own)))
            most = max(map(int, counts))
            padded = torch.cat([own, own.new_zeros((most - len(own), *own.shape[1:]))])
            parts = [torch.empty_like(padded) for _ in counts]
            dist.all_gather(parts, padded)
        ctx.first, ctx.share, ctx.shape = sum(map(int, counts[: rank()])), share, rows.shape
        return torch.cat([part[: int(count)] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        if not ctx.share:
            return gradients[0].new_zeros(ctx.shape), None
        return gradients[0][ctx.first : ctx.first + ctx.shape[0]] / ctx.share, None


def average_statistics(method: nn.Module) -> None:
    """Average over processes the running statistics of batch normalisation, each process's of its own images."""
    for module in method.modules() if size() > 1 else ():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            for statistic in (module.running_mean, module.running_var):
                with _talk():
                    dist.all_reduce(statistic)
                statistic.div_(size())  # type: ignore[union-attr]


def _name() -> str:
    return f"Process {rank()} of {size()} on {socket.gethostname()}"


@contextmanager
def _talk() -> Iterator[None]:
    """Raise LostError when another process is gone."""
    try:
        yield
    except RuntimeError as error:
        said = str(error).partition("\n")[0]
        raise LostError(f"{_name()}: another process of this run has ended; its message says why ({said}).") from None
