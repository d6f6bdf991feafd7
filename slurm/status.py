"""How the jobs of a submission are: waiting, running, done or failed, told from its files and from the cluster."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from bench.errors import RunError
from bench.files import read_json
from bench.lease import standing
from slurm import local, scheduler
from slurm.submission import Sent, Submission

CLUSTERS = {"local": local, "slurm": scheduler}

State = Literal["waiting", "running", "done", "failed"]


@dataclass(frozen=True)
class Status:
    """How one job is; `progress` as its file says while it runs, `reason` if it failed or waits for a known cause."""

    number: int
    state: State
    reason: str = ""
    progress: dict[str, Any] | None = None


def statuses(submission: Submission) -> list[Status]:
    """How every job is, in order."""
    sent, numbers = submission.sent(), range(len(submission.jobs))
    reasons = _ended(sent[number] for number in numbers if number in sent and submission.outcome(number) is None)
    return [_status(submission, number, sent.get(number), reasons) for number in numbers]


def cancel(submission: Submission) -> list[int]:
    """End what has not ended; the jobs that this cancelled."""
    sent = submission.sent()
    live = [one.number for one in statuses(submission) if one.state in ("waiting", "running")]
    for cluster, tasks in _by_cluster(sent[number] for number in live if number in sent).items():
        CLUSTERS[cluster].cancel(tasks)
    cancelled = [number for number in live if submission.outcome(number) is None]
    for number in cancelled:
        submission.end(number, failed={"": "Cancelled."})
    return cancelled


def _status(submission: Submission, number: int, sent: Sent | None, reasons: dict[str, str]) -> Status:
    outcome = submission.outcome(number)  # read after the cluster was asked: who ended has said so by then
    if outcome is not None:
        failed = "; ".join(f"{name}: {why}" if name else why for name, why in outcome["failed"].items())
        return Status(number, "failed" if failed else "done", failed)
    if sent is None:
        return Status(number, "failed", "It was never taken by the cluster.")
    if standing(submission.job_folder(number) / "lease") is not None:
        path = submission.job_folder(number) / "progress.json"
        return Status(number, "running", progress=read_json(path) if path.exists() else None)
    if reason := reasons.get(sent.id):
        return Status(number, "failed", reason)
    return Status(number, "waiting", reasons.get("", ""))


def _ended(sent: Iterable[Sent]) -> dict[str, str]:
    """Why tasks ended, by id; under no id, why a cluster could not be asked."""
    reasons: dict[str, str] = {}
    for cluster, tasks in _by_cluster(sent).items():
        try:
            reasons.update(CLUSTERS[cluster].ended(tasks))
        except RunError as error:
            reasons[""] = str(error)
    return reasons


def _by_cluster(sent: Iterable[Sent]) -> dict[str, list[Sent]]:
    found: defaultdict[str, list[Sent]] = defaultdict(list)
    for one in sent:
        found[one.cluster].append(one)
    return found
