"""The attempts of a job. A task that is preempted, or loses its node, is started again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench.core.files import name_damage, read_json, write_json

OUT_OF_TIME = "Out of time."
TOLD = "Told to stop."
CANCELLED = "Cancelled."
PREEMPTED = "Preempted."


@dataclass(frozen=True)
class Attempt:
    """One attempt at a job.

    task: the scheduler's id. number: how often the task was started before. end: why it was stopped, if known.
    step: the step it was at when stopped, and where that step had started.
    """

    task: str
    number: int
    end: str = ""
    step: str = ""


def read_attempts(folder: Path) -> Sequence[Attempt]:
    """Read the attempts of a job so far, from its folder."""
    path = folder / "lives.json"
    with name_damage(path):
        return [Attempt(**fields) for fields in read_json(path)] if path.exists() else []


def get_current_attempt() -> Attempt:
    """Return the attempt that this process belongs to."""
    from submitit import JobEnvironment

    return Attempt(JobEnvironment().job_id, int(os.environ.get("SLURM_RESTART_COUNT", 0)))


def begin(folder: Path) -> None:
    """Record the beginning of an attempt at a job."""
    _write(folder, [*read_attempts(folder), get_current_attempt()])


def stop(folder: Path, why: str) -> bool:
    """Record why this attempt at a job is stopped; return whether another attempt would make no progress."""
    *before, last = [Attempt("", 0), *read_attempts(folder)]
    if not _is_this(last):
        return False
    progress = folder / "progress.json"
    state = read_json(progress) if progress.exists() else {"title": "its beginning", "start": 0}
    last = replace(last, end=why, step="{title} from {start}".format(**state))
    _write(folder, [*before[1:], last])
    return why == OUT_OF_TIME and replace(before[-1], number=last.number) == last


def was_stopped(folder: Path) -> bool:
    """Return whether this attempt at a job was asked to stop."""
    past = read_attempts(folder)
    return bool(past) and _is_this(past[-1]) and past[-1].end != ""


def _is_this(attempt: Attempt) -> bool:
    return replace(attempt, end="", step="") == get_current_attempt()


def _write(folder: Path, all_of_them: Sequence[Attempt]) -> None:
    write_json(folder / "lives.json", [asdict(one) for one in all_of_them])
