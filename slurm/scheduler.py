"""SLURM as a cluster: submitit's SLURM executor, one array per set of resources. `local` is its sibling."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.core.files import read_json
from bench.errors import RequestError, RunError, format_count
from slurm import worker
from slurm.attempts import CANCELLED, OUT_OF_TIME, PREEMPTED, TOLD
from slurm.plan import Array
from slurm.profile import Resources
from slurm.submission import Sent, submit_ids

if TYPE_CHECKING:
    from submitit.slurm.slurm import SlurmExecutor

TIMEOUTS = 1000
"""How often a task that was told to stop is sent out again, to continue from its checkpoint."""

WARNING = 90
"""Seconds before its time limit at which a task is told to stop; a quarter of the limit if that is less."""

_ALIVE = {"PENDING", "RUNNING", "REQUEUED", "REQUEUE_HOLD", "COMPLETING", "CONFIGURING", "SUSPENDED"}
_REASONS = {
    "OUT_OF_MEMORY": "Out of memory.",
    "TIMEOUT": OUT_OF_TIME,
    "NODE_FAIL": "Its node failed.",
    "PREEMPTED": PREEMPTED,
    "CANCELLED": CANCELLED,
    "COMPLETED": "Exited without reporting a result.",
    "KILLED": "Killed by signal 9, as the system does when memory runs out (resubmit --resource memory=...).",
    "BOOT_FAIL": "Its node failed to boot.",
    "DEADLINE": "Its deadline passed.",
}

_HELD = "Held in the queue ({}): scontrol release {}, or cancel and resubmit."
_WAITS = {
    "JobHeldUser": _HELD,
    "JobHeldAdmin": _HELD,
    "launch failed requeued held": _HELD,
    "ReqNodeNotAvail": "No node that it asks for is available ({}).",
    "PartitionDown": "Its partition is down ({}).",
    "PartitionTimeLimit": "It asks for more time than its partition allows ({}): cancel, resubmit --resource time=...",
    "PartitionNodeLimit": "It asks for more nodes than its partition allows ({}).",
    "AssocGrpCpuLimit": "Its account has reached a limit ({}).",
    "QOSMaxJobsPerUserLimit": "You have as many jobs as the queue allows ({}).",
}
"""Descriptions of squeue's reasons that need a user's action; others, such as Priority, resolve by themselves."""


class SlurmTask(worker.ArrayTask):
    """A task that can query SLURM."""

    def cause(self) -> str:
        """Return why SLURM ends this task: preempted, or told to stop (requeued, say), or out of time."""
        job = os.environ["SLURM_JOB_ID"]
        shown = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, check=False).stdout
        if "PreemptTime=" in shown and "PreemptTime=None" not in shown:
            return PREEMPTED
        return TOLD if _has_time_left(shown) else OUT_OF_TIME


def need() -> None:
    """Raise RequestError unless SLURM's commands are available."""
    if absent := [command for command in ("sbatch", "srun") if shutil.which(command) is None]:
        raise RequestError(
            f"No {' and no '.join(absent)} on this machine: submit where SLURM's commands are, look at the plan with "
            "--dry-run, or use this machine with --cluster local."
        )


def scripts(attempt: Path, arrays: Sequence[Array]) -> list[str]:
    """Return the sbatch script of each array."""
    found = []
    for array in arrays:
        executor = _executor(attempt, array.resources)
        if len(array.tasks) > 1:
            executor.parameters["map_count"] = len(array.tasks)
        found.append(executor._make_submission_file_text(executor._submitit_command_str, ""))
    return found


def submit(attempt: Path) -> None:
    """Submit the arrays of an attempt by sbatch. Raises RunError with its message."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    sent: list[Sent] = []
    for array in read_json(attempt.with_suffix(".json"))["arrays"]:
        tasks = [SlurmTask(attempt, tuple(jobs)) for jobs in array["tasks"]]
        executor = _executor(attempt, Resources.model_validate(array["resources"]))
        try:
            taken = executor.submit_array(tasks)
        except (FailedJobError, FailedSubmissionError) as error:
            raise RunError(_describe_refusal(attempt, len(sent), str(error))) from None
        sent += [Sent("slurm", job.job_id, task.jobs) for job, task in zip(taken, tasks, strict=True)]
        submit_ids(attempt, sent)


def _describe_refusal(attempt: Path, taken: int, reason: str) -> str:
    """Describe sbatch's error, how much of the submission it took before, and how to send the rest."""
    name = attempt.parent.parent.name
    message = "; ".join(filter(None, (line.strip() for line in reason.splitlines()))) or "it said nothing"
    arrays = read_json(attempt.with_suffix(".json"))["arrays"]
    tasks = sum(len(array["tasks"]) for array in arrays)
    return (
        f"sbatch refused: {message}. Submission {name} is written, and {taken} of its {format_count(tasks, 'task')} "
        f"were taken: `resubmit {name}` sends the rest, with --resource pack=N as fewer tasks of N jobs each. Do not "
        "submit again: it would compute the same twice."
    )


def find_end_reasons(sent: Iterable[Sent]) -> dict[str, list[str]]:
    """Return why each attempt of a task ended, by id, in order; empty for one that is running.

    Tasks that neither the queue nor accounting knows are left out, since accounting may be late. Without accounting,
    tasks that are not in the queue have ended. Raises RunError if the queue cannot be queried.
    """
    ids = sorted({one.id for one in sent})
    queued = _list_queued()
    try:
        states = _states(ids)
    except RunError as error:
        return {name: [str(error)] for name in ids if name not in queued}
    found = {}
    for name, past in states.items():
        if name in queued and past[-1] not in _ALIVE:  # sent out again, which accounting does not know yet
            past = [*past, "PENDING"]
        unknown = f"SLURM says {{}}: see attempts/*/{name}_0_log.err."
        found[name] = ["" if state in _ALIVE else _REASONS.get(state, unknown.format(state)) for state in past]
    return found


def cancel(sent: Iterable[Sent]) -> None:
    """Cancel tasks. Raises RunError with scancel's message."""
    done = subprocess.run(["scancel", *sorted({one.id for one in sent})], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(f"scancel refused: {done.stderr.strip()}")


def find_waiting_reasons(sent: Iterable[Sent]) -> dict[str, str]:
    """Return the reasons, by id, of tasks that wait for a user's action. Raises RunError as `find_end_reasons`."""
    queued = _list_queued()
    found = {}
    for name in {one.id for one in sent} & queued.keys():
        reason = queued[name].strip("()")
        if words := next((words for key, words in _WAITS.items() if reason.startswith(key)), ""):
            found[name] = words.format(reason, name)
    return found


def _has_time_left(shown: str) -> bool:
    """Return whether the end of a job, as in the output of `scontrol show job`, is well after now."""
    end = re.search(r"\bEndTime=(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)", shown)
    return end is not None and (datetime.fromisoformat(end[1]) - datetime.now()).total_seconds() > 2 * WARNING


def _list_queued() -> dict[str, str]:
    """List the jobs in the queue, each with the reason why it waits. Raises RunError."""
    lines = _answer(
        ["squeue", "--me", "--noheader", "--array", "--format=%i|%r"], "nobody knows what runs"
    ).splitlines()
    return {name.strip(): reason.strip() for name, _, reason in (line.partition("|") for line in lines)}


def _states(ids: Sequence[str]) -> dict[str, list[str]]:
    """Read the states of each attempt, in order, from accounting; `KILLED` for those that signal 9 ended.

    Raises RunError if there is no accounting.
    """
    arrays = ",".join(sorted({name.partition("_")[0] for name in ids}))
    if not arrays:
        return {}
    asked = ["sacct", "-X", "--duplicates", "-j", arrays, "-o", "JobID,State,ExitCode", "--parsable2", "--noheader"]
    found: defaultdict[str, list[str]] = defaultdict(list)
    for line in _answer(asked, "it ended, and nobody knows why").splitlines():
        name, state, code, *_ = [*line.split("|"), "", ""]
        if name in ids:
            is_killed = state == "FAILED" and code in ("0:9", "137:0")
            found[name].append("KILLED" if is_killed else state.partition(" ")[0])
    return dict(found)


def _answer(command: Sequence[str], without: str) -> str:
    """Run a SLURM command and return its output. Raises RunError, which explains the consequence."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise RunError(f"{command[0]} does not answer ({error}): {without}.") from None
    if done.returncode:
        raise RunError(f"{command[0]} refused ({done.stderr.strip()}): {without}.")
    return done.stdout


def _executor(attempt: Path, resources: Resources) -> SlurmExecutor:
    """submitit's executor with the resources, on any machine."""
    from submitit.slurm import slurm

    class Anywhere(slurm.SlurmExecutor):  # type: ignore[misc, unused-ignore]
        """An executor that does not require srun: `need` checks for it, and a plan can do without."""

        @classmethod
        def affinity(cls) -> int:
            return 2

    executor = Anywhere(attempt, max_num_timeout=TIMEOUTS)
    executor.update_parameters(**_parameters(attempt, resources))
    return executor


def _parameters(attempt: Path, resources: Resources) -> dict[str, Any]:
    """Return the resources under submitit's names, without those that have no value."""
    wanted = {
        "job_name": f"weakloc-{attempt.parent.parent.name}",
        "time": resources.minutes,
        "signal_delay_s": min(WARNING, resources.minutes * 15),
        "array_parallelism": resources.parallel,
        "partition": resources.partition,
        "account": resources.account,
        "nodes": resources.nodes,
        "ntasks_per_node": resources.processes,
        "gpus_per_node": resources.gpus * resources.processes or None,
        "cpus_per_task": resources.cpus,
        "mem": resources.memory,
        "constraint": resources.constraint,
        "additional_parameters": dict(map(_option, resources.sbatch)) or None,
        "setup": [*resources.setup, f"export PYTHONSAFEPATH=1 PYTHONPATH={_import_path()}"],
    }
    return {key: value for key, value in wanted.items() if value is not None}


def _option(line: str) -> tuple[str, str | bool]:
    """Convert an sbatch option to the form that submitit takes.

    >>> _option("--mail-type=END"), _option("#SBATCH --exclusive"), _option("--gres gpu:1")
    (('mail-type', 'END'), ('exclusive', True), ('gres', 'gpu:1'))
    """
    key, *value = re.split(r"\s*=\s*|\s+", line.removeprefix("#SBATCH").strip().removeprefix("--"), maxsplit=1)
    return (key, value[0]) if value else (key, True)


def _import_path() -> str:
    """Return an import path with the submitted code first, then the environment."""
    return f"{shlex.quote(str(registry.ROOT))}${{PYTHONPATH:+:$PYTHONPATH}}"
