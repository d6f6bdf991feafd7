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
    from bench.core.files import Places
    from bench.data.check import Inventory
    from bench.data.proposals import Proposals
    from bench.data.recall import Recall


@click.group("data")
def data() -> None:
    """What is on disk; what can be downloaded; the synthetic set; region proposals."""


@data.command("check")
@click.argument("names", nargs=-1, callback=options.names, metavar="[DATASET ...]")
@options.places
@options.as_json
def check(names: tuple[str, ...], places: Places, as_json: bool) -> int:
    """Count what is on disk; 1 if a dataset that was named is missing, or if a published count is missed."""
    from bench.data.check import take
    from bench.data.datasets import DATASETS
    from bench.records.result import SYNTHETIC

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
@click.option("--split", "splits", multiple=True, required=True, callback=options.names, help="Whose images; repeats.")
@click.option("--proposals", "spec", default="selective-search", show_default=True, help="edge-boxes, or a file.")
@click.option("--report", is_flag=True, help="How many of the objects they cover, by class, at IoU .5 and .7.")
@click.option("--min-side", type=click.IntRange(min=0), default=20, show_default=True, help="Of proposals reported on.")
@options.workers
@options.places
@options.as_json
def proposals(
    *,
    name: str,
    data_options: dict[str, Any],
    splits: tuple[str, ...],
    spec: str,
    report: bool,
    min_side: int,
    workers: int,
    places: Places,
    as_json: bool,
) -> None:
    """Compute region proposals of splits, or read them from a file; what is computed is kept, image by image."""
    from bench.data.datasets import open_dataset
    from bench.data.proposals import load_proposals
    from bench.data.recall import recalls

    dataset, documents, texts = open_dataset(name, places, data_options), [], []
    for split in splits:
        truth = dataset.truth(split)
        found = load_proposals(spec, dataset, truth.ids, places, reporter(), workers=workers)
        about = {"dataset": name, "split": split, **_counts(found), "digest": found.digest}
        lines = recalls(found, truth, min_side=min_side) if report else []
        documents.append(
            about | ({"min_side": min_side, "classes": [asdict(line) for line in lines]} if report else {})
        )
        texts.append(columns((key, str(value)) for key, value in about.items()) + _recall_text(lines))
    if as_json:
        emit({"proposals": documents})
    else:
        click.echo("\n\n".join(texts))


def _counts(found: Proposals) -> dict[str, int]:
    """How many images and boxes there are, and the least and the most an image."""
    import numpy as np

    each = np.diff(found.offsets) if found.ids else np.zeros(1, dtype=np.int64)
    least, most = int(each.min()), int(each.max())
    return {"images": len(found.ids), "boxes": len(found.boxes), "fewest in an image": least, "most": most}


def _recall_text(lines: list[Recall]) -> str:
    from bench.tables.numbers import percent

    if not lines:
        return ""
    heads = ("class", "images", "proposals an image", "objects", "recall at .5", "at .7")
    rows = [
        (one.name, str(one.images), _mean_text(one.proposals), str(one.objects), *map(percent, one.recall))
        for one in lines
    ]
    return f"\n\n{columns([heads, *rows])}\nDifficult objects and crowds do not count; recall in per cent."


def _mean_text(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


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
