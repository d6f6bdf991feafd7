"""`data`: what is on disk, what can be downloaded, the synthetic set, region proposals."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from bench.cli import options
from bench.cli.output import columns, emit
from bench.cli.progress import reporter
from bench.errors import RequestError

if TYPE_CHECKING:
    from bench.files import Places
    from bench.inventory import Inventory


@click.group("data")
def data() -> None:
    """What is on disk; what can be downloaded; the synthetic set; region proposals."""


@data.command("check")
@click.argument("names", nargs=-1, callback=options.names, metavar="[DATASET ...]")
@options.places
@options.as_json
def check(names: tuple[str, ...], places: Places, as_json: bool) -> int:
    """Count what is on disk; 1 if a dataset that was named is missing, or if a published count is missed."""
    from bench.data.datasets import DATASETS
    from bench.inventory import take
    from bench.result import SYNTHETIC

    progress = reporter()
    may_be_missing = [name for name in DATASETS if name not in SYNTHETIC]
    inventories = [take(name, places, progress) for name in names or may_be_missing]
    if as_json:
        emit({"datasets": [inventory.document() for inventory in inventories]})
    else:
        click.echo("\n\n".join(map(_inventory_text, inventories)))
    return int(any(not inventory.ok for inventory in inventories if names or not inventory.missing))


@data.command("fetch")
@click.argument("names", nargs=-1, callback=options.names, metavar="[DATASET ...]")
@click.option("--part", "parts", multiple=True, help="Only this part of it, such as annotations; repeats.")
@options.places
@options.as_json
def fetch(names: tuple[str, ...], parts: tuple[str, ...], places: Places, as_json: bool) -> None:
    """Download datasets from their publishers into the data root, checked and unpacked; without a name, list them."""
    from bench.data.fetch import fetch
    from bench.data.sources import SOURCES

    if not names:
        listed = {name: dict.fromkeys(file.part for file in source.files) for name, source in SOURCES.items()}
        rows = [(name, ", ".join(listed[name]) or "-", source.terms) for name, source in SOURCES.items()]
        if as_json:
            emit(
                {"downloads": [{"name": name, "parts": list(listed[name]), "terms": terms} for name, _, terms in rows]}
            )
        else:
            click.echo(columns([("dataset", "parts", "terms"), *rows]))
        return
    if places.data_root is None:
        raise RequestError("Say where to: give --data-root DIR, or set BENCH_DATA.")
    progress = reporter()
    came = {name: fetch(name, places.data_root, parts=parts, progress=progress) for name in names}
    if as_json:
        emit({"fetched": [{"name": name, "files": [str(path) for path in paths]} for name, paths in came.items()]})
    else:
        click.echo(columns((name, str(path)) for name, paths in came.items() for path in paths))


@data.command("shapes")
@options.dataset_options
@options.places
@options.as_json
def shapes(data_options: dict[str, Any], places: Places, as_json: bool) -> None:
    """Make the synthetic set, where it is not there yet."""
    from bench.data.datasets import open_dataset

    dataset = open_dataset("shapes", places, data_options)
    images = {split: len(dataset.truth(split).ids) for split in dataset.splits()}
    if as_json:
        emit({"dataset": "shapes", "classes": list(dataset.classes), "images": images, "recipe": dataset.recipe})
        return
    click.echo(
        columns([("classes", ", ".join(dataset.classes)), *((key, str(count)) for key, count in images.items())])
    )


@data.command("proposals")
@click.option("--data", "name", default="voc2007", show_default=True, metavar="DATASET")
@options.dataset_options
@click.option("--split", required=True, help="Whose images: an id list of the dataset.")
@click.option("--proposals", "spec", default="selective-search", show_default=True, help="Or a file to check.")
@options.workers
@options.places
@options.as_json
def proposals(
    name: str, data_options: dict[str, Any], split: str, spec: str, workers: int, places: Places, as_json: bool
) -> None:
    """Compute region proposals of a split, or read them from a file; what is computed is kept, image by image."""
    from bench.data.datasets import open_dataset
    from bench.data.proposals import load_proposals

    dataset = open_dataset(name, places, data_options)
    found = load_proposals(spec, dataset, dataset.truth(split).ids, places, reporter(), workers=workers)
    about = {
        "dataset": name,
        "split": split,
        "images": len(found.ids),
        "boxes": len(found.boxes),
        "digest": found.digest,
    }
    if as_json:
        emit(about)
    else:
        click.echo(columns((key, str(value)) for key, value in about.items()))


def _inventory_text(inventory: Inventory) -> str:
    if inventory.missing:
        return f"{inventory.name}: missing. {inventory.missing}"
    heads = ("split", "images", "objects", "not difficult", "pairs", "difficult only", "photographs", "")
    rows = [
        (split.name, *map(str, asdict(split.counts).values()), str(split.photographs), split.problem)
        if split.counts
        else (split.name, *[""] * 6, split.problem)
        for split in inventory.splits
    ]
    return f"{inventory.name}\n{columns([heads, *rows])}"
