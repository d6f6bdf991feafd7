"""The compute device, its arithmetic, and random numbers that depend only on the position in the run."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from bench.core.provenance import processor_has
from bench.errors import RequestError

INITIAL, PLAN, STEP = 0, 1, 2
"""The purpose of random numbers: the first component of every key."""


def pick_device(name: str) -> torch.device:
    """Pick a device by torch's name; `auto` is a GPU (each process's own) or, without one, the CPU.

    Raises RequestError for a device that this machine does not have.
    """
    if name == "auto" and not torch.cuda.is_available():
        return torch.device("cpu")
    if name == "auto":
        local = os.environ.get("LOCAL_RANK")
        return torch.device("cuda") if local is None else torch.device("cuda", int(local) % torch.cuda.device_count())
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        raise RequestError(f"Device {name!r} is not usable here: {str(error).splitlines()[0]}") from None


REPEAT_S = 1.0
"""Seconds within which further signals count as the same request: torchrun forwards a Ctrl-C to its processes, which
receive it from the terminal as well."""


@contextmanager
def catch_interrupts() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether SIGTERM or Ctrl-C was received; raise KeyboardInterrupt after the block.

    A further signal more than `REPEAT_S` after the first interrupts the block at once. Signals that were ignored before
    stay ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    came: list[float] = []

    def remember(*_: object) -> None:
        came.append(time.monotonic())
        if came[-1] - came[0] > REPEAT_S:
            raise KeyboardInterrupt

    handled = [one for one in (signal.SIGTERM, signal.SIGINT) if signal.getsignal(one) not in (signal.SIG_IGN, None)]
    before = {one: signal.signal(one, remember) for one in handled}
    try:
        yield lambda: bool(came)
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    if came:
        raise KeyboardInterrupt


@contextmanager
def use_deterministic_algorithms(device: torch.device) -> Iterator[None]:
    """On a CPU, use only algorithms that are reproducible to the last bit during the block."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(device.type == "cpu")
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def resolve_precision(precision: str, device: torch.device) -> str:
    """Resolve `auto` for a device: bfloat16 if it is native there, else float32."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if processor_has("amx_bf16", "avx512_bf16") else "float32"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which a network computes its forward pass in this precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def entropy(purpose: int, seed: int, epoch: int = 0, step: int = 0, rank: int = 0) -> np.random.SeedSequence:
    """Return the seed for one purpose at one point of a run: the same after a resume and for any number of workers.

    rank: that of the process, where processes draw independently.
    """
    return np.random.SeedSequence((purpose, seed, epoch, step, rank) if rank else (purpose, seed, epoch, step))


def seed_torch(purpose: int, seed: int, epoch: int = 0, step: int = 0, rank: int = 0) -> None:
    """Set torch's random state (initial weights, dropout, a method's own draws) for one point of a run."""
    state = entropy(purpose, seed, epoch, step, rank).generate_state(1, np.uint64)[0]
    torch.manual_seed(int(state >> np.uint64(1)))


FEW_CHANNELS = 16
"""On some processors, torch 2.14 writes out of bounds in the backward pass of a strided pointwise convolution with
fewer input channels than this, in the channels-last layout."""


def place(method: nn.Module, device: torch.device) -> None:
    """Move a method to a device, channels last except in layers that would crash in this layout."""
    method.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    for layer in method.modules() if device.type == "cpu" else ():
        if isinstance(layer, nn.Conv2d) and _is_crashing(layer):
            layer.weight.data = layer.weight.data.clone(memory_format=torch.contiguous_format)
            if _lay_out_plainly not in layer._forward_pre_hooks.values():
                layer.register_forward_pre_hook(_lay_out_plainly)


def _is_crashing(layer: nn.Conv2d) -> bool:
    return layer.kernel_size == (1, 1) and max(layer.stride) > 1 and layer.in_channels < FEW_CHANNELS


def _lay_out_plainly(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Lay out images (B, K, h, w) with channels first."""
    return tuple(one.contiguous() for one in given)


def to_input(image: Tensor, device: torch.device) -> Tensor:
    """Bytes (B, 3, H, W) as float32 in [0, 1] on a device, channels last."""
    moved = image.to(device, non_blocking=True)
    return moved.to(torch.float32, memory_format=torch.channels_last).div_(255)
