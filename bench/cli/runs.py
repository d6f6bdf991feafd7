"""`runs`: the disk space of the runs folder, and deleting old parts of it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli import options
from bench.cli.documents import DiskUseDocument, PruneDocument, StoredItemDocument
from bench.cli.output import align_columns, echo, emit
from bench.errors import RequestError, format_bytes, format_count

if TYPE_CHECKING:
    from bench.core.files import Places
    from bench.execution.housekeeping import StoredItem
    from bench.records.result import Result

KEPT = ("published", "results")
KINDS = ("trainings", "predictions", "features")
"""What may be pruned; the first two by default."""

_SECONDS = {"h": 3600, "d": 86400, "w": 7 * 86400}


def _parse_age(_context: click.Context, option: click.Parameter, value: str | None) -> float | None:
    """Parse an age in seconds: `12h`, `30d`, `2w`. Raises RequestError."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d+)([hdw])", value)
    if match is None:
        raise RequestError(f"{option.opts[0]}: expected hours, days or weeks, as 12h, 30d or 2w, but got {value!r}.")
    return float(match[1]) * _SECONDS[match[2]]


def _parse_choices(_context: click.Context, option: click.Parameter, values: Sequence[str]) -> tuple[str, ...]:
    """Parse names of a fixed list, separated by commas. Raises RequestError."""
    names = options.parse_names(_context, option, values)
    known = KEPT if option.name == "keep" else KINDS
    for name in names:
        if name not in known:
            raise RequestError(f"{option.opts[0]}: expected {' or '.join(known)}, but got {name!r}.")
    return names


@click.group("runs")
def runs() -> None:
    """Show what the runs folder takes on the disk, and delete old parts of it."""


@runs.command("du", epilog=options.example("runs du"))
@click.option("--top", type=click.IntRange(min=0), default=10, show_default=True, help="Items to list, the largest.")
@options.places
@options.as_json
def du(top: int, places: Places, as_json: bool) -> None:
    """Show how many bytes each part of the runs folder takes, and its largest items."""
    from bench.execution.housekeeping import list_items

    items = list_items(places)
    kinds: defaultdict[str, int] = defaultdict(int)
    for item in items:
        kinds[item.kind] += item.bytes
    by_size = dict(sorted(kinds.items(), key=lambda pair: -pair[1]))
    total = sum(kinds.values())
    if as_json:
        largest = [_to_document(item, places.runs) for item in items[:top]]
        document: DiskUseDocument = {"bytes": total, "kinds": by_size, "largest": largest}
        emit(document)
        return
    counts = {kind: sum(item.kind == kind for item in items) for kind in by_size}
    rows = [(kind, str(counts[kind]), format_bytes(size)) for kind, size in by_size.items()]
    echo(align_columns([("part", "items", "size"), *rows, ("all", str(len(items)), format_bytes(total))]))
    if items[:top]:
        echo(f"\n{_format_items(items[:top], places.runs)}")


@runs.command("prune", epilog=options.example("runs prune --keep published --older 30d --dry-run"))
@click.option(
    "--keep",
    multiple=True,
    callback=_parse_choices,
    metavar="published|results",
    help="Keep what published results rest on, or what any result in the runs folder does; repeats and takes commas.",
)
@click.option("--older", callback=_parse_age, metavar="AGE", help="Only what was written before: 12h, 30d, 2w ago.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    callback=_parse_choices,
    metavar="|".join(KINDS),
    help="Only these parts; repeats and takes commas.  [default: trainings,predictions]",
)
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, and delete nothing.")
@options.places
@options.results
@options.as_json
def prune(
    *,
    keep: tuple[str, ...],
    older: float | None,
    kinds: tuple[str, ...],
    dry_run: bool,
    places: Places,
    results: Path,
    as_json: bool,
) -> None:
    """Delete trainings and predictions; results stay, and what a process is working on, with all that it needs.

    What was deleted is made again, at the same address, by the command that made it.
    """
    if not keep and older is None:
        raise click.UsageError("say what stays: --keep published, --keep results, or --older AGE.")
    from bench.execution.housekeeping import choose_prunable
    from bench.execution.housekeeping import prune as delete

    chosen = choose_prunable(
        places, kinds=kinds or KINDS[:2], kept=_list_kept(keep, places, results), older_s=older or 0.0
    )
    free = [item for item in chosen if not item.why_kept]
    deleted, kept = (free, [item for item in chosen if item.why_kept]) if dry_run else delete(chosen)
    if as_json:
        document: PruneDocument = {
            "dry_run": dry_run,
            "bytes": sum(item.bytes for item in deleted),
            "deleted": [_to_document(item, places.runs) for item in deleted],
            "kept": [_to_document(item, places.runs) for item in kept],
        }
        emit(document)
        return
    if deleted:
        echo(_format_items(deleted, places.runs))
    verb, size = ("Would delete", "Deleted")[not dry_run], format_bytes(sum(item.bytes for item in deleted))
    echo(f"{verb} {format_count(len(deleted), 'item')}, {size}.{_explain_kept(kept)}")


def _list_kept(keep: Sequence[str], places: Places, results: Path) -> list[Result]:
    """Return the results whose trainings and predictions stay. Raises RequestError if a kind has none."""
    from bench.records.result import list_records, read_result
    from bench.verbs.results import MEASURED

    folders = {"published": results / MEASURED, "results": places.runs / "results"}
    records = {name: [*list_records(folders[name])] for name in keep}
    if empty := [name for name, found in records.items() if not found]:
        raise RequestError(f"--keep {empty[0]}: {folders[empty[0]]} holds no results, so nothing would be kept.")
    return [read_result(record) for found in records.values() for record in found]


def _explain_kept(kept: Sequence[StoredItem]) -> str:
    reasons: defaultdict[str, int] = defaultdict(int)
    for item in kept:
        reasons[item.why_kept or "in use since just now"] += 1
    return "".join(f" {format_count(count, 'item')} kept: {reason}." for reason, count in reasons.items())


def _format_items(items: Sequence[StoredItem], folder: Path) -> str:
    documents = [_to_document(item, folder) for item in items]
    rows = [(one["name"], one["label"], one["modified"][:10], format_bytes(one["bytes"])) for one in documents]
    return align_columns([("item", "method", "written", "size"), *rows])


def _to_document(item: StoredItem, folder: Path) -> StoredItemDocument:
    return {
        "kind": item.kind,
        "name": item.path.relative_to(folder).as_posix(),
        "bytes": item.bytes,
        "modified": datetime.fromtimestamp(item.modified, UTC).isoformat(timespec="seconds"),
        "label": item.label,
        "why_kept": item.why_kept,
    }
