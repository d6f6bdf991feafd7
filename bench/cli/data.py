"""`data`: describe, check, look at and download datasets, generate the synthetic one, compute region proposals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from bench.cli import options
from bench.cli.documents import (
    DataSheetDocument,
    DownloadsDocument,
    FetchDocument,
    InitDocument,
    InventoriesDocument,
    ProposalsDocument,
    ProposalSetDocument,
    ReadinessDocument,
    RecallDocument,
    ShapesDocument,
)
from bench.cli.output import align_columns, echo, emit
from bench.cli.progress import make_reporter
from bench.data.left_out import count_files
from bench.errors import RequestError, format_count, format_names

if TYPE_CHECKING:
    from bench.core.files import Places
    from bench.core.progress import Progress
    from bench.data.check import DatasetCheck
    from bench.data.proposals import Proposals
    from bench.data.recall import Recall
    from bench.gallery.data_sheet import SplitSample

PAGES = (".html", ".htm")
PICTURES = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
"""Suffixes of a sheet's file: those of a page, or of a picture with its format."""

LAYOUTS = ("voc", "coco", "folder", "csv")
"""The layouts of `bench.data.description.Layout`."""

SUSPICIOUS = 2
"""Least number of suspects that `data check` reports of a split: one of twelve may be a photograph of neon letters."""


_dataset = click.option(
    "--data",
    "name",
    default="voc2007",
    show_default=True,
    metavar="NAME|FILE.toml",
    callback=options.parse_dataset,
    shell_complete=options.make_completer("datasets"),
    help="Dataset of the images.",
)


@click.group("data")
def data() -> None:
    """Describe, check, look at and download datasets, generate the synthetic one, compute region proposals."""


@data.command("check", epilog=options.example("data check voc2007"))
@click.argument("names", nargs=-1, callback=options.parse_datasets, metavar="[NAME|FILE.toml ...]")
@click.option("--contents", is_flag=True, help="Read every photograph, and print a digest of their contents.")
@click.option(
    "--images",
    type=click.IntRange(min=0),
    default=12,
    show_default=True,
    help="Photographs to draw of each split, with and without their ground truth; 0 for no sheet.",
)
@options.places
@options.as_json
def check(names: tuple[str, ...], contents: bool, images: int, places: Places, as_json: bool) -> int:
    """Count the images and objects on disk, and draw some to look at.

    The sheet of each dataset is RUNS/sheets/DATASET.html. Exit code 1 if a named dataset is missing, or if a count
    differs from the published one.
    """
    from bench.data.check import check_dataset
    from bench.data.datasets import DATASETS
    from bench.records.result import SYNTHETIC
    from bench.verbs.readiness import examine_protocols, format_readiness

    progress = make_reporter()
    real = [name for name in DATASETS if name not in SYNTHETIC]
    inventories = [check_dataset(name, places, progress, contents=contents) for name in names or real]
    protocols = examine_protocols(names or real, places)
    sheets = [_draw_splits(inventory, places, images, progress) for inventory in inventories]
    if as_json:
        document: InventoriesDocument = {
            "datasets": [
                {**inventory.document(), "sheet": sheet} for inventory, sheet in zip(inventories, sheets, strict=True)
            ],
            "protocols": [cast(ReadinessDocument, asdict(one)) for one in protocols],
        }
        emit(document)
    else:
        able = "\n".join(format_readiness(protocols))
        echo("\n\n".join([*_format_missing(inventories), *_format_found(inventories, sheets), able]))
    return int(any(not inventory.ok for inventory in inventories if names or not inventory.missing))


def _draw_splits(inventory: DatasetCheck, places: Places, images: int, progress: Progress) -> DataSheetDocument | None:
    """Write the sheet of a dataset; None if there are no photographs, or none are requested."""
    from bench.data.datasets import open_dataset
    from bench.gallery.data_sheet import draw_samples

    splits = [split.name for split in inventory.splits if split.photographs]
    if not splits or not images:
        return None
    samples, notes = draw_samples(open_dataset(inventory.name, places), splits, images, progress)
    notes += [note for sample in samples if (note := sample.describe_suspects(SUSPICIOUS))]
    path: Path | None = places.runs / "sheets" / f"{inventory.name}.html"
    try:
        _write_sheet(cast(Path, path), inventory.name, samples)
    except OSError as error:
        path, notes = None, [*notes, f"no sheet of photographs written: {error}"]
    return _describe_sheet(path, samples, notes)


@data.command("init", epilog=options.example("data init photographs --out mine.toml"))
@click.argument("folder", type=options.FILE)
@click.option("--out", type=options.FILE, help="File to write.  [default: the folder's name, .toml]")
@click.option("--name", help="Name of the dataset.  [default: that of the file]")
@click.option("--layout", type=click.Choice(LAYOUTS), help="Layout of the folder.  [default: the first that fits]")
@options.places
@options.as_json
def init(
    *, folder: Path, out: Path | None, name: str | None, layout: str | None, places: Places, as_json: bool
) -> None:
    """Describe a folder of photographs in a TOML file, which --data takes.

    Says what was recognised and what is odd about the images and labels. Nothing is written into the folder.
    """
    from bench.core.files import write_text
    from bench.data.check import check_opened
    from bench.data.description import format_description
    from bench.data.own import OwnDataset
    from bench.data.recognise import describe_folder

    path = out or Path(f"{folder.resolve().name}.toml")
    description, notes, left_out = describe_folder(folder, path, name=name, layout=layout)
    dataset = OwnDataset(path, description, places.cache)
    inventory = check_opened(dataset, make_reporter(), notes=notes, left_out=left_out)
    write_text(path, format_description(description))
    if as_json:
        document: InitDocument = {
            "written": str(path),
            "layout": description.layout,
            "classes": list(description.classes),
            "dataset": inventory.document(),
        }
        emit(document)
        return
    classes = f"{format_count(len(description.classes), 'class', 'classes')}: {format_names(description.classes, 12)}"
    echo(f"Layout {description.layout}, {classes}\n{_format_inventory(inventory, None)}\nWrote {path}")


@data.command("look", epilog=options.example("data look --data mine.toml --split train"))
@_dataset
@options.dataset_options
@click.option("--split", required=True, help="Split of the images.")
@click.option(
    "--images", type=click.IntRange(min=1), default=60, show_default=True, help="Number of random photographs."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which photographs.")
@click.option(
    "--out",
    type=options.FILE,
    help="Page (.html), or picture (.jpg, .png), to write.  [default: RUNS/sheets/DATASET.SPLIT.html]",
)
@options.places
@options.as_json
def look(
    *,
    name: str,
    data_options: dict[str, Any],
    split: str,
    images: int,
    seed: int,
    out: Path | None,
    places: Places,
    as_json: bool,
) -> None:
    """Draw random photographs of a split, each with and without its ground truth.

    Look at them before you trust a number: for pictures drawn on, cropped or mirrored, and for boxes beside the object.
    """
    from bench.data.datasets import open_dataset
    from bench.gallery.data_sheet import draw_sample

    if out is not None and out.suffix.lower() not in (*PAGES, *PICTURES):
        raise RequestError(f"--out: a sheet is written as .html, .jpg or .png, but got {out.name!r}.")
    sample = draw_sample(open_dataset(name, places, data_options), split, images, seed)
    path = out or places.runs / "sheets" / f"{name}.{split.replace('/', '-')}.html"
    _write_sheet(path, name, [sample])
    notes = [note for note in [sample.describe_suspects()] if note]
    document = _describe_sheet(path, [sample], notes)
    if as_json:
        emit(document)
    else:
        echo("\n".join([*_format_notes(document), f"Wrote {format_count(document['images'], 'photograph')}: {path}"]))


def _write_sheet(path: Path, dataset: str, samples: Sequence[SplitSample]) -> None:
    """Write samples as one picture or page, by the suffix of the file."""
    from bench.core.files import atomic_file, write_text
    from bench.gallery.data_sheet import join_pictures
    from bench.site.sheet import render_samples

    if (format_ := PICTURES.get(path.suffix.lower())) is None:
        write_text(path, render_samples(dataset, samples))
        return
    with atomic_file(path) as part:
        part.write_bytes(join_pictures([card for sample in samples for card in sample.examples], format_))


def _describe_sheet(path: Path | None, samples: Sequence[SplitSample], notes: list[str]) -> DataSheetDocument:
    return {
        "written": None if path is None else str(path),
        "images": sum(len(sample.examples) for sample in samples),
        "suspects": {sample.split: list(sample.suspects) for sample in samples if sample.suspects},
        "unreadable": {sample.split: list(sample.unreadable) for sample in samples if sample.unreadable},
        "notes": notes,
    }


def _format_notes(sheet: DataSheetDocument) -> list[str]:
    unreadable = [f"cannot be read, of {split}: {format_names(names)}" for split, names in sheet["unreadable"].items()]
    return [f"note: {note}" for note in (*sheet["notes"], *unreadable)]


@data.command("fetch", epilog=options.example("data fetch voc2007"))
@click.argument("names", nargs=-1, callback=options.parse_names, metavar="[DATASET ...]")
@click.option("--part", "parts", multiple=True, help="Download only this part, such as annotations; can be repeated.")
@options.places
@options.as_json
def fetch(names: tuple[str, ...], parts: tuple[str, ...], places: Places, as_json: bool) -> None:
    """Download datasets from their publishers into the data root, verify and unpack them.

    Without a name, list the datasets that can be downloaded.
    """
    from bench.data.fetch import fetch

    if not names:
        _list_downloads(as_json)
        return
    if places.data_root is None:
        raise RequestError("No data root to download into: give --data-root DIR, or set BENCH_DATA.")
    progress = make_reporter()
    fetched = {name: fetch(name, places.data_root, parts=parts, progress=progress) for name in names}
    if as_json:
        document: FetchDocument = {
            "fetched": [{"name": name, "files": [str(path) for path in paths]} for name, paths in fetched.items()]
        }
        emit(document)
    else:
        echo(align_columns((name, str(path)) for name, paths in fetched.items() for path in paths))


def _list_downloads(as_json: bool) -> None:
    from bench.data.sources import SOURCES

    parts = {name: list(dict.fromkeys(file.part for file in source.files)) for name, source in SOURCES.items()}
    if as_json:
        document: DownloadsDocument = {
            "downloads": [
                {"name": name, "parts": parts[name], "terms": source.terms} for name, source in SOURCES.items()
            ]
        }
        emit(document)
        return
    rows = [(name, ", ".join(parts[name]) or "-", source.terms) for name, source in SOURCES.items()]
    echo(align_columns([("dataset", "parts", "terms"), *rows]))


@data.command("shapes", epilog=options.example("data shapes --data-option train=200"))
@options.dataset_options
@options.places
@options.as_json
def shapes(data_options: dict[str, Any], places: Places, as_json: bool) -> None:
    """Generate the synthetic dataset, unless it already exists."""
    from bench.data.datasets import open_dataset

    dataset = open_dataset("shapes", places, data_options)
    images = {split: len(dataset.ground_truth(split).ids) for split in dataset.splits()}
    if as_json:
        document: ShapesDocument = {
            "dataset": "shapes",
            "classes": list(dataset.classes),
            "images": images,
            "recipe": dataset.recipe,
        }
        emit(document)
        return
    echo(
        align_columns([("classes", ", ".join(dataset.classes)), *((key, str(count)) for key, count in images.items())])
    )


@data.command("proposals", epilog=options.example("data proposals --data voc2007 --split trainval --report"))
@_dataset
@options.dataset_options
@click.option(
    "--split",
    "splits",
    multiple=True,
    required=True,
    callback=options.parse_names,
    help="Split of the images; can be repeated.",
)
@click.option(
    "--proposals",
    "spec",
    default="selective-search",
    show_default=True,
    help="selective-search, edge-boxes, a file, or several (A.mat+B.mat).",
)
@click.option("--report", is_flag=True, help="Report their recall of the objects, by class, at IoU .5 and .7.")
@click.option(
    "--min-side",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="Leave proposals with a shorter side out of the report, in pixels.",
)
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
    """Compute the region proposals of splits, or read them from a file.

    Computed proposals are cached image by image.
    """
    from bench.data.datasets import open_dataset
    from bench.data.proposals import load_proposals
    from bench.data.recall import compute_recalls

    dataset = open_dataset(name, places, data_options)
    documents: list[ProposalSetDocument] = []
    texts = []
    for split in splits:
        truth = dataset.ground_truth(split)
        boxes = load_proposals(spec, dataset, truth.ids, places, make_reporter(), workers=workers)
        document = _to_document(name, split, boxes)
        text = align_columns((key, str(value)) for key, value in document.items())
        if report:
            recalls = compute_recalls(boxes, truth, min_side=min_side)
            document["min_side"] = min_side
            document["classes"] = [cast(RecallDocument, asdict(recall)) for recall in recalls]
            text += _format_recalls(recalls)
        documents.append(document)
        texts.append(text)
    if as_json:
        emit(ProposalsDocument(proposals=documents))
    else:
        echo("\n\n".join(texts))


def _to_document(dataset: str, split: str, proposals: Proposals) -> ProposalSetDocument:
    import numpy as np

    counts = np.diff(proposals.offsets) if proposals.ids else np.zeros(1, dtype=np.int64)
    return {
        "dataset": dataset,
        "split": split,
        "images": len(proposals.ids),
        "boxes": len(proposals.boxes),
        "fewest in an image": int(counts.min()),
        "most": int(counts.max()),
        "digest": proposals.digest,
    }


def _format_recalls(recalls: list[Recall]) -> str:
    from bench.tables.numbers import percent

    heads = ("class", "images", "proposals per image", "objects", "recall at .5", "at .7")
    rows = [
        (
            recall.name,
            str(recall.images),
            "-" if recall.proposals is None else f"{recall.proposals:.0f}",
            str(recall.objects),
            *map(percent, recall.recall),
        )
        for recall in recalls
    ]
    return f"\n\n{align_columns([heads, *rows])}\nDifficult objects and crowds are not counted; recall in per cent."


def _format_missing(inventories: list[DatasetCheck]) -> list[str]:
    """Format the missing datasets, with those of the same reason together."""
    by_reason: defaultdict[str, list[str]] = defaultdict(list)
    for one in (one for one in inventories if one.missing):
        by_reason[one.missing.removeprefix(f"{one.name} ")].append(one.name)
    return [f"{', '.join(names)}: {reason}" for reason, names in by_reason.items()]


def _format_found(inventories: list[DatasetCheck], sheets: list[DataSheetDocument | None]) -> list[str]:
    pairs = zip(inventories, sheets, strict=True)
    return [_format_inventory(inventory, sheet) for inventory, sheet in pairs if not inventory.missing]


def _format_inventory(inventory: DatasetCheck, sheet: DataSheetDocument | None) -> str:
    heads = ("split", "images", "objects", "not difficult", "pairs", "difficult only", "photographs", "")
    rows = [
        (split.name, *map(str, asdict(split.counts).values()), str(split.photographs), split.problem)
        if split.counts
        else (split.name, *[""] * 6, split.problem)
        for split in inventory.splits
    ]
    digests = [f"contents of {split.name}: {split.contents}" for split in inventory.splits if split.contents]
    remarks = [*inventory.notes, *(one.describe() for one in inventory.left_out)]
    notes = [*(f"note: {remark}" for remark in remarks), *(_format_notes(sheet) if sheet else ())]
    lines = [inventory.name, align_columns([heads, *rows]), *digests, *notes]
    if inventory.left_out:
        lines.append(f"{format_count(count_files(inventory.left_out), 'file')} left out: see the notes")
    if sheet and sheet["written"]:
        lines.append(f"{format_count(sheet['images'], 'photograph')} to look at: {sheet['written']}")
    return "\n".join(lines)
