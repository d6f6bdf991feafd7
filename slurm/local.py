"""This machine as a cluster: submitit's local executor, detached from the terminal. `scheduler` is its sibling."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from bench import registry
from bench.core.files import read_json
from bench.core.lease import Holder, describe_process
from bench.errors import RunError
from slurm.plan import Array
from slurm.profile import Resources
from slurm.submission import Sent, submit_ids
from slurm.worker import ArrayTask

_NEVER = 60 * 24 * 3650
"""A time limit in minutes that is never reached: a process runs many tasks, whose limits do not apply to it."""


def need() -> None:
    """Require nothing: this machine needs no further commands."""


def scripts(attempt: Path, arrays: Sequence[Array]) -> list[str]:
    """Return no scripts: there is no scheduler."""
    return []


def submit(attempt: Path) -> None:
    """Start the processes of an attempt in a separate session, which outlives the terminal. Raises RunError."""
    attempt.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join([str(registry.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with (attempt / "processes.log").open("ab") as log:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "slurm.local", str(attempt)],
            env={**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            check=False,
        )
    if done.returncode:
        raise RunError(f"Nothing was started; {log.name} says why.")


def find_end_reasons(sent: Iterable[Sent]) -> dict[str, list[str]]:
    """Return the reasons for which processes ended, by id."""
    return {one.id: ["Its process exited without reporting a result."] for one in sent if _holder(one).is_dead}


def find_waiting_reasons(sent: Iterable[Sent]) -> dict[str, str]:
    """Return no reasons: a job only waits for those before it."""
    return {}


def cancel(sent: Iterable[Sent]) -> None:
    """Kill processes, and those that they started, at once: files on disk are always whole.

    Raises RunError, before killing any, if one is on another machine or in another container.
    """
    holders = [*map(_holder, sent)]
    for holder in holders:
        if not holder.is_here:
            raise RunError(f"{holder} cannot be ended from here: cancel where it runs.")
    for holder in holders:
        if not holder.is_dead:
            with suppress(ProcessLookupError):
                os.killpg(os.getpgid(holder.pid), signal.SIGKILL)


def _holder(sent: Sent) -> Holder:
    return Holder(**(sent.process or {}))


def _start(attempt: Path) -> None:
    """Distribute the tasks of an attempt to as many processes as may run at a time."""
    from submitit.local.local import LocalExecutor

    arrays = read_json(attempt.with_suffix(".json"))["arrays"]
    tasks = [task for array in arrays for task in array["tasks"]]
    resources = [Resources.model_validate(array["resources"]) for array in arrays]
    lanes, gpus = min(one.parallel for one in resources), max(one.gpus for one in resources)
    sent: list[Sent] = []
    for lane in range(min(lanes, len(tasks))):
        jobs = tuple(number for task in tasks[lane::lanes] for number in task)
        executor = LocalExecutor(attempt)
        visible = tuple(range(lane * gpus, (lane + 1) * gpus))
        executor.update_parameters(timeout_min=_NEVER, gpus_per_node=gpus, visible_gpus=visible)
        job = executor.submit(ArrayTask(attempt, jobs))
        sent.append(Sent("local", job.job_id, jobs, asdict(describe_process(int(job.job_id)))))
        submit_ids(attempt, sent)


if __name__ == "__main__":
    _start(Path(sys.argv[1]))
