"""SLURM as a cluster: submitit's SLURM executor, an array for what asks for the same. `local` is its sibling."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.errors import RequestError, RunError
from bench.files import read_json
from slurm.plan import Array
from slurm.profile import Resources
from slurm.submission import Sent, submit_ids
from slurm.worker import Task

if TYPE_CHECKING:
    from submitit.slurm.slurm import SlurmExecutor

TIMEOUTS = 50
"""How often a task that ran out of time is sent out again: it goes on from its checkpoint."""

_ALIVE = {"PENDING", "RUNNING", "REQUEUED", "REQUEUE_HOLD", "COMPLETING", "CONFIGURING", "PREEMPTED", "SUSPENDED"}
_REASONS = {
    "OUT_OF_MEMORY": "Out of memory.",
    "TIMEOUT": "Out of time.",
    "NODE_FAIL": "Its node failed.",
    "CANCELLED": "Cancelled.",
    "COMPLETED": "It ended without a word.",
}


def need() -> None:
    """Raise RequestError unless there is a SLURM to submit to."""
    if absent := [command for command in ("sbatch", "srun") if shutil.which(command) is None]:
        raise RequestError(
            f"No {' and no '.join(absent)} on this machine: submit where SLURM's commands are, look at the plan with "
            "--dry-run, or use this machine with --cluster local."
        )


def scripts(attempt: Path, arrays: Sequence[Array]) -> list[str]:
    """What sbatch would be given, an array each."""
    found = []
    for array in arrays:
        executor = _executor(attempt, array.resources)
        if len(array.tasks) > 1:
            executor.parameters["map_count"] = len(array.tasks)
        found.append(executor._make_submission_file_text(executor._submitit_command_str, ""))
    return found


def submit(attempt: Path) -> None:
    """Hand the arrays of an attempt to sbatch. Raises RunError with what it said."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    sent: list[Sent] = []
    for array in read_json(attempt.with_suffix(".json"))["arrays"]:
        tasks = [Task(attempt, tuple(jobs)) for jobs in array["tasks"]]
        executor = _executor(attempt, Resources.model_validate(array["resources"]))
        try:
            taken = executor.submit_array(tasks)
        except (FailedJobError, FailedSubmissionError) as error:
            raise RunError(f"sbatch refused: {str(error).strip() or 'it said nothing'}") from None
        sent += [Sent("slurm", job.job_id, task.jobs) for job, task in zip(taken, tasks, strict=True)]
        submit_ids(attempt, sent)


def ended(sent: Iterable[Sent]) -> dict[str, str]:
    """Why those that ended did, by id, as accounting says; it says nothing of those that it does not know yet."""
    ids = sorted({one.id for one in sent})
    reasons = {}
    for name, state in _states(ids).items():
        if state and state not in _ALIVE:
            reasons[name] = _REASONS.get(state, f"SLURM says {state}.")
    return reasons


def cancel(sent: Iterable[Sent]) -> None:
    """Cancel tasks. Raises RunError with what scancel said."""
    done = subprocess.run(["scancel", *sorted({one.id for one in sent})], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(f"scancel refused: {done.stderr.strip()}")


def _states(ids: Sequence[str]) -> dict[str, str]:
    """The states that sacct knows. Raises RunError where there is no accounting to ask."""
    from submitit.slurm.slurm import SlurmInfoWatcher

    arrays = ",".join(sorted({name.partition("_")[0] for name in ids}))
    command = ["sacct", "-X", "-j", arrays, "-o", "JobID,State", "--parsable2"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise RunError(f"sacct does not answer ({error}): what waits and what died cannot be told apart.") from None
    if done.returncode:
        raise RunError(
            f"sacct refused ({done.stderr.strip()}): without accounting, what waits and what died cannot be told apart."
        )
    told = SlurmInfoWatcher().read_info(done.stdout)
    return {name: told[name]["State"].partition(" ")[0] for name in ids if name in told}


def _executor(attempt: Path, resources: Resources) -> SlurmExecutor:
    """submitit's executor with the resources, on any machine."""
    from submitit.slurm import slurm

    class Anywhere(slurm.SlurmExecutor):  # type: ignore[misc, unused-ignore]
        """That which does not look for srun: `need` does, and a plan needs none."""

        @classmethod
        def affinity(cls) -> int:
            return 2

    executor = Anywhere(attempt, max_num_timeout=TIMEOUTS)
    executor.update_parameters(**_parameters(attempt, resources))
    return executor


def _parameters(attempt: Path, resources: Resources) -> dict[str, Any]:
    """Resources by submitit's names; keys without a value stay away."""
    wanted = {
        "job_name": f"weakloc-{attempt.parent.parent.name}",
        "time": resources.minutes,
        "array_parallelism": resources.parallel,
        "partition": resources.partition,
        "account": resources.account,
        "gpus_per_node": resources.gpus or None,
        "cpus_per_task": resources.cpus,
        "mem": resources.memory,
        "constraint": resources.constraint,
        "additional_parameters": dict(map(_option, resources.sbatch)) or None,
        "setup": [*resources.setup, f"export PYTHONSAFEPATH=1 PYTHONPATH={_import_path()}"],
    }
    return {key: value for key, value in wanted.items() if value is not None}


def _option(line: str) -> tuple[str, str | bool]:
    """An option of sbatch as submitit takes it.

    >>> _option("--mail-type=END"), _option("#SBATCH --exclusive")
    (('mail-type', 'END'), ('exclusive', True))
    """
    key, equals, value = line.removeprefix("#SBATCH").strip().removeprefix("--").partition("=")
    return (key, value) if equals else (key, True)


def _import_path() -> str:
    """The code that was submitted first, then what the environment has."""
    return f"{shlex.quote(str(registry.ROOT))}${{PYTHONPATH:+:$PYTHONPATH}}"
