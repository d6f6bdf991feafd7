"""`run`: train, predict, score and record the product of methods, protocols and seeds."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import click

from bench.cli import options, product
from bench.cli.output import format_value, print_results, say
from bench.cli.progress import make_reporter
from bench.cli.table import format_leaderboards
from bench.core.progress import SILENT, is_follower
from bench.recipe import DEFAULT

if TYPE_CHECKING:
    from bench.core.files import Places
    from bench.execution.dataset_cache import DatasetCache, ResolvedRecipe
    from bench.execution.pipeline import Request


@click.command("run")
@product.requests
@product.means
@options.places
@options.plugin
@options.as_json
def run(
    *,
    requests: list[Request],
    datasets: DatasetCache,
    track: str | None,
    places: Places,
    as_json: bool,
    **means: Any,
) -> int:
    """Train, predict, score and record.

    --method and --protocol repeat and take commas; their product is run, and what is shared is trained once. A
    setting goes to the methods that have it. With --track its methods run with its data and settings, and others join
    it. The same command again goes on where it stopped.
    """
    from bench.execution.pipeline import run as run_all

    silent = is_follower()
    recipes = {} if silent or track else dict.fromkeys(_describe_recipe(datasets.recipe(one)) for one in requests)
    for text in recipes:  # those of a track are in its file
        say(text)
    progress = SILENT if silent else make_reporter()
    report = run_all(requests, places, progress=progress, datasets=datasets, **means)
    if silent:
        return 0  # the main process reports the outcome; another exit code would make torchrun kill it
    if report.results and track and not as_json:
        click.echo(format_leaderboards(track, [*dict.fromkeys(result.protocol for result in report.results)], places))
    elif report.results or as_json:
        print_results(report.results, as_json_document=as_json)
    for name, error in report.failed.items():
        say(f"Error: {error}" if len(requests) == 1 else f"Error: {name}: {error}")
    return max((error.exit_code for error in report.failed.values()), default=0)


def _describe_recipe(recipe: ResolvedRecipe) -> str:
    """List the settings of a run by what set them, the defaults last."""
    cls, variant = recipe.cls, recipe.variant
    by_origin: defaultdict[str, list[str]] = defaultdict(list)
    for key, setting in recipe.settings.items():
        by_origin[setting.origin].append(f"{key}={format_value(setting.value)}")
    name = cls.name if variant is None else f"{cls.name}:{variant}"
    lines = [f"  {origin}: {', '.join(by_origin[origin])}" for origin in sorted(by_origin, key=DEFAULT.__eq__)]
    return "\n".join([f"Recipe of {name} on {recipe.dataset.name}", *lines])
