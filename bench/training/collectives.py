"""Arithmetic over several processes: their gradients sum to those of one process with the same global batch.

In a single process, all functions here are no-ops.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn, optim

from bench.training.process_group import as_run_error, broadcast, is_main, rank, size

_share = 1.0


def broadcast_state(method: nn.Module, optimiser: optim.Optimizer | None = None, more: Any = None) -> Any:
    """Copy the first process's method and optimiser state to every process, and return its `more` in each."""
    if size() == 1:
        return more
    file = io.BytesIO()
    if is_main():
        torch.save((method.state_dict(), optimiser.state_dict() if optimiser else None, more), file)
    sent = io.BytesIO(broadcast(file.getvalue()))
    weights, of_optimiser, more = torch.load(sent, map_location="cpu", weights_only=True)
    method.load_state_dict(weights)
    if optimiser is not None:
        optimiser.load_state_dict(of_optimiser)
    return more


def all_reduce(parameters: Sequence[nn.Parameter], terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """Sum gradients, in place, and terms (scalars) over processes; return the summed terms.

    A parameter that has no gradient in any process gets none.
    """
    if size() == 1:
        return terms
    there = torch.tensor([parameter.grad is not None for parameter in parameters])
    gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in parameters]
    flat = torch.cat([*(one.flatten() for one in gradients), *(one[None] for one in terms.values())])
    with as_run_error():
        dist.all_reduce(there, dist.ReduceOp.MAX)
        dist.all_reduce(flat)
    *sums, values = torch.split(flat, [*(one.numel() for one in gradients), len(terms)])
    for parameter, gradient, total, any_ in zip(parameters, gradients, sums, there.tolist(), strict=True):
        parameter.grad = gradient.copy_(total.view_as(gradient)) if any_ else None
    return dict(zip(terms, values.unbind(), strict=True))


@contextmanager
def loss_share(share: float) -> Iterator[None]:
    """Set this process's share of a pass's images for the block; 0 if its image is borrowed, and its loss ignored."""
    global _share
    before, _share = _share, share
    try:
        yield
    finally:
        _share = before


def all_gather(rows: Tensor) -> Tensor:
    """Gather the rows (n, ...) of all processes, for a loss that is not a mean over the images of a batch.

    A loss of the gathered rows is that of the whole batch. The harness weights a process's loss by its share of the
    images; gradients are scaled accordingly, so that they sum to those of one process.
    """
    return rows if size() == 1 else _AllGather.apply(rows, _share)


class _AllGather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, share: float) -> Tensor:
        own = rows.detach() if share else rows.detach()[:0]
        counts = [torch.zeros((), dtype=torch.int64) for _ in range(size())]
        with as_run_error():
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
    """Average the running statistics of batch normalisation, computed from each process's own images, over processes.

    Frozen statistics are skipped: the mean of three equal numbers often differs from them in the last bit.
    """
    for module in method.modules() if size() > 1 else ():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
            for statistic in (module.running_mean, module.running_var):
                if statistic is not None:
                    with as_run_error():
                        dist.all_reduce(statistic)
                    statistic.div_(size())
