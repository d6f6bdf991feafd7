"""`run`: train, predict, score and record the product of methods, protocols and seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import click

from bench import registry
from bench.cli import options
from bench.cli.output import print_results, say, value_text
from bench.cli.progress import reporter
from bench.recipe import DEFAULT

if TYPE_CHECKING:
    from bench.files import Places
    from bench.protocol import Record
    from bench.run import Request


@click.command("run")
@click.option("--method", "methods", multiple=True, required=True, callback=options.names, metavar="NAME[:VARIANT]")
@click.option("--protocol", "protocols", multiple=True, required=True, callback=options.names, metavar="NAME")
@click.option("--seed", "seeds", default="0", show_default=True, callback=options.seeds, metavar="0,1,2")
@click.option(
    "--set",
    "settings",
    multiple=True,
    callback=options.pairs,
    metavar="KEY=VALUE",
    help="A config field of the method (python -m bench show NAME); repeats and takes commas; tuples as 480+576.",
)
@click.option("--weights", metavar="FILE|none|imagenet", help="Initial weights of the net.")
@options.conventions
@options.data
@click.option("--split", help="Judge on this id list instead of the protocol's.")
@click.option("--train-split", help="Train on this id list instead of the protocol's.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 ...")
@options.workers
@click.option("--threads", type=click.IntRange(min=1), help="Threads that compute; part of what a training is.")
@options.places
@options.plugin
@options.as_json
def run(
    *,
    methods: tuple[str, ...],
    protocols: tuple[str, ...],
    seeds: tuple[int, ...],
    settings: dict[str, str],
    weights: str | None,
    conventions: dict[str, Any],
    data: str | None,
    data_options: dict[str, Any],
    split: str | None,
    train_split: str | None,
    device: str,
    workers: int,
    threads: int | None,
    places: Places,
    as_json: bool,
) -> int:
    """Train, predict, score, record.

    --method and --protocol repeat and take commas; their product is run, and what is shared is trained once. A
    setting goes to the methods that have it. The same command again goes on where it stopped.
    """
    from bench.run import Request
    from bench.run import run as run_all

    records = [_record(name, conventions) for name in protocols]
    chosen = _dealt(settings if weights is None else {**settings, "weights": weights}, methods)
    requests = [
        Request(
            method=name,
            protocol=record,
            seed=seed,
            settings=chosen[name],
            data=data,
            data_options=data_options,
            split=split,
            train_split=train_split,
        )
        for name, record, seed in product(methods, records, seeds)
    ]
    for text in dict.fromkeys(_recipe(request, places) for request in requests):
        say(text)
    report = run_all(requests, places, progress=reporter(), device=device, workers=workers, threads=threads)
    if report.results:
        print_results(report.results, as_json_document=as_json)
    for name, error in report.failed.items():
        say(f"Error: {error}" if len(requests) == 1 else f"Error: {name}: {error}")
    return max((error.exit_code for error in report.failed.values()), default=0)


def _record(name: str, conventions: Mapping[str, Any]) -> Record:
    """A protocol with its switches moved, checked before anything is trained."""
    record = registry.protocol(name).with_conventions(conventions)
    registry.bind(record)
    return record


def _dealt(settings: Mapping[str, str], methods: Sequence[str]) -> dict[str, dict[str, str]]:
    """Settings of each method: those it has, and those that none has, which it will refuse."""
    fields = {name: set(registry.parse(name)[0].Config.model_fields) for name in methods}
    known = set().union(*fields.values())
    return {
        name: {key: settings[key] for key in settings if key in own or key not in known} for name, own in fields.items()
    }


def _recipe(request: Request, places: Places) -> str:
    """The recipe in force, checked, by who set what; the defaults last."""
    from bench.data.datasets import open_dataset

    cls, variant = registry.parse(request.method)
    dataset = open_dataset(request.data or request.protocol.dataset, places, request.data_options)
    registry.configure(cls, variant, dataset=dataset.name, recipe=dataset.recipe, settings=request.settings)
    settled = registry.settle(cls, variant, dataset=dataset.name, recipe=dataset.recipe, settings=request.settings)
    by_origin: defaultdict[str, list[str]] = defaultdict(list)
    for key, setting in settled.items():
        by_origin[setting.origin].append(f"{key}={value_text(setting.value)}")
    name = cls.name if variant is None else f"{cls.name}:{variant}"
    lines = [f"  {origin}: {', '.join(by_origin[origin])}" for origin in sorted(by_origin, key=DEFAULT.__eq__)]
    return "\n".join([f"Recipe of {name} on {dataset.name}", *lines])
