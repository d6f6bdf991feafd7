"""The page of a method: its variants, reported and measured results, its curves and runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.analysis.trend import make_table, trends
from bench.records.collection import StoredResult
from bench.records.result import Result
from bench.site.parts import UP, Board, list_runs, markup
from bench.site.paths import paper_page, protocol_page
from bench.site.plots import plot_trend
from bench.site.run import draw_losses
from bench.tables.beside import LEGEND, verdict_on
from bench.tables.caveats import explain_caveats, list_caveats
from bench.tables.matching import Matches, Measured
from bench.tables.model import Cell, Row, Table
from bench.tables.numbers import format_difference, percent
from bench.tables.reported import Reported, ReportedTable
from bench.tables.verdict import SIGNS

if TYPE_CHECKING:
    from bench.site.material import Material

Found = Mapping[str, tuple[ReportedTable, Matches]]
"""The papers' tables by name, with their measured results."""

AGAINST = ("table", "row", "column", "reported", "measured", "difference", "not comparable")
MEASURED = AGAINST.index("measured")


def make_values(name: str, summary: str, material: Material) -> dict[str, Any]:
    """Return the template's values."""
    own, found = [one for one in material.known if one.result.method == name], material.found
    results = [one.result for one in own]
    repeated = [trend for trend in trends(results) if len(trend.points) > 1]
    reported = [row for table in found for row in _list_reported(table, *found[table], name)]
    reported.sort(key=lambda row: not row[MEASURED].text)
    return {
        "title": name,
        "summary": summary,
        "boards": [markup(table) for board in material.boards if (table := _select_rows(board, name)).rows],
        "variants": markup(_list_variants(name, results, found)),
        "reported": markup(_make_comparison(reported)) if reported else "",
        "trends": [(plot_trend(trend), markup(make_table(trend))) for trend in repeated],
        "training": list(_draw_trainings(own)),
        "runs": markup(list_runs(results)),
    }


def _select_rows(board: Board, name: str) -> Table:
    """Return the rows of a leaderboard that belong to this method."""
    rows = tuple(row for row, of in zip(board.table.rows, board.of, strict=True) if of[0].method == name)
    marks = {mark for row in rows for cell in row for mark in cell.marks}
    notes = {mark: note for mark, note in board.table.notes.items() if mark in marks}
    return replace(board.table, rows=tuple(_link_to_protocol(row, board) for row in rows), notes=notes)


def _link_to_protocol(row: Row, board: Board) -> Row:
    return (replace(row[0], link=UP + protocol_page(board.protocol)), *row[1:])


def _list_variants(name: str, results: Sequence[Result], found: Found) -> Table:
    """List each variant in the method's file, the papers' tables with a row for it, and its number of results."""
    listed = registry.methods().get(name)
    labels = [f"{name}:{variant}" for variant in registry.variants(listed)] if listed else []
    rows = []
    for label in labels:
        of = [paper for paper, (table, _) in found.items() if any(row.method == label for row in table.rows)]
        count = sum(result.label == label for result in results)
        rows.append((Cell(label, label), Cell(text := ", ".join(of), text), Cell(count, str(count or ""))))
    return Table("Variants", ("variant", "in the papers' tables", "results"), tuple(rows))


def _list_reported(name: str, table: ReportedTable, found: Matches, method: str) -> Iterator[Row]:
    """List a paper table's numbers for this method (not per class), each with the measured value."""
    heads = {column.key: f"{column.group or ''} {column.head}".strip() for column in table.columns}
    for number in table.numbers():
        if number.metric is None or number.class_ is not None or number.unit != "percent":
            continue
        if number.method is None or number.method.partition(":")[0] != method:
            continue
        label, head = table.rows[number.row].label, heads[number.column]
        where = Cell(name, name, link=UP + paper_page(name)), Cell(label, label), Cell(head, head)
        key = number.column
        lines: list[Measured | None] = [line[key] for line in found.lines[number.row] if key in line]
        for one in lines or [None]:
            yield (*where, Cell(number.fraction, str(number.value)), *_compare_measured(number, one))


def _compare_measured(number: Reported, one: Measured | None) -> Row:
    if one is None:
        return Cell(), Cell(), Cell()
    digits = max(0, -int(number.value.as_tuple().exponent))
    difference, said = one.value - number.fraction, verdict_on(one, number)
    text = format_difference(difference, digits) + (f" {SIGNS[said]}" if said else "")
    reasons = "; ".join(one.reasons)
    return (
        Cell(one.value, percent(one.value, digits), list_caveats(one.results)),
        Cell(difference, text),
        Cell(reasons, reasons),
    )


def _make_comparison(rows: Sequence[Row]) -> Table:
    return Table("Means that papers report, per cent", AGAINST, tuple(rows), explain_caveats(rows), (LEGEND,))


def _draw_trainings(own: Sequence[StoredResult]) -> Iterator[Any]:
    """Draw the loss curves of each training with a log, once."""
    seen: set[str | None] = set()
    for one in own:
        if one.result.training not in seen and (charts := draw_losses(one)):
            seen.add(one.result.training)
            yield replace(charts[0], title=_name_run(one.result))


def _name_run(result: Result) -> str:
    return f"{result.label} on {result.dataset} {result.train_split}{result.seed_suffix}"
