"""The machine-independent cost of a method: its parameters, and the floating-point operations per image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bench.method import MapMethod, ProposalMethod
from bench.training.predict import Split, predict_part


def measure_size(
    method: MapMethod | ProposalMethod, split: Split, kinds: Sequence[str], device: torch.device
) -> dict[str, float]:
    """Count the parameters of a method, frozen ones too, and the operations of predicting the first image."""
    live = replace(split, features=None)  # from cached features a net would cost nothing
    with torch.inference_mode():
        flops = count_flops(lambda: predict_part(method, live, kinds, range(1), device, workers=0))
    return {"parameters": float(count_parameters(method)), "flops": float(flops)}


def count_parameters(method: torch.nn.Module) -> int:
    """Count the parameters of a method, frozen ones too."""
    return sum(parameter.numel() for parameter in method.parameters())


def count_flops(work: Callable[[], object]) -> int:
    """Count floating-point operations by PyTorch's formulas; a multiplication and an addition count as two.

    The formulas cover only convolutions, matrix products and attention, forward and backward: nearly all of a net's
    operations, and none of those outside PyTorch.
    """
    counter = _Counter()
    with counter:
        work()
    return counter.total


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums operations; unlike PyTorch's own counter, does not track modules, which fails where gradients are taken."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        formula = flop_registry.get(func._overloadpacket)
        if formula is None and torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
            with self:
                return func.decompose(*args, **given)  # inference mode does not decompose linear layers itself
        result = func(*args, **given)
        if formula is not None:
            self.total += int(formula(*args, **given, out_val=result))
        return result
