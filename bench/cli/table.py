"""`table` and `publish`: leaderboards and papers' tables, and results copied into the repository."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench import registry
from bench.cli import options
from bench.cli.documents import TableDocument, TableRowDocument, TablesDocument, WrittenDocument
from bench.cli.output import emit, say
from bench.errors import RequestError, UnknownNameError

if TYPE_CHECKING:
    from bench.core.files import Places
    from bench.records.result import Result
    from bench.records.store import Store
    from bench.tables.model import Row, Table

MEASURED = registry.ROOT / "results" / "measured"
LEADERBOARD = "leaderboard"


@click.command("table")
@options.track
@click.argument(
    "name", default=LEADERBOARD, metavar="[leaderboard | PAPER-NUMBER]", shell_complete=options.make_completer("tables")
)
@options.only_protocols
@click.option(
    "--data",
    metavar="NAME|FILE.toml",
    callback=options.parse_dataset,
    shell_complete=options.make_completer("datasets"),
    help="Results on this dataset (default: each protocol's own).",
)
@options.format_
@options.places
@options.plugin
@options.as_json
def table(
    *,
    track: str | None,
    name: str,
    protocols: tuple[str, ...],
    data: str | None,
    format_: str,
    places: Places,
    as_json: bool,
) -> None:
    """Print the leaderboard, or a paper's table with measured results below the reported ones.

    The results are those of the runs folder and results/measured. The leaderboard has a table for each protocol, best
    method first; rows evaluated under the same conventions are ranked by the first metric, as 1 + the number of
    significantly better rows. The papers' tables, such as melm-3, leave out synthetic results; python -m bench list
    tables lists them. Numbers that cannot be compared are marked, and a footnote says why. With --track, the
    leaderboards have the results of that track only.
    """
    if track is not None:
        if data or name != LEADERBOARD:
            raise click.UsageError("--track has leaderboards of its own data: give --protocol only.")
        tables = _make_track_leaderboards(track, protocols, places)
    elif name == LEADERBOARD:
        tables = _make_leaderboards(protocols, data, places)
    elif protocols or data:
        raise click.UsageError("--protocol and --data apply to the leaderboard only.")
    else:
        tables = [_make_paper_table(name, places)]
    if as_json:
        document: TablesDocument = {"tables": [_to_document(each) for each in tables]}
        emit(document)
        return
    click.echo(_format_tables(tables, format_, widen=name == LEADERBOARD))


@click.command("publish")
@click.argument("address", required=False)
@options.track
@click.option("--into", type=options.FILE, default=MEASURED, help="Folder to copy into (default: results/measured).")
@options.allow_dirty
@options.places
@options.as_json
def publish(
    address: str | None, track: str | None, into: Path, *, allow_dirty: bool, places: Places, as_json: bool
) -> None:
    """Copy a result, or all results of a track, into results/measured: records, and outcomes if they are small.

    A result from an edited checkout is refused: no revision has the code that made it.
    """
    from bench.records.store import Store

    if (address is None) == (track is None):
        raise click.UsageError("expected the address of a result, or --track", click.get_current_context())
    store = Store(places)
    addresses = _list_addresses(track, store, allow_dirty) if track is not None else [str(address)]
    written = [str(path) for each in addresses for path in store.publish(each, into, allow_dirty=allow_dirty)]
    if as_json:
        document: WrittenDocument = {"written": written}
        emit(document)
        return
    for path in written:
        click.echo(f"Wrote {path}")


def format_leaderboards(track: str, protocols: Sequence[str], places: Places) -> str:
    """Format the leaderboards of a track under these protocols as text."""
    return _format_tables(_make_track_leaderboards(track, protocols, places), "text", widen=True)


def _format_tables(tables: Sequence[Table], format_: str, *, widen: bool) -> str:
    """Format tables; `widen`: with more columns, which CSV has anyway."""
    from bench.tables.leaderboard import add_columns
    from bench.tables.render import FORMATS

    shown = [add_columns(each) for each in tables] if widen and format_ != "csv" else tables
    return "\n\n".join(FORMATS[format_](each) for each in shown)


def _make_track_leaderboards(name: str, protocols: Sequence[str], places: Places) -> list[Table]:
    from bench.records.collection import list_results
    from bench.tracks.leaderboards import make_leaderboards
    from bench.tracks.track import read_track

    tables = make_leaderboards(read_track(name), list_results(places, MEASURED), protocols)
    if not tables:
        say(f"No results of track {name} yet: python -m bench run --track {name} --method all")
    return tables


def _list_addresses(name: str, store: Store, allow_dirty: bool) -> list[str]:
    """List the results of a track in the runs folder. Raises RequestError if there are none, or some are edited."""
    from bench.records.result import require_committed
    from bench.tracks.track import read_track

    track = read_track(name)
    results = [result for result in store.list_results() if track.includes(result)]
    if not results:
        raise RequestError(f"No results of track {name} in {store.places.runs / 'results'}.")
    require_committed([] if allow_dirty else results)
    return [result.address for result in results]


def _make_paper_table(name: str, places: Places) -> Table:
    from bench.records.collection import list_results
    from bench.tables.leaderboards import paper_table
    from bench.tables.papers import reported_tables

    if name not in (known := reported_tables()):
        raise UnknownNameError("table", name, [LEADERBOARD, *known], hint="python -m bench list tables")
    return paper_table(name, list_results(places, MEASURED))


def _make_leaderboards(protocols: tuple[str, ...], data: str | None, places: Places) -> list[Table]:
    from bench.records.collection import list_results
    from bench.tables.leaderboards import board

    known = list_results(places, MEASURED)
    results = [stored.result for stored in known]
    if data is not None:
        from bench.data.datasets import list_datasets

        if data not in (known_names := {*list_datasets(), *(result.dataset for result in results)}):
            raise UnknownNameError("dataset", data, known_names, hint="python -m bench list datasets")
    tables = []
    for protocol in protocols or dict.fromkeys(result.protocol for result in results):
        dataset = data or registry.protocol(protocol).dataset or _choose_dataset(protocol, results)
        has_results = any((result.protocol, result.dataset) == (protocol, dataset) for result in results)
        if has_results or protocols:
            tables.append(board(protocol, dataset, known))
        if not has_results:
            _suggest_datasets(protocol, dataset, results)
    return tables


def _choose_dataset(protocol: str, results: list[Result]) -> str:
    """Return the one dataset on which a protocol for any dataset has results. Raises RequestError if it is not one."""
    names = sorted({result.dataset for result in results if result.protocol == protocol})
    if len(names) != 1:
        raise RequestError(f"{protocol} has results on {', '.join(names) or 'no dataset'}: add --data NAME.")
    return names[0]


def _suggest_datasets(protocol: str, dataset: str, results: list[Result]) -> None:
    others = sorted({result.dataset for result in results if result.protocol == protocol})
    hint = f" It has results on {', '.join(others)}: add --data {others[0]}." if others else ""
    say(f"No results of {protocol} on {dataset}.{hint}")


def _to_document(table: Table) -> TableDocument:
    rows = [_to_row(table, group, row) for group, rows in table.sections() for row in rows]
    return {"title": table.title, "columns": list(table.names), "rows": rows, "remarks": list(table.remarks)}


def _to_row(table: Table, group: str, row: Row) -> TableRowDocument:
    document: TableRowDocument = {
        "values": dict(zip(table.names, (cell.value for cell in row), strict=True)),
        "more": {name: value for cell in row for name, value in cell.extra.items()},
        "notes": [table.notes[mark] for cell in row for mark in cell.marks],
    }
    return {"group": group, **document} if table.groups else document
