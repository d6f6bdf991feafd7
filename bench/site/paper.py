"""The page of a paper's table: printed and measured numbers, as a plot and a table, and how to measure the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.records.result import SYNTHETIC
from bench.site.downloads import list_downloads
from bench.site.parts import UP, markup
from bench.site.paths import method_page, paper_file, protocol_page, run_page
from bench.site.plots import Plot
from bench.tables.matching import Matches, Measured
from bench.tables.model import Cell, Row, Table
from bench.tables.plan import PlannedCell, plan_tables
from bench.tables.reported import Reported, ReportedTable

if TYPE_CHECKING:
    from bench.site.material import Material

WIDE = 12
"""A table with more columns is set in small type."""

FEW = 4
"""The most columns that are named one by one."""

_MOST = 80
"""The most rows of a plot; the table has all."""

_MOST_MEASURED = 3
"""The most measured numbers plotted beside a printed one: those with the fewest reasons against comparing them."""


def make_values(name: str, material: Material) -> dict[str, Any]:
    """Return the template's values."""
    table, found = material.found[name]
    missing = _list_missing(table, found)
    return {
        "title": f"{table.citation}, Table {table.table}",
        "name": name,
        "caption": table.title,
        "kind": "bare wide" if len(table.columns) > WIDE else "bare",
        "plot": _plot_printed(table, found),
        "table": markup(_link_cells(material.add_measured(name), table, found)),
        "files": list_downloads(partial(paper_file, name), UP),
        "related": list(_list_related(table, material)),
        "plan": markup(_tabulate_plan(missing)) if missing else "",
        "notes": table.notes,
    }


def _list_related(table: ReportedTable, material: Material) -> Iterator[tuple[str, str, str]]:
    """Yield other protocols of the same families with results on real data: name, page, and methods of this table."""
    printed = {number.method for number in table.numbers()}
    families = {registry.protocol(name).family for name in table.protocols()}
    for board in material.boards:
        methods = sorted({group[0].method for group in board.of} & printed)
        is_other = board.protocol not in table.protocols() and board.dataset not in SYNTHETIC
        if is_other and methods and registry.protocol(board.protocol).family in families:
            yield board.protocol, UP + protocol_page(board.protocol), ", ".join(methods)


def _link(measured: Measured) -> str:
    """Link to a number's run, or to its method if it is the mean over several."""
    first, *others = measured.results
    return UP + (method_page(first.method) if others else run_page(first.address))


def _plot_printed(table: ReportedTable, found: Matches) -> Plot | None:
    """Plot the printed means beside their measured numbers, those with any first."""
    rows = [row for number in table.numbers() if number.is_mean for row in _list_points(table, found, number)]
    if not rows:
        return None
    shown = sorted(rows, key=lambda row: row["value"] is None)[:_MOST]
    measured = sum(row["value"] is not None for row in rows)
    left_out = f"; {_MOST} of {len(rows)} are shown" if len(rows) > _MOST else ""
    summary = f"{len(rows)} printed means, {measured} with a measured number beside them{left_out}."
    return Plot("printed", f"Printed and measured, per cent{left_out}", summary, {"rows": shown})


def _list_points(table: ReportedTable, found: Matches, number: Reported) -> Iterator[dict[str, Any]]:
    """List a printed number with each of its measured numbers, or alone if it has none."""
    column = next(column for column in table.columns if column.key == number.column)
    heads = {column.head for column in table.columns if column.metric is not None and column.class_ is None}
    printed = table.rows[number.row]
    label = f"{printed.label} ({printed.group})" if printed.group else printed.label
    row = {
        "name": f"{label}, {f'{column.group} ' if column.group else ''}{column.head}" if len(heads) > 1 else label,
        "printed": float(number.value),
        "value": None,
        "link": f"#{_anchor(number.row)}",
    }
    points = [line[number.column] for line in found.lines[number.row] if number.column in line]
    best = sorted(points, key=lambda one: len(one.reasons))[:_MOST_MEASURED]
    yield from (row | _describe_point(one) for one in best)
    if not points:
        yield row


def _describe_point(one: Measured) -> dict[str, Any]:
    low, high = one.interval or (None, None)
    percents = {"value": one.value, "low": low, "high": high}
    return {
        **{name: None if value is None else round(100 * value, 2) for name, value in percents.items()},
        "by": one.results[0].label,
        "reasons": "; ".join(one.reasons),
        "link": _link(one),
    }


def _link_cells(shown: Table, table: ReportedTable, found: Matches) -> Table:
    """Link each measured number to its run, and each printed one without any to its plan."""
    rows, index, line = [], -1, -1
    for row in shown.rows:
        kind = row[0].extra["row"]
        index, line = (index + 1, -1) if kind == "reported" else (index, line + (kind == "measured"))
        links = {}
        if kind == "measured":
            links = {key: _link(one) for key, one in found.lines[index][line].items()}
        elif kind == "reported":
            measured = {key for one in found.lines[index] for key in one}
            numbers = {number.column for number in table.numbers() if number.row == index}
            links = dict.fromkeys(numbers - measured, f"#{_anchor(index)}")
        rows.append(_link_row(row, table, links))
    return replace(shown, rows=tuple(rows))


def _link_row(row: Row, table: ReportedTable, links: dict[str, str]) -> Row:
    cells = [replace(cell, link=links.get(column.key, "")) for cell, column in zip(row[1:], table.columns, strict=True)]
    return (row[0], *cells)


def _list_missing(table: ReportedTable, found: Matches) -> list[PlannedCell]:
    """List the plans of the numbers that were not measured."""
    measured = {(row, key) for row, key, _ in found.cells()}
    return [cell for cell in plan_tables([table]).cells if (cell.row, cell.column) not in measured]


def _tabulate_plan(missing: Sequence[PlannedCell]) -> Table:
    """Tabulate the command that would measure the numbers of each row, or why none does."""
    groups: defaultdict[tuple[int, str], list[PlannedCell]] = defaultdict(list)
    for cell in missing:
        groups[cell.row, cell.run.command if cell.run else f"Only reported: {cell.reason}."].append(cell)
    rows, seen = [], set[int]()
    for (row, plan), cells in sorted(groups.items(), key=lambda group: group[1][0].run is None):
        heads = ", ".join(cell.head for cell in cells) if len(cells) <= FEW else f"{len(cells)}\u00a0columns"
        label = Cell(cells[0].label, cells[0].label, extra={} if row in seen else {"id": _anchor(row)})
        rows.append((label, Cell(heads, heads), Cell(plan, plan)))
        seen.add(row)
    return Table("Not measured yet", ("row", "numbers", "what would measure them"), tuple(rows))


def _anchor(row: int) -> str:
    """Return the id of a row's plan on the page."""
    return f"plan-{row + 1}"
