"""Facts about how a result was made that are not part of its address: revision, versions, device, memory, time."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.errors import format_count

PACKAGES = ("weakloc", "torch", "torchvision", "numpy", "opencv-contrib-python-headless", "pyarrow", "pillow")


def collect_provenance(device: str) -> dict[str, Any]:
    """Return revision and whether dirty, versions, device and driver; `device` is torch's name for it."""
    return {
        **read_code(),
        "packages": {name: _package_version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "platform": platform.platform(),
        **describe_device(device),
    }


def read_code() -> dict[str, Any]:
    """Return the revision of this package; see `read_revision`."""
    return read_revision(Path(__file__).resolve().parent.parent)


PACKAGED = ("bench/", "methods/", "protocols/", "slurm/")
"""Folders in which an untracked file is our code; elsewhere it is a user's data, or a plugin, with its own digest."""

NO_CODE = ("results", "docs", "tests", "bench/tracks/*.toml", "*.md")
"""Paths whose edits change no result: records contain their settings, and publishing one edits `results`."""

MOST_CHANGED = 20
"""The largest number of changed files that are recorded."""


def read_revision(folder: Path) -> dict[str, Any]:
    """Return git's revision of `folder`, whether code differs from it, and in which files; None without git.

    An installed package has no revision, even if its environment lies in a user's repository.
    """
    if not _run_git(folder, "ls-files", "--", "."):
        return {"revision": None, "dirty": None}
    head = _run_git(folder, "rev-parse", "HEAD")
    code = (":(top)", *(f":(top,exclude){name}" for name in NO_CODE))
    status = _run_git(folder, "status", "--porcelain", "--untracked-files=normal", "--", *code)
    if status is None:
        return {"revision": head, "dirty": None}
    changed = [line[3:] for line in status.splitlines() if not line.startswith("??") or line[3:].startswith(PACKAGED)]
    edits = {"dirty": True, "changed": changed[:MOST_CHANGED]} if changed else {"dirty": False}
    return {"revision": head, **edits}


def add_edits(own: Mapping[str, Any], earlier: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a provenance with the edits of the earlier steps that it builds on: it is dirty if one of them is."""
    dirty = [each for each in (own, *earlier) if each.get("dirty")]
    changed = dict.fromkeys(file for each in dirty for file in each.get("changed", ()))
    return {**own, "dirty": True, "changed": list(changed)} if dirty else dict(own)


def current_time() -> str:
    """Return the time, in UTC, to the second, in ISO format."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def peak_memory_mib() -> float:
    """Return the largest amount of memory that this process has held so far, in MiB."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _run_git(folder: Path, *arguments: str) -> str | None:
    try:
        process = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return process.stdout.rstrip() if process.returncode == 0 else None


def _package_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def describe_device(device: str) -> dict[str, Any]:
    """Return the name of a device, for a processor with the number of threads, and its driver."""
    import torch

    if device.startswith("cuda"):
        name = torch.cuda.get_device_name(device)
        return {"device": name, "driver": _nvidia_driver(), "cuda": torch.version.cuda}
    return {"device": f"{_processor_name()}, {format_count(torch.get_num_threads(), 'thread')}", "driver": None}


def _nvidia_driver() -> str | None:
    return _search_file(r"Kernel Module.*?(\d+\.\d+[.\d]*)", Path("/proc/driver/nvidia/version"))


def _processor_name() -> str:
    return _search_file(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo")) or platform.machine()


def processor_has(*flags: str) -> bool:
    """Return whether the processor lists any of these instruction sets; False where nothing is listed."""
    return _search_file(rf"^flags\s*:.*\b({'|'.join(flags)})\b", Path("/proc/cpuinfo")) is not None


def _search_file(pattern: str, path: Path) -> str | None:
    """Return the first group of a pattern in a file about this machine; None without a match or a file."""
    try:
        match = re.search(pattern, path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    except OSError:
        return None
    return match[1] if match else None
