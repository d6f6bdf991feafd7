"""Determine the status of the jobs of a submission from its files and from the cluster."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from bench.core.files import read_json
from bench.core.lease import find_holder
from bench.errors import RunError
from slurm import local, scheduler
from slurm.attempts import CANCELLED, TOLD, read_attempts
from slurm.submission import Sent, Submission

CLUSTERS = {"local": local, "slurm": scheduler}

State = Literal["waiting", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class JobStatus:
    """The status of one job. progress: that of its file, while it runs. reason: why it failed or waits, if known.

    restarts: why it had to be started again, each time.
    """

    number: int
    state: State
    reason: str = ""
    progress: dict[str, Any] | None = None
    restarts: tuple[str, ...] = ()


def statuses(submission: Submission) -> list[JobStatus]:
    """Return the status of every job, in order."""
    sent, numbers = submission.list_sent(), range(len(submission.jobs))
    asked = [number for number in numbers if number in sent and _has_to_be_asked(submission, number)]
    ends, waits = _read_reasons(sent[number] for number in asked)
    return [_status(submission, number, sent.get(number), ends, waits) for number in numbers]


def cancel(submission: Submission) -> list[int]:
    """Cancel the jobs that have not ended; return their numbers."""
    sent = submission.list_sent()
    live = [one.number for one in statuses(submission) if one.state in ("waiting", "running")]
    for cluster, tasks in _by_cluster(sent[number] for number in live if number in sent).items():
        CLUSTERS[cluster].cancel(tasks)
    cancelled = [number for number in live if submission.outcome(number) is None]
    for number in cancelled:
        submission.end(number, failed={"": CANCELLED})
    return cancelled


def _has_to_be_asked(submission: Submission, number: int) -> bool:
    """Whether the files of a job do not suffice: it has not ended, or an attempt ended without a reason."""
    past = read_attempts(submission.job_folder(number))[:-1]
    return submission.outcome(number) is None or not all(attempt.end for attempt in past)


def _status(
    submission: Submission, number: int, sent: Sent | None, ends: dict[str, list[str]], waits: dict[str, str]
) -> JobStatus:
    outcome = submission.outcome(number)  # read after querying the cluster: jobs that ended have recorded it by then
    restarts = () if sent is None else _restarts(submission, number, sent.id, ends)
    if outcome is not None:
        failed = "; ".join(f"{name}: {why}" if name else why for name, why in outcome["failed"].items())
        return JobStatus(number, _find_end_state(failed), failed, restarts=restarts)
    if sent is None:
        return JobStatus(number, "failed", "It was never taken by the cluster.")
    if find_holder(submission.job_folder(number) / "lease") is not None:
        path = submission.job_folder(number) / "progress.json"
        return JobStatus(number, "running", "", read_json(path) if path.exists() else None, restarts)
    if reason := ends.get(sent.id, [""])[-1]:
        return JobStatus(number, _find_end_state(reason), reason, restarts=restarts)
    return JobStatus(number, "waiting", waits.get(sent.id) or waits.get("", ""), restarts=restarts)


def _find_end_state(reason: str) -> State:
    """Return the state of a job that ended for a reason, if there is one."""
    return "done" if not reason else "cancelled" if reason == CANCELLED else "failed"


def _restarts(submission: Submission, number: int, task: str, ends: dict[str, list[str]]) -> tuple[str, ...]:
    """Return why each attempt of a job in its present task ended, except the last."""
    past = [attempt for attempt in read_attempts(submission.job_folder(number)) if attempt.task == task]
    end_reasons = ends.get(task, [])
    return tuple(
        _choose_reason(attempt.end, end_reasons[attempt.number] if attempt.number < len(end_reasons) else "")
        for attempt in past[:-1]
    )


def _choose_reason(told: str, scheduler: str) -> str:
    """Choose between the reasons of an attempt and of the scheduler; an attempt may only know that it ended."""
    return scheduler if scheduler and told in ("", TOLD) else told or "Unknown reason."


def _read_reasons(sent: Iterable[Sent]) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return why the attempts of tasks ended, and why tasks wait, by id.

    Under the empty id: why a cluster could not be queried.
    """
    ends: dict[str, list[str]] = {}
    waits: dict[str, str] = {}
    for cluster, tasks in _by_cluster(sent).items():
        try:
            ends.update(CLUSTERS[cluster].find_end_reasons(tasks))
            waits.update(CLUSTERS[cluster].find_waiting_reasons(tasks))
        except RunError as error:
            waits[""] = str(error)
    return ends, waits


def _by_cluster(sent: Iterable[Sent]) -> dict[str, list[Sent]]:
    found: defaultdict[str, list[Sent]] = defaultdict(list)
    for one in sent:
        found[one.cluster].append(one)
    return found
