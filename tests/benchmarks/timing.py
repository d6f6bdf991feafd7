"""What the benchmarks measure with: both sides of a ratio in one run, so that a busy machine slows both."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from bench.core.provenance import peak_memory_mib


def times_faster(call: Callable[[], Any], reference: Callable[[], Any], rounds: int = 5) -> float:
    """How often `call` fits into the time of `reference`; printed for `pytest -rP`.

    Of each the least processor time of some rounds, what it takes when nobody interrupts. They run in turn, so that
    both meet the same neighbours, and the quick one, which a short disturbance spoils, three times a round.
    """
    mine, other = list[float](), list[float]()
    for _ in range(rounds):
        other.append(_seconds(reference))
        mine += [_seconds(call) for _ in range(3)]
    ratio = min(other) / min(mine)
    print(f"{min(mine):.4f} s, reference {min(other):.4f} s: {ratio:.3g} times as fast")
    return ratio


def _seconds(call: Callable[[], Any]) -> float:
    begin = time.process_time()
    call()
    return time.process_time() - begin


def peak_mib(call: Callable[..., Any], *arguments: Any) -> float:
    """The most memory, in MiB, that a fresh process holds which does nothing else; printed for `pytest -rP`."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        peak = pool.submit(_peak_after, call, *arguments).result()
    print(f"at most {peak:.0f} MiB")
    return peak


def _peak_after(call: Callable[..., Any], *arguments: Any) -> float:
    call(*arguments)
    status = Path("/proc/self/status")
    if not status.exists():
        return peak_memory_mib()
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024  # since its start: to `getrusage` it has been as large as who started it
