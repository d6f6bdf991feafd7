"""`submit`, `status`, `collect`, `cancel` and `resubmit`: a product of runs on a cluster, or here in the background."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from bench.cli import options, product
from bench.cli.output import columns, emit, print_results, say
from bench.cli.progress import duration
from bench.errors import amount

if TYPE_CHECKING:
    from bench.core.files import Places
    from bench.execution.pipeline import Request
    from slurm.plan import Array, Job
    from slurm.status import Status
    from slurm.submission import Submission

resources = click.option(
    "--resource",
    "given",
    multiple=True,
    callback=options.pairs,
    metavar="KEY=VALUE",
    help="A key of the profile, for all methods: memory=64G; repeats and takes commas.",
)
name_ = click.argument("name", required=False, metavar="[SUBMISSION]")


@click.command("submit")
@click.option("--cluster", type=click.Choice(["local", "slurm"]), default="slurm", show_default=True)
@click.option("--profile", metavar="NAME|FILE.toml", help="What jobs ask for; local: local.")
@resources
@click.option("--dry-run", is_flag=True, help="Print the plan and what sbatch would be given; submit nothing.")
@product.requests
@product.means
@options.places
@options.plugin
@options.as_json
def submit(
    *,
    requests: list[Request],
    cluster: str,
    profile: str | None,
    given: dict[str, str],
    dry_run: bool,
    places: Places,
    as_json: bool,
    **means: Any,
) -> int:
    """The product of runs of `run`, as jobs: one a distinct training, which also predicts and scores.

    The terminal may be closed then: python -m bench status.
    """
    from slurm.jobs import send
    from slurm.plan import arrays_of, jobs_of, look_over
    from slurm.profile import read_profile
    from slurm.status import CLUSTERS
    from slurm.submission import Means, create

    if profile is None and cluster == "slurm":
        raise click.UsageError("--cluster slurm needs a --profile.")
    asked = read_profile(profile or "local", given)
    if not dry_run:
        CLUSTERS[cluster].need()
    requests, trainings, refused = look_over(requests, places, means["threads"])
    for which, error in refused.items():
        say(f"Error: {which}: {error}")
    code = max((error.exit_code for error in refused.values()), default=0)
    if not requests:
        return code
    jobs = jobs_of(trainings)
    arrays = arrays_of(jobs, range(len(jobs)), asked)
    if dry_run:
        attempt = places.runs.resolve() / "submissions" / "DRY-RUN" / "attempts" / "1"
        _print_plan(requests, jobs, arrays, CLUSTERS[cluster].scripts(attempt, arrays), as_json_document=as_json)
        return code
    submission = create(requests, jobs, places, Means(**means))
    send(submission, arrays, cluster, asked.origin)
    if as_json:
        emit({"submission": submission.folder.name, "runs": len(requests), "jobs": len(jobs)})
        return code
    click.echo(f"{_plan_line(requests, jobs, arrays)}: {submission.folder.name}")
    say("It needs this terminal no more: python -m bench status, collect, cancel, resubmit.")
    return code


@click.command("status")
@name_
@options.places
@options.as_json
def status(*, name: str | None, places: Places, as_json: bool) -> None:
    """How the jobs of a submission are, the last without a name: waiting, running, done, failed and why."""
    from slurm.status import statuses
    from slurm.submission import find

    submission = find(name, places)
    found = statuses(submission)
    if as_json:
        jobs = [{**_job(submission, one.number), **vars(one)} for one in found]
        emit({"submission": submission.folder.name, "jobs": jobs, "counts": Counter(one.state for one in found)})
        return
    rows: list[tuple[str, ...]] = [("job", "method", "protocols", "seeds", "state", "")]
    rows += [(*_job_cells(submission, one.number), one.state, _how(one)) for one in found]
    click.echo(f"{submission.folder.name}: {_counts(found)}\n\n{columns(rows)}")


@click.command("collect")
@name_
@options.places
@options.plugin
@options.as_json
def collect(*, name: str | None, places: Places, as_json: bool) -> None:
    """Leaderboards of what is done of a submission, the last without a name; what is missing is said."""
    from bench.records.result import read_result
    from bench.records.store import Store
    from slurm.status import statuses
    from slurm.submission import find

    submission, store = find(name, places), Store(places)
    addresses = dict.fromkeys(submission.addresses().values())
    gone = [address for address in addresses if not store.result(address).exists()]
    results = [read_result(store.result(address)) for address in addresses if address not in gone]
    print_results(results, as_json_document=as_json)
    say(f"{submission.folder.name}: {amount(len(results), 'result')}; jobs: {_counts(statuses(submission))}.")
    if gone:
        say(f"Deleted since: {amount(len(gone), 'result')} (first: {gone[0]}). Submit again, and nothing else is made.")


@click.command("cancel")
@name_
@options.places
@options.as_json
def cancel(*, name: str | None, places: Places, as_json: bool) -> None:
    """End the jobs of a submission, the last without a name; `resubmit` goes on from what is on disk."""
    from slurm.status import cancel as end
    from slurm.submission import find

    submission = find(name, places)
    ended = end(submission)
    if as_json:
        emit({"submission": submission.folder.name, "cancelled": ended})
        return
    click.echo(f"{submission.folder.name}: {amount(len(ended), 'job')} cancelled")


@click.command("resubmit")
@name_
@click.option("--cluster", type=click.Choice(["local", "slurm"]), help="Another than the last time.")
@click.option("--profile", metavar="NAME|FILE.toml", help="Another than the last time.")
@resources
@options.places
@options.as_json
def resubmit(
    *,
    name: str | None,
    cluster: str | None,
    profile: str | None,
    given: dict[str, str],
    places: Places,
    as_json: bool,
) -> None:
    """Send out again what failed of a submission, with other resources if they are given; it goes on from disk."""
    from slurm.jobs import last_means, resend
    from slurm.profile import read_profile
    from slurm.submission import find

    submission = find(name, places)
    submission.use_plugins()
    last_cluster, last_profile = last_means(submission)
    sent = resend(submission, read_profile(profile or last_profile, given), cluster or last_cluster)
    if as_json:
        emit({"submission": submission.folder.name, "resubmitted": sent})
        return
    click.echo(f"{submission.folder.name}: {amount(len(sent), 'job')} sent out again")


def _print_plan(
    requests: list[Request], jobs: list[Job], arrays: list[Array], scripts: list[str], *, as_json_document: bool
) -> None:
    if as_json_document:
        from dataclasses import asdict

        said = [{"resources": one.resources.model_dump(mode="json"), "tasks": one.tasks} for one in arrays]
        emit({"jobs": [asdict(job) for job in jobs], "arrays": said, "scripts": scripts})
        return
    rows = [("array", "task", "job", "runs")]
    for number, array in enumerate(arrays):
        for task, dealt in enumerate(array.tasks):
            for job in dealt:
                runs = "; ".join(str(requests[one]) for one in jobs[job].requests)
                rows.append((str(number), str(task), str(job), runs))
    click.echo("\n\n".join([_plan_line(requests, jobs, arrays), columns(rows), *scripts]))


def _plan_line(requests: list[Request], jobs: list[Job], arrays: list[Array]) -> str:
    tasks = amount(sum(len(array.tasks) for array in arrays), "task")
    trained = sum(job.learns for job in jobs)
    runs, sent = amount(len(requests), "run"), f"{amount(len(jobs), 'job')} ({trained} train)"
    return f"{runs}: {sent} in {tasks} of {amount(len(arrays), 'array')}"


def _job(submission: Submission, number: int) -> dict[str, list[Any]]:
    """What a job runs, each value once."""
    said = [submission.requests[one] for one in submission.jobs[number].requests]
    found = {
        "methods": [one["method"] for one in said],
        "protocols": [one["protocol"]["name"] for one in said],
        "seeds": [one["seed"] for one in said],
    }
    return {key: list(dict.fromkeys(values)) for key, values in found.items()}


def _job_cells(submission: Submission, number: int) -> tuple[str, ...]:
    return (str(number), *(",".join(map(str, values)) for values in _job(submission, number).values()))


def _how(one: Status) -> str:
    """Why a job failed or waits, or how far it is."""
    again = f"Begun again: {' '.join(one.restarts)} " if one.restarts else ""
    if one.progress is None:
        return again + one.reason.partition("\n")[0]
    left = one.progress["left"]
    when = "" if left is None else f", {duration(left)} left"
    return again + "{title}: {counted}/{total} {unit}".format(**one.progress) + when


def _counts(found: list[Status]) -> str:
    counts = Counter(one.state for one in found)
    return ", ".join(f"{counts[state]} {state}" for state in ("waiting", "running", "done", "failed") if counts[state])
