"""What the benchmarks measure with: both sides of a ratio in one run, so that a busy machine slows both."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from bench.provenance import peak_memory_mib


def seconds(call: Callable[[], Any], repeats: int) -> float:
    """The least processor time of some runs: what it takes when nobody interrupts."""
    taken = []
    for _ in range(repeats):
        begin = time.process_time()
        call()
        taken.append(time.process_time() - begin)
    return min(taken)


def times_faster(call: Callable[[], Any], reference: Callable[[], Any], rounds: int) -> float:
    """How often `call` fits into the time of `reference`: the least of each, run in turn; printed for `pytest -rP`."""
    mine, other = zip(*[(seconds(call, 5), seconds(reference, 1)) for _ in range(rounds)], strict=True)
    print(f"{min(mine):.3f} s, reference {min(other):.3f} s: {min(other) / min(mine):.1f} times faster")
    return min(other) / min(mine)


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
