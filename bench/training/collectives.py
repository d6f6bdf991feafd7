"""The mathematics of several processes: their gradients sum to those of one process with the same global batch.

In one process every function here does nothing.
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
    """Bring every process's method and optimiser to where the first one's are, and give all its `more`."""
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
    """Sum over processes: gradients in place, and terms (scalars).

    A parameter without a gradient in any process is left without.
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
    """Say what share of a pass's images this process has; 0 for one that stands in, whose loss counts nothing."""
    global _share
    before, _share = _share, share
    try:
        yield
    finally:
        _share = before


def all_gather(rows: Tensor) -> Tensor:
    """Rows (n, ...) of this process and of all the others, for a loss that is no mean over the images of a batch.

    What is computed from them is the whole batch's. Gradients arrive as the harness, which weighs a process's loss by
    its share of the images, needs them to sum to those of one process.
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
    """Average over processes the running statistics of batch normalisation, each process's of its own images.

    Statistics that are kept are left alone: the mean of three equal numbers is often another one in its last bit.
    """
    for module in method.modules() if size() > 1 else ():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
            for statistic in (module.running_mean, module.running_var):
                if statistic is not None:
                    with as_run_error():
                        dist.all_reduce(statistic)
                    statistic.div_(size())
