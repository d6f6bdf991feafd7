"""The lives of a job: each time that it was begun. A task that is preempted, or loses its node, is begun again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench.core.files import read_json, write_json

OUT_OF_TIME = "Out of time."
TOLD = "Told to stop."


@dataclass(frozen=True)
class Life:
    """One time that a job was begun.

    task: the scheduler's id. number: how often the task was begun before. end: why it was stopped, where it was told.
    step: what it did then, and from where on.
    """

    task: str
    number: int
    end: str = ""
    step: str = ""


def lives(folder: Path) -> Sequence[Life]:
    """Read the attempts of a job so far, from its folder."""
    path = folder / "lives.json"
    return [Life(**said) for said in read_json(path)] if path.exists() else []


def this() -> Life:
    """Return the attempt that this process belongs to."""
    from submitit import JobEnvironment

    return Life(JobEnvironment().job_id, int(os.environ.get("SLURM_RESTART_COUNT", 0)))


def begin(folder: Path) -> None:
    """Write down that a job is begun."""
    _write(folder, [*lives(folder), this()])


def stop(folder: Path, why: str) -> bool:
    """Write down why a job is stopped, if it is this life's; whether another would bring it no further."""
    *before, last = [Life("", 0), *lives(folder)]
    if not _is_this(last):
        return False
    progress = folder / "progress.json"
    said = read_json(progress) if progress.exists() else {"title": "its beginning", "start": 0}
    last = replace(last, end=why, step="{title} from {start}".format(**said))
    _write(folder, [*before[1:], last])
    return why == OUT_OF_TIME and replace(before[-1], number=last.number) == last


def was_stopped(folder: Path) -> bool:
    """Whether this life of a job was told to stop."""
    past = lives(folder)
    return bool(past) and _is_this(past[-1]) and past[-1].end != ""


def _is_this(life: Life) -> bool:
    return replace(life, end="", step="") == this()


def _write(folder: Path, all_of_them: Sequence[Life]) -> None:
    write_json(folder / "lives.json", [asdict(one) for one in all_of_them])
