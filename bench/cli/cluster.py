"""`submit`, `status`, `collect`, `cancel` and `resubmit`: runs as jobs of a cluster, or of this machine."""

from __future__ import annotations

import functools
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from bench.cli import options, product
from bench.cli.documents import (
    CancelDocument,
    JobDocument,
    JobRunsDocument,
    LogsDocument,
    PlanDocument,
    PlannedJobDocument,
    ResubmitDocument,
    StatusDocument,
    SubmissionEntryDocument,
    SubmitDocument,
    SubmittedTableDocument,
)
from bench.cli.output import align_columns, echo, emit, print_results, say
from bench.cli.progress import format_duration
from bench.cli.table import format_paper_table
from bench.errors import RequestError, format_count, format_names, group_errors

if TYPE_CHECKING:
    from bench.core.files import Places
    from bench.execution.dataset_cache import DatasetCache
    from bench.execution.pipeline import Request
    from bench.verbs.plan import RequestedTable
    from slurm.plan import Array, Job
    from slurm.status import JobStatus
    from slurm.submission import Submission, SubmittedTable

resource_option = click.option(
    "--resource",
    "given",
    multiple=True,
    callback=options.parse_pairs,
    metavar="KEY=VALUE",
    help="Override a resource of the profile, such as memory=64G; can be repeated or comma-separated.",
)
STATES = ("waiting", "running", "done", "failed", "cancelled")
"""In the order in which counts are printed."""


def require_profile(verb: options.Verb) -> options.Verb:
    """Refuse a submission to Slurm without a profile before anything is loaded."""

    @functools.wraps(verb)
    def with_profile(*, cluster: str | None, profile: str | None, **rest: Any) -> Any:
        if profile is None and cluster == "slurm":
            raise click.UsageError("--cluster slurm needs a --profile; --cluster local runs the jobs here.")
        return verb(cluster=cluster, profile=profile, **rest)

    return with_profile  # type: ignore[return-value]


submission_argument = click.argument("name", required=False, metavar="[SUBMISSION]")


@click.command("submit", epilog=options.example("submit --track voc07-laptop --method all --profile gpu.toml"))
@click.option(
    "--cluster",
    type=click.Choice(["local", "slurm"]),
    default="slurm",
    show_default=True,
    help="Where the jobs run: on Slurm, or as background processes of this machine.",
)
@click.option(
    "--profile", metavar="NAME|FILE.toml", help="Resources that the jobs request (default with --cluster local: local)."
)
@resource_option
@click.option("--dry-run", is_flag=True, help="Print the plan and the sbatch scripts, and submit nothing.")
@require_profile
@product.requests
@product.means
@product.stored
@options.places
@options.plugin
@options.as_json
def submit(
    *,
    requests: list[Request],
    datasets: DatasetCache,
    track: str | None,
    table: RequestedTable | None,
    cluster: str,
    profile: str | None,
    given: dict[str, str],
    dry_run: bool,
    places: Places,
    as_json: bool,
    **means: Any,
) -> int:
    """Submit runs as jobs, one for each distinct training.

    It takes the same options as `run`. A job trains, predicts and scores. The terminal can be closed afterwards:
    `status` shows how far the jobs are. With --table it sends the runs that `plan` lists for a paper's table.
    """
    from slurm.jobs import send
    from slurm.plan import make_arrays, make_jobs, plan_trainings
    from slurm.profile import read_profile
    from slurm.status import CLUSTERS
    from slurm.submission import Means, create

    resources = read_profile(profile or "local", given)
    if not dry_run:
        CLUSTERS[cluster].need()
    requests, trainings, refused = plan_trainings(requests, datasets, means["threads"])
    for line in group_errors(refused):
        say(f"Error: {line}")
    code = max((error.exit_code for error in refused.values()), default=0)
    if not requests:
        return code
    jobs = make_jobs(trainings)
    arrays = make_arrays(jobs, range(len(jobs)), resources)
    if dry_run:
        attempt = places.runs.resolve() / "submissions" / "DRY-RUN" / "attempts" / "1"
        _print_plan(requests, jobs, arrays, CLUSTERS[cluster].scripts(attempt, arrays), as_json_document=as_json)
        return code
    cells = None if table is None else _locate_cells(table, requests)
    submission = create(requests, jobs, places, Means(**means), cells)
    send(submission, arrays, cluster, resources.origin)
    if as_json:
        sent: SubmitDocument = {"submission": submission.folder.name, "runs": len(requests), "jobs": len(jobs)}
        emit(sent)
        return code
    echo(f"{_summarize_plan(requests, jobs, arrays)}: {submission.folder.name}")
    runs = "" if places.runs == Path(options.RUNS) else f" --runs {shlex.quote(str(places.runs))}"
    say(f"You can close this terminal. Follow the jobs with python -m bench status{runs}, collect, cancel or resubmit.")
    if table is not None:
        data = "" if table.data is None else f" --data {shlex.quote(table.data)}"
        say(f"The table of what is done: python -m bench table {table.name}{data}{runs}")
    if track is not None:
        say(f"The leaderboard of what is done: python -m bench table --track {shlex.quote(track)}{runs}")
    return code


def _locate_cells(table: RequestedTable, requests: Sequence[Request]) -> SubmittedTable:
    """Map each cell of a table to those of its requests that are submitted, by index."""
    from slurm.submission import SubmittedCell, SubmittedTable

    cells = (
        SubmittedCell(cell.row, cell.column, cell.label, cell.head, tuple(map(requests.index, own)))
        for cell, wanted in table.cells
        for own in [[request for request in wanted if request in requests]]
    )
    return SubmittedTable(table.name, table.data, tuple(cells))


@click.command("status", epilog=options.example("status --json"))
@submission_argument
@options.places
@options.as_json
def status(*, name: str | None, places: Places, as_json: bool) -> None:
    """Show the jobs of a submission (default: the latest)."""
    from slurm.status import statuses
    from slurm.submission import find

    submission = find(name, places)
    jobs = statuses(submission)
    if as_json:
        document: StatusDocument = {
            "submission": submission.folder.name,
            "jobs": [_to_document(submission, job) for job in jobs],
            "counts": Counter(job.state for job in jobs),
        }
        emit(document if submission.table is None else {**document, "table": _describe_table(submission, jobs)})
        return
    rows: list[tuple[str, ...]] = [("job", "method", "protocols", "seeds", "state", "")]
    rows += [(*_format_job(submission, job.number), job.state, _format_progress(job)) for job in jobs]
    cells = _format_cells(submission, jobs)
    echo("\n".join([f"{submission.folder.name}: {_format_counts(jobs)}", *cells, "", align_columns(rows)]))


@click.command("collect", epilog=options.example("collect"))
@submission_argument
@options.places
@options.plugin
@options.as_json
def collect(*, name: str | None, places: Places, as_json: bool) -> None:
    """Print the results so far of a submission (default: the latest), with leaderboards, or in their paper's table."""
    from bench.records.collection import read_rankable
    from bench.records.store import Store
    from slurm.status import statuses
    from slurm.submission import find

    submission, store = find(name, places), Store(places)
    addresses = dict.fromkeys(submission.addresses().values())
    deleted = [address for address in addresses if not store.result_path(address).exists()]
    records = [store.result_path(address) for address in addresses if address not in deleted]
    results = read_rankable(records, places)
    jobs = statuses(submission)
    if submission.table is not None and not as_json:
        echo(format_paper_table(submission.table.name, submission.table.data, results))
    else:
        print_results([stored.result for stored in results], as_json_document=as_json)
    count = format_count(len(results), "result")
    for line in [f"{submission.folder.name}: {count}; jobs: {_format_counts(jobs)}.", *_format_cells(submission, jobs)]:
        say(line)
    if deleted:
        lost = f"{format_count(len(deleted), 'result')} (first: {deleted[0]})"
        say(f"Deleted since: {lost}. Submit again to recreate only these.")


@click.command("logs", epilog=options.example("logs --job 3"))
@submission_argument
@click.option("--job", "number", type=click.IntRange(min=0), help="Only this job.  [default: those that failed]")
@click.option("--lines", type=click.IntRange(min=1), default=20, show_default=True, help="Last lines of each log.")
@options.places
@options.as_json
def logs(*, name: str | None, number: int | None, lines: int, places: Places, as_json: bool) -> None:
    """Print the ends of the logs of failed jobs, or of one job, of a submission (default: the latest)."""
    from slurm.status import statuses
    from slurm.submission import find

    submission = find(name, places)
    if number is not None and number >= len(submission.jobs):
        raise RequestError(f"{submission.folder.name} has jobs 0 to {len(submission.jobs) - 1}, but no job {number}.")
    jobs = statuses(submission)
    failed = [job.number for job in jobs if job.state == "failed"]
    found = {each: _read_logs(submission, each, lines) for each in (failed if number is None else [number])}
    if as_json:
        document: LogsDocument = {
            "submission": submission.folder.name,
            "jobs": [{"number": each, "logs": texts} for each, texts in found.items()],
        }
        emit(document)
        return
    for each, texts in found.items():
        parts = [f"== {path}\n{text}" for path, text in texts.items()] or ["It has written no log yet."]
        head = f"job {' '.join(filter(None, _format_job(submission, each)))}: {jobs[each].state}"
        echo("\n".join([f"{head}  {jobs[each].reason}".rstrip(), *parts, ""]))
    if not found:
        say(f"No job of {submission.folder.name} has failed; --job N prints the log of any.")


def _read_logs(submission: Submission, number: int, lines: int) -> dict[str, str]:
    """Return the last lines of each log of a job that is not empty, by path."""
    texts = {
        path: path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
        for path in submission.list_logs(number)
    }
    return {str(path): "\n".join(text) for path, text in texts.items() if text}


def list_submissions(places: Places) -> list[SubmissionEntryDocument]:
    """List the submissions of a runs folder, latest first, each with its numbers of jobs by state."""
    from slurm.status import statuses
    from slurm.submission import list_submissions as list_all

    return [
        {
            "name": submission.folder.name,
            "runs": len(submission.requests),
            "methods": list(dict.fromkeys(str(request["method"]) for request in submission.requests)),
            "counts": Counter(job.state for job in statuses(submission)),
        }
        for submission in list_all(places)
    ]


def format_submission(entry: SubmissionEntryDocument) -> tuple[str, str, str, str]:
    """Format a submission as a row of `list submissions`."""
    counts = ", ".join(f"{entry['counts'][state]} {state}" for state in STATES if entry["counts"].get(state))
    return entry["name"], format_count(entry["runs"], "run"), counts, format_names(entry["methods"])


@click.command("cancel", epilog=options.example("cancel"))
@submission_argument
@options.places
@options.as_json
def cancel(*, name: str | None, places: Places, as_json: bool) -> None:
    """Cancel the jobs of a submission (default: the latest); `resubmit` resumes them from disk."""
    from slurm.status import cancel as cancel_jobs
    from slurm.submission import find

    submission = find(name, places)
    cancelled = cancel_jobs(submission)
    if as_json:
        document: CancelDocument = {"submission": submission.folder.name, "cancelled": cancelled}
        emit(document)
        return
    echo(f"{submission.folder.name}: {format_count(len(cancelled), 'job')} cancelled")


@click.command("resubmit", epilog=options.example("resubmit --resource memory=64G"))
@submission_argument
@click.option("--cluster", type=click.Choice(["local", "slurm"]), help="Where the jobs run (default: as last time).")
@click.option("--profile", metavar="NAME|FILE.toml", help="Resources to request (default: as last time).")
@resource_option
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
    """Submit the failed jobs of a submission again (default: the latest), with other resources if given.

    They resume from what is on disk.
    """
    from slurm.jobs import last_means, resend
    from slurm.profile import read_profile
    from slurm.submission import find

    submission = find(name, places)
    submission.use_plugins()
    last_cluster, last_profile = last_means(submission)
    sent = resend(submission, read_profile(profile or last_profile, given), cluster or last_cluster)
    if as_json:
        document: ResubmitDocument = {"submission": submission.folder.name, "resubmitted": sent}
        emit(document)
        return
    echo(f"{submission.folder.name}: {format_count(len(sent), 'job')} resubmitted")


def _print_plan(
    requests: list[Request], jobs: list[Job], arrays: list[Array], scripts: list[str], *, as_json_document: bool
) -> None:
    if as_json_document:
        from dataclasses import asdict

        document: PlanDocument = {
            "jobs": [cast(PlannedJobDocument, asdict(job)) for job in jobs],
            "arrays": [
                {"resources": array.resources.model_dump(mode="json"), "tasks": array.tasks} for array in arrays
            ],
            "scripts": scripts,
        }
        emit(document)
        return
    rows = [("array", "task", "job", "runs")]
    for number, array in enumerate(arrays):
        for task, numbers in enumerate(array.tasks):
            for job in numbers:
                runs = "; ".join(str(requests[index]) for index in jobs[job].requests)
                rows.append((str(number), str(task), str(job), runs))
    echo("\n\n".join([_summarize_plan(requests, jobs, arrays), align_columns(rows), *scripts]))


def _summarize_plan(requests: list[Request], jobs: list[Job], arrays: list[Array]) -> str:
    tasks = format_count(sum(len(array.tasks) for array in arrays), "task")
    trained = sum(job.learns for job in jobs)
    runs, sent = format_count(len(requests), "run"), f"{format_count(len(jobs), 'job')} ({trained} train)"
    return f"{runs}: {sent} in {tasks} of {format_count(len(arrays), 'array')}"


def _describe_job(submission: Submission, number: int) -> JobRunsDocument:
    """Return what a job runs, each value once."""
    requests = [submission.requests[index] for index in submission.jobs[number].requests]
    return {
        "methods": list(dict.fromkeys(request["method"] for request in requests)),
        "protocols": list(dict.fromkeys(request["protocol"]["name"] for request in requests)),
        "seeds": list(dict.fromkeys(request["seed"] for request in requests)),
    }


def _to_document(submission: Submission, job: JobStatus) -> JobDocument:
    return cast(JobDocument, {**_describe_job(submission, job.number), **vars(job)})


def _format_job(submission: Submission, number: int) -> tuple[str, str, str, str]:
    runs = _describe_job(submission, number)
    return str(number), ",".join(runs["methods"]), ",".join(runs["protocols"]), ",".join(map(str, runs["seeds"]))


def _describe_table(submission: Submission, jobs: Sequence[JobStatus]) -> SubmittedTableDocument:
    from slurm.cells import find_cells

    cells = find_cells(submission, jobs)
    return {
        "name": "" if submission.table is None else submission.table.name,
        "cells": [
            {"row": cell.row, "column": cell.column, "label": cell.label, "head": cell.head, "state": state}
            for cell, state in cells
        ],
        "counts": Counter(state for _, state in cells),
    }


def _format_cells(submission: Submission, jobs: Sequence[JobStatus]) -> list[str]:
    """Format the progress of the submission's table: `melm-2: 3 of 5 cells measured, 1 running`."""
    if submission.table is None:
        return []
    from slurm.cells import STATES as CELL_STATES
    from slurm.cells import find_cells

    counts = Counter(state for _, state in find_cells(submission, jobs))
    others = [f"{counts[state]} {state}" for state in CELL_STATES if counts[state] and state != "measured"]
    measured = f"{counts['measured']} of {format_count(counts.total(), 'cell')} measured"
    return [f"{submission.table.name}: {', '.join([measured, *others])}"]


def _format_progress(job: JobStatus) -> str:
    """Return why a job failed or waits, or its progress."""
    restarts = f"Restarted: {' '.join(job.restarts)} " if job.restarts else ""
    if job.progress is None:
        return restarts + job.reason.partition("\n")[0]
    left = job.progress["left"]
    remaining = "" if left is None else f", {format_duration(left)} left"
    return restarts + "{title}: {counted}/{total} {unit}".format(**job.progress) + remaining


def _format_counts(jobs: list[JobStatus]) -> str:
    counts: Counter[str] = Counter(job.state for job in jobs)
    return ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
