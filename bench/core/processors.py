"""Processors that this process may use, and those that are idle."""

from __future__ import annotations

import os
import time
from pathlib import Path

SAMPLE_S = 0.3
"""Seconds over which the load is measured; the kernel's averages would include processes that have just ended."""


def count_free_processors(most: int) -> tuple[int, str]:
    """Return how many of `most` threads would have a processor of their own, and why not all; empty if all would.

    At least 1. More threads than that on a busy machine would all wait for the slowest.
    """
    allowed = max(1, min([most, *_list_limits()]))
    idle = measure_idle_processors()
    if idle is not None and (free := max(1, round(idle))) < allowed:
        return free, f"{allowed - free} of {allowed} processors are busy"
    return allowed, f"this process may use {allowed} of {most} processors" if allowed < most else ""


def _list_limits() -> list[int]:
    """Return the limits of the scheduler and of control groups."""
    affinity = [len(os.sched_getaffinity(0))] if hasattr(os, "sched_getaffinity") else []
    quota = read_cpu_quota()
    return affinity if quota is None else [*affinity, int(quota)]


def read_cpu_quota(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float | None:
    """Return the processors that control groups allow, of either version of them; None without a limit."""
    try:
        groups = dict(line.split(":", 2)[1:] for line in own.read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError):
        return None
    whole = [_read_quota(folder / "cpu.max") for folder in _list_folders(root, groups.get("", "/"))]
    older = next((path for names, path in groups.items() if "cpu" in names.split(",")), "/")
    whole += [
        _read_quota(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us")
        for folder in _list_folders(root / "cpu", older)
    ]
    return min((quota for quota in whole if quota is not None), default=None)


def _list_folders(root: Path, group: str) -> list[Path]:
    """Return the folder of a group and those above it, whose limits apply too."""
    inner = root / group.strip("/")
    return [folder for folder in (inner, *inner.parents) if folder == root or folder.is_relative_to(root)]


def _read_quota(*files: Path) -> float | None:
    """Return processors from a quota and a period; None where there is no limit."""
    try:
        quota, period, *_ = " ".join(file.read_text(encoding="utf-8") for file in files).split()
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # no such file, or "max"
        return None


def measure_idle_processors() -> float | None:
    """Measure how many of the processors that this process may use are idle; None if the kernel does not report it."""
    before = _read_times()
    time.sleep(SAMPLE_S)
    shares = [
        (idle - was_idle) / (total - was_total)
        for (idle, total), (was_idle, was_total) in zip(_read_times(), before, strict=False)
        if total > was_total
    ]
    return sum(shares) if shares else None


def _read_times(path: Path = Path("/proc/stat")) -> list[tuple[int, int]]:
    """Return the idle and the whole time of each processor that this process may use, in the kernel's ticks."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    rows = [line.split() for line in lines if line.startswith("cpu") and not line.startswith("cpu ")]
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(rows))
    times = [[int(value) for value in row[1:9]] for row in rows if int(row[0].removeprefix("cpu")) in usable]
    return [(sum(row[3:5]), sum(row)) for row in times]
