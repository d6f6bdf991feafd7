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
    from bench.files import Places
    from bench.result import Result
    from bench.tables.model import Table

MEASURED = registry.ROOT / "results" / "measured"
TABLES = ("leaderboard",)


@click.command("table")
@click.argument("name", default="leaderboard", metavar=f"[{'|'.join(TABLES)}]")
@click.option(
    "--protocol", "protocols", multiple=True, callback=options.names, help="Only these; repeats, takes commas."
)
@click.option("--data", metavar="DATASET", help="Results on this dataset; without it, on each protocol's own.")
@click.option("--format", "format_", type=click.Choice(["text", "markdown", "csv"]), default="text", show_default=True)
@options.places
@options.plugin
@options.as_json
def table(name: str, protocols: tuple[str, ...], data: str | None, format_: str, places: Places, as_json: bool) -> None:
    """Methods by metrics, from the runs folder and results/measured.

    Rows that were judged alike are ranked by the first metric: 1 + how many are significantly better.
    """
    if name not in TABLES:
        raise UnknownNameError("table", name, TABLES)
    tables = _leaderboards(protocols, data, places)
    if as_json:
        emit({"tables": [_document(one) for one in tables]})
        return
    from bench.tables.render import FORMATS

    click.echo("\n\n".join(FORMATS[format_](one) for one in tables))


@click.command("publish")
@click.argument("address")
@click.option("--into", type=options.FILE, default=MEASURED, help="Folder to publish into; else results/measured.")
@options.places
@options.as_json
def publish(address: str, into: Path, places: Places, as_json: bool) -> None:
    """Put a result into results/measured: its record, and its outcomes where they are small."""
    from bench.store import Store

    written = [str(path) for path in Store(places).publish(address, into)]
    if as_json:
        emit({"written": written})
        return
    for path in written:
        click.echo(f"Wrote {path}")


def _leaderboards(protocols: tuple[str, ...], data: str | None, places: Places) -> list[Table]:
    from bench.kept import kept
    from bench.replicates import read_replicates
    from bench.tables.leaderboard import leaderboard

    known = kept(places, MEASURED)
    results = [one.result for one in known]
    records = {one.result.address: one.record for one in known}
    if data is not None:
        from bench.data.datasets import DATASETS

        if data not in DATASETS:
            raise UnknownNameError("dataset", data, DATASETS)
    tables = []
    for protocol in protocols or dict.fromkeys(result.protocol for result in results):
        bound = registry.bind(registry.protocol(protocol))
        dataset = data or bound.record.dataset
        chosen = [result for result in results if (result.protocol, result.dataset) == (protocol, dataset)]
        if chosen or protocols:
            says = bound.conventions.model_dump(mode="json")
            draws = {result.address: read_replicates(records[result.address]) for result in chosen}
            tables.append(leaderboard(protocol, dataset, chosen, says, draws))
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
            "values": dict(zip(table.columns, (cell.value for cell in row), strict=True)),
            "more": {name: value for cell in row for name, value in cell.extra.items()},
            "notes": [table.notes[mark] for cell in row for mark in cell.marks],
        }
        for row in table.rows
    ]
    return {"title": table.title, "columns": list(table.columns), "rows": rows, "remarks": list(table.remarks)}
