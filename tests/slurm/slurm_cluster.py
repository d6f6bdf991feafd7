"""What tests of a real SLURM share."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.files import Places
from slurm import status
from slurm.status import JobStatus
from slurm.submission import Submission, find

SCRIPT = Path(__file__).with_name("cluster.sh")
TINY = {"train": 8, "val": 4, "test": 6, "size": 64, "classes": 4}
DATA = ("--data", "shapes", "--data-option", ",".join(f"{key}={value}" for key, value in TINY.items()))
MEANS = ("--threads", "1", "--workers", "0", "--device", "cpu")
PROFILE = 'cpus = 1\nmemory = "1500M"\ntime = "0:10:00"\nparallel = 2\n'

WAIT = 600.0
"""Seconds after which a test gives up: many times what anything here takes on two idle cores."""


@dataclass(frozen=True)
class Checkout:
    """A copy of the code that nobody but its test edits; commands run in the folder that holds it."""

    folder: Path
    bench: Callable[..., Any]

    def __call__(self, *arguments: object, **environment: str) -> Any:
        """`python -m bench` of this copy."""
        return self.bench(*arguments, timeout=WAIT, PYTHONPATH=str(self.folder), **environment)

    @property
    def last(self) -> Submission:
        """The last submission."""
        return find(None, Places(self.folder.parent / "runs"))


def ask(*command: object) -> str:
    """What a command says, which has to end well."""
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True, timeout=120).stdout


def until(holds: Callable[[list[JobStatus]], bool], submission: Submission, seconds: float = WAIT) -> list[JobStatus]:
    """How the jobs of a submission are as soon as something holds of them."""
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        found = status.statuses(submission)
        if holds(found):
            return found
        time.sleep(0.5)
    raise TimeoutError(found)


def ended(found: list[JobStatus]) -> bool:
    """Whether every job has ended."""
    return {one.state for one in found} <= {"done", "failed", "cancelled"}


def wait_for(files: list[Path], seconds: float = WAIT) -> None:
    """Wait until all of some files are there."""
    begin = time.monotonic()
    while absent := [file.name for file in files if not file.exists()]:
        if time.monotonic() - begin > seconds:
            raise TimeoutError(absent)
        time.sleep(0.5)
