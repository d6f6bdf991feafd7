"""`run`: train, predict, score and record the product of methods, protocols and seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

import click

from bench.cli import options, product
from bench.cli.documents import DryRunDocument, RunForecastDocument
from bench.cli.output import align_columns, echo, emit, format_value, print_results, say
from bench.cli.progress import format_duration, make_reporter
from bench.cli.table import format_leaderboards, format_paper_table
from bench.core.progress import SILENT, is_follower
from bench.errors import BenchError, RequestError, format_bytes, format_count, group_errors
from bench.recipe import DEFAULT
from bench.verbs.product import forecast

if TYPE_CHECKING:
    from bench.core.files import Places
    from bench.execution.code_changes import Stored
    from bench.execution.dataset_cache import DatasetCache, ResolvedRecipe
    from bench.execution.forecast import RunForecast
    from bench.execution.pipeline import Request
    from bench.verbs.plan import RequestedTable


@click.command("run", epilog=options.example("run --method cam,weldon --protocol voc07-point --seed 0,1,2"))
@product.requests
@product.means
@product.stored
@click.option(
    "--dry-run",
    is_flag=True,
    help="Say what would be trained, predicted and downloaded, and how long like runs have taken; do nothing.",
)
@options.places
@options.plugin
@options.as_json
def run(
    *,
    requests: list[Request],
    datasets: DatasetCache,
    track: str | None,
    table: RequestedTable | None,
    stored: Stored,
    dry_run: bool,
    places: Places,
    as_json: bool,
    **means: Any,
) -> int:
    """Train, predict, score and record.

    --method and --protocol repeat and take commas; their product is run, and what is shared is trained once. A
    setting goes to the methods that have it. With --track its methods run with its data and settings, and others join
    it; with --table, the runs that fill a paper's table. The same command again goes on where it stopped.
    """
    if dry_run:
        given = {name: means[name] for name in ("device", "threads")}
        return _print_forecasts(forecast(requests, datasets, stored, **given), as_json=as_json)
    from bench.execution.pipeline import run as run_all
    from bench.records.collection import StoredResult
    from bench.records.store import Store

    silent = is_follower()
    for text in [] if silent or track else _list_recipes(requests, datasets):  # those of a track are in its file
        say(text)
    progress = SILENT if silent else make_reporter()
    report = run_all(requests, places, progress=progress, datasets=datasets, stored=stored, **means)
    if silent:
        return 0  # the main process reports the outcome; another exit code would make torchrun kill it
    if report.results and table and not as_json:
        store = Store(places)
        made = [StoredResult(result, store.result_path(result.address)) for result in report.results]
        echo(format_paper_table(table.name, table.data, made))
    elif report.results and track and not as_json:
        echo(format_leaderboards(track, [*dict.fromkeys(result.protocol for result in report.results)], places))
    elif report.results or as_json:
        print_results(report.results, as_json_document=as_json)
    later = {name: error for name, error in report.failed.items() if name not in report.refused}
    for line in [str(error) for error in later.values()] if len(requests) == 1 else group_errors(later):
        say(f"Error: {line}")
    if report.refused:
        say(f"{len(report.refused)} of {format_count(len(requests), 'run')} refused: see the errors at the start.")
    return max((error.exit_code for error in report.failed.values()), default=0)


def _list_recipes(requests: Sequence[Request], datasets: DatasetCache) -> list[str]:
    """Describe each recipe once; skip those with errors, which are reported with the runs."""
    texts = []
    for request in requests:
        with suppress(BenchError):
            texts.append(_describe_recipe(datasets.recipe(request)))
    return list(dict.fromkeys(filter(None, texts)))


def _describe_recipe(recipe: ResolvedRecipe) -> str:
    """List the settings of a run that are not defaults, by what set them; empty if all are defaults."""
    cls, variant = recipe.cls, recipe.variant
    by_origin: defaultdict[str, list[str]] = defaultdict(list)
    for key, setting in recipe.settings.items():
        if setting.origin != DEFAULT:
            by_origin[setting.origin].append(f"{key}={format_value(setting.value)}")
    name = cls.name if variant is None else f"{cls.name}:{variant}"
    lines = [f"  {origin}: {', '.join(settings)}" for origin, settings in by_origin.items()]
    return "\n".join([f"Recipe of {name} on {recipe.dataset.name}", *lines]) if lines else ""


def _print_forecasts(forecasts: Sequence[RunForecast], *, as_json: bool) -> int:
    """Print what runs would do; return the exit code 2 if any would fail, else 0."""
    if as_json:
        document: DryRunDocument = {"runs": [cast(RunForecastDocument, asdict(one)) for one in forecasts]}
        emit(document)
        return 2 if any(one.error for one in forecasts) else 0
    able = [one for one in forecasts if not one.error]
    if able:
        head = ("run", "training", "predictions", "time", "memory", "as in")
        echo(align_columns([head, *map(_format_forecast, able)]))
    for note in dict.fromkeys(note for one in forecasts for note in _list_notes(one)):
        echo(f"note: {note}")
    if able:
        echo(_format_total(able))
    for line in group_errors({one.run: RequestError(one.error) for one in forecasts if one.error}):
        say(f"Error: {line}")
    return 2 if any(one.error for one in forecasts) else 0


def _format_forecast(one: RunForecast) -> tuple[str, ...]:
    def state(step: str, state: str | None) -> str:
        counted = f" ({format_count(one.images[step], 'image')})" if step in one.images else ""
        return f"{state or 'none'}{counted}"

    seconds = "" if not one.images else "unknown" if one.seconds is None else f"about {format_duration(one.seconds)}"
    memory = "" if one.memory_mib is None else format_bytes(int(one.memory_mib * 2**20))
    steps = state("training", one.training), state("prediction", one.predictions)
    return (one.run, *steps, seconds, memory, (one.like or "")[:8])


def _list_notes(one: RunForecast) -> list[str]:
    """List what one run needs, and what sets its result apart."""
    return [
        *([f"to download: {one.download}"] if one.download else []),
        *([f"proposals of about {format_count(one.proposals, 'image')} are computed first"] if one.proposals else []),
        *one.notes,
        *([f"time and memory as in {one.like[:8]} are of {one.like.partition(', ')[2]}"] if one.like else []),
    ]


def _format_total(forecasts: Sequence[RunForecast]) -> str:
    todo = [one for one in forecasts if one.images]
    known = [one.seconds for one in todo if one.seconds is not None]
    unknown = "" if len(known) == len(todo) else f", and {len(todo) - len(known)} of which no record tells"
    return f"{len(todo)} of {format_count(len(forecasts), 'run')} to do, about {format_duration(sum(known))}{unknown}."
