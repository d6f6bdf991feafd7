"""The plan: one job per distinct training, with all its predictions and scores; jobs distributed to tasks of arrays."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.core.files import digest
from bench.core.setting_names import use_former_names
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.execution.dataset_cache import DatasetCache
    from bench.execution.resolve import Request
    from slurm.profile import Profile, Resources


@dataclass(frozen=True)
class Training:
    """The training of a request: equal keys mean equal trainings. Without learning, the key identifies the predictor.

    method: the method that is trained; for an attribution, its base.
    """

    method: str
    key: str
    learns: bool


@dataclass(frozen=True)
class Job:
    """Requests, by index, that share one training; or, without learning, one predictor."""

    method: str
    learns: bool
    requests: tuple[int, ...]


@dataclass(frozen=True)
class Array:
    """Tasks with the same resources; each task is the jobs, by index, that it runs."""

    resources: Resources
    tasks: tuple[tuple[int, ...], ...]


def plan_trainings(
    requests: Sequence[Request], datasets: DatasetCache, threads: int | None
) -> tuple[list[Request], list[Training], dict[str, BenchError]]:
    """Return the requests that can run, the training of each, and the errors of the others.

    Keys are computed from everything that determines a training's address, without reading images or proposals.
    """
    import torch

    from bench.execution.rehearsal import find_obstacle
    from bench.execution.resolve import resolve_request

    able: list[Request] = []
    found: list[Training] = []
    refused: dict[str, BenchError] = {}
    for request in requests:
        try:
            job = resolve_request(request, datasets, device=torch.device("cpu"), threads=threads or 0)
            if (obstacle := find_obstacle(job)) is not None:
                raise obstacle
        except BenchError as error:
            refused[str(request)] = error
            continue
        stage = job.config.stage("training") if job.learns else job.config.model_dump(mode="json")
        config = {key: value for key, value in stage.items() if key in job.learner.Config.model_fields}
        learned = [job.train.split, request.seed] if job.learns else []
        key = digest(
            [job.learner.name, use_former_names(config), job.dataset.name, dict(request.data_options), *learned]
        )
        able.append(request)
        found.append(Training(job.learner.name, key, job.learns))
    return able, found, refused


def make_jobs(trainings: Sequence[Training]) -> list[Job]:
    """Make one job per distinct training, in the order of the requests.

    >>> make_jobs([Training("cam", "a", True), Training("acol", "b", True), Training("cam", "a", True)])
    [Job(method='cam', learns=True, requests=(0, 2)), Job(method='acol', learns=True, requests=(1,))]
    """
    groups: defaultdict[Training, list[int]] = defaultdict(list)
    for number, training in enumerate(trainings):
        groups[training].append(number)
    return [Job(training.method, training.learns, tuple(group)) for training, group in groups.items()]


def make_arrays(jobs: Sequence[Job], chosen: Sequence[int], profile: Profile) -> list[Array]:
    """Group the chosen jobs with equal resources into arrays, packed into tasks by the profile's `pack`."""
    groups: defaultdict[tuple[Resources, int], list[int]] = defaultdict(list)
    for number in chosen:
        resources = profile.resources(jobs[number].method)
        pack = resources.pack if jobs[number].learns else resources.pack_untrained
        groups[resources, pack].append(number)
    return [
        Array(resources, tuple(tuple(group[first : first + pack]) for first in range(0, len(group), pack)))
        for (resources, pack), group in groups.items()
    ]
