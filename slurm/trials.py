"""Trials of a search on a cluster: each is a separate job, identified by its request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.core.files import Places
from bench.records.result import read_result
from bench.records.store import Store
from bench.tracks.tune import SearchPlan, Trial
from slurm.jobs import send
from slurm.plan import Job, make_arrays
from slurm.status import JobStatus, statuses
from slurm.submission import Means, Submission, create, read

if TYPE_CHECKING:
    from bench.execution.dataset_cache import DatasetCache
    from bench.execution.request import Request
    from slurm.profile import Profile


@dataclass(frozen=True)
class SubmittedTrials:
    """The trials of a search that were submitted, by number.

    ended: those with a result or an error. waiting: those not done. lost: why jobs ended without a result or an error.
    """

    ended: dict[int, Trial] = field(default_factory=dict)
    waiting: set[int] = field(default_factory=set)
    lost: dict[int, str] = field(default_factory=dict)

    def list_missing(self, count: int) -> list[int]:
        """List those of the first trials that have yet to be submitted."""
        return [number for number in range(count) if number not in {*self.ended, *self.waiting, *self.lost}]


def submit_trials(
    requests: Sequence[Request], datasets: DatasetCache, cluster: str, profile: Profile, means: Mapping[str, Any]
) -> str:
    """Submit trials, one job each; return the name of the submission. Raises as `send`."""
    methods = [datasets.method(request.method, request.settings)[0].name for request in requests]
    jobs = [Job(method, learns=True, requests=(number,)) for number, method in enumerate(methods)]
    submission = create(requests, jobs, datasets.places, Means(**means))
    send(submission, make_arrays(jobs, range(len(jobs)), profile), cluster, profile.origin)
    return submission.folder.name


def find_trials(plan: SearchPlan, count: int, places: Places) -> SubmittedTrials:
    """Find the first trials of a search among the submissions of the runs folder, the latest job of each."""
    wanted = {number: plan.make_request(number) for number in range(count)}
    found = SubmittedTrials()
    for submission, status in _list_jobs(places):
        requests = submission.list_requests(submission.jobs[status.number])
        for number in [number for number, request in wanted.items() if [request] == requests]:
            if _add_trial(found, plan, number, submission, status):
                del wanted[number]
    return found


def _list_jobs(places: Places) -> Iterator[tuple[Submission, JobStatus]]:
    """Yield the jobs of all submissions, the latest first."""
    for path in sorted((places.runs.resolve() / "submissions").glob("*/submission.json"), reverse=True):
        submission = read(path.parent)
        for status in statuses(submission):
            yield submission, status


def _add_trial(
    found: SubmittedTrials, plan: SearchPlan, number: int, submission: Submission, status: JobStatus
) -> bool:
    """Add the state of a trial's job; return False if its result was deleted, so that it has to be run again."""
    outcome = submission.outcome(status.number)
    if status.state in ("waiting", "running"):
        found.waiting.add(number)
    elif outcome is None or "" in outcome["failed"]:
        found.lost[number] = status.reason
    elif outcome["failed"]:
        (error,) = outcome["failed"].values()
        found.ended[number] = Trial(number, plan.draw(number), error=error)
    else:
        path = Store(submission.places).result_path(outcome["results"][0])
        if not path.exists():
            return False
        found.ended[number] = Trial(number, plan.draw(number), read_result(path))
    return True
