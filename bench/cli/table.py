"""`table` and `publish`: results beside each other, and results to keep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench import registry
from bench.cli import options
from bench.cli.output import emit, say
from bench.errors import UnknownNameError

if TYPE_CHECKING:
    from bench.core.files import Places
    from bench.records.result import Result
    from bench.tables.model import Table

MEASURED = registry.ROOT / "results" / "measured"
LEADERBOARD = "leaderboard"


@click.command("table")
@click.argument(
    "name", default=LEADERBOARD, metavar="[leaderboard | PAPER-NUMBER]", shell_complete=options.complete("tables")
)
@options.only_protocols
@click.option(
    "--data",
    metavar="DATASET",
    shell_complete=options.complete("datasets"),
    help="Results on this dataset; without it, on each protocol's own.",
)
@options.format_
@options.places
@options.plugin
@options.as_json
def table(
    *, name: str, protocols: tuple[str, ...], data: str | None, format_: str, places: Places, as_json: bool
) -> None:
    """Methods by metrics, or a paper's table with what was measured beneath what it reports.

    From the runs folder and results/measured. The leaderboard has a table for each protocol, the best first; rows that
    were judged alike are ranked by the first metric: 1 + how many are significantly better. The papers' tables (melm-3;
    python -m bench list tables) have no synthetic results. What cannot be compared is marked, and a note says why.
    """
    if name == LEADERBOARD:
        tables = _leaderboards(protocols, data, places)
    elif protocols or data:
        raise click.UsageError("--protocol and --data are of the leaderboard.")
    else:
        tables = [_paper_table(name, places)]
    if as_json:
        emit({"tables": [_document(one) for one in tables]})
        return
    from bench.tables.leaderboard import widened
    from bench.tables.render import FORMATS

    if name == LEADERBOARD and format_ != "csv":  # which has every extra in a column anyway
        tables = [widened(one) for one in tables]
    click.echo("\n\n".join(FORMATS[format_](one) for one in tables))


@click.command("publish")
@click.argument("address")
@click.option("--into", type=options.FILE, default=MEASURED, help="Folder to publish into; else results/measured.")
@options.places
@options.as_json
def publish(address: str, into: Path, places: Places, as_json: bool) -> None:
    """Put a result into results/measured: its record, and its outcomes where they are small."""
    from bench.records.store import Store

    written = [str(path) for path in Store(places).publish(address, into)]
    if as_json:
        emit({"written": written})
        return
    for path in written:
        click.echo(f"Wrote {path}")


def _paper_table(name: str, places: Places) -> Table:
    from bench.records.collection import kept
    from bench.tables.leaderboards import paper_table
    from bench.tables.papers import reported_tables

    if name not in (known := reported_tables()):
        raise UnknownNameError("table", name, [LEADERBOARD, *known], hint="python -m bench list tables")
    return paper_table(name, kept(places, MEASURED))


def _leaderboards(protocols: tuple[str, ...], data: str | None, places: Places) -> list[Table]:
    from bench.records.collection import kept
    from bench.tables.leaderboards import board

    known = kept(places, MEASURED)
    results = [one.result for one in known]
    if data is not None:
        from bench.data.datasets import DATASETS

        if data not in DATASETS:
            raise UnknownNameError("dataset", data, DATASETS, hint="python -m bench list datasets")
    tables = []
    for protocol in protocols or dict.fromkeys(result.protocol for result in results):
        dataset = data or registry.protocol(protocol).dataset
        chosen = any((result.protocol, result.dataset) == (protocol, dataset) for result in results)
        if chosen or protocols:
            tables.append(board(protocol, dataset, known))
        if not chosen:
            _say_where_else(protocol, dataset, results)
    return tables


def _say_where_else(protocol: str, dataset: str, results: list[Result]) -> None:
    others = sorted({result.dataset for result in results if result.protocol == protocol})
    hint = f" There are some on {', '.join(others)}: --data {others[0]}." if others else ""
    say(f"No results of {protocol} on {dataset}.{hint}")


def _document(table: Table) -> dict[str, object]:
    rows = [
        {
            **({"group": group} if table.groups else {}),
            "values": dict(zip(table.names, (cell.value for cell in row), strict=True)),
            "more": {name: value for cell in row for name, value in cell.extra.items()},
            "notes": [table.notes[mark] for cell in row for mark in cell.marks],
        }
        for group, rows in table.sections()
        for row in rows
    ]
    return {"title": table.title, "columns": list(table.names), "rows": rows, "remarks": list(table.remarks)}
