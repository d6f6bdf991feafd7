"""Parts that several pages share: tables of text, of runs and of leaderboard rows, with their links."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from markupsafe import Markup

from bench.records.collection import StoredResult
from bench.records.result import Result
from bench.site.paths import method_page, protocol_page, run_page
from bench.tables.caveats import EDITED, explain_caveats
from bench.tables.html import html
from bench.tables.leaderboard import add_columns, make_distinct_labels
from bench.tables.leaderboards import board
from bench.tables.model import Cell, Row, Table, Value
from bench.tables.numbers import with_interval
from bench.tables.ranked import SeedGroup

SPEED = "images/s: of prediction, as each run was timed; machines, and what else ran on them, may differ."

UP = "../"
"""Path from a page in a folder to the root."""


@dataclass(frozen=True)
class Board:
    """A leaderboard, best first. plain: the table, as the verb `table` prints it. of: the results of each row."""

    protocol: str
    dataset: str
    plain: Table
    of: tuple[SeedGroup, ...]

    @cached_property
    def table(self) -> Table:
        """The table with additional columns and with links."""
        table, metric = add_columns(self.plain), next(iter(self.of[0][0].metrics), "")
        column = table.columns.index(metric) if metric in table.columns else 0
        linked = [_link_row(row, group, column) for row, group in zip(table.rows, self.of, strict=True)]
        remarks = (*table.remarks, *([SPEED] if "images/s" in table.columns else []))
        return replace(table, rows=tuple(linked), remarks=remarks)


def make_board(protocol: str, dataset: str, known: Sequence[StoredResult]) -> Board:
    """Build the leaderboard of a protocol on a dataset."""
    made = board(protocol, dataset, known)
    return Board(protocol, dataset, made, tuple(list_groups(made, {one.result.address: one.result for one in known})))


def list_groups(table: Table, results: Mapping[str, Result]) -> list[SeedGroup]:
    """List the results of each row of a leaderboard, from results by address."""
    return [tuple(results[address] for address in str(row[0].extra["results"]).split()) for row in table.rows]


def _link_row(row: Row, results: SeedGroup, column: int) -> Row:
    """Link the name to the method, and a single result's number to its run; list the results' addresses."""
    cells = list(row)
    if column and len(results) == 1:
        cells[column] = replace(cells[column], link=UP + run_page(results[0].address))
    named: dict[str, Value] = {"results": " ".join(result.address for result in results)}
    cells[0] = replace(cells[0], link=UP + method_page(results[0].method), extra=named)
    return tuple(cells)


def list_runs(results: Sequence[Result]) -> Table:
    """Make the table of results, latest first."""
    latest = sorted(results, key=lambda result: (result.created, result.address), reverse=True)
    rows = tuple(map(_make_run_row, latest, make_distinct_labels(latest, _get_place)))
    columns = ("run", "protocol", "on", "seed", "metric", "value", "made")
    return Table("Runs", columns, rows, explain_caveats(rows))


def _get_place(result: Result) -> tuple[str, ...]:
    return result.protocol, result.dataset, result.split


def _make_run_row(result: Result, name: str) -> Row:
    metric, value = next(iter(result.metrics.items()), ("", None))
    seed = "" if result.seed is None else str(result.seed)
    where = result.evaluated_on
    return (
        Cell(
            name,
            name,
            (EDITED,) * result.is_edited,
            link=UP + run_page(result.address),
            extra={"results": result.address},
        ),
        Cell(result.protocol, result.protocol, link=UP + protocol_page(result.protocol)),
        Cell(where, where),
        Cell(result.seed, seed),
        Cell(metric, metric),
        Cell(value, with_interval(value, result.intervals.get(metric)) or "undefined"),
        Cell(result.created, result.created[:10]),
    )


def make_text_table(title: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Table:
    """Build a table of text."""
    return Table(title, columns, tuple(tuple(Cell(text, text) for text in row) for row in rows))


def flatten(record: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Flatten a record into field names and values as text, without empty ones."""
    for key, value in record.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{above}{key}.")
        elif value not in (None, "", []):
            yield f"{above}{key}", "; ".join(map(str, value)) if isinstance(value, list) else str(value)


def markup(table: Table) -> Markup:
    """Render a table as HTML."""
    return Markup(html(table))  # html() escapes every value
