"""The numbers that papers report for a method, beside the measured ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.site.parts import UP, markup
from bench.site.paths import paper_page
from bench.tables.beside import LEGEND, count_digits, make_difference_cell
from bench.tables.caveats import explain_caveats, list_caveats
from bench.tables.matching import Matches, Measured
from bench.tables.model import Cell, Row, Table
from bench.tables.numbers import percent
from bench.tables.reported import Reported, ReportedTable

AGAINST = ("table", "row", "column", "reported", "measured", "difference", "not comparable")
MEASURED = AGAINST.index("measured")


def compare_reported(method: str, papers: Sequence[str], found: Mapping[str, tuple[ReportedTable, Matches]]) -> str:
    """Return a method's numbers in these papers' tables beside measured ones, as an HTML table; empty without any."""
    reported = [row for paper in papers for row in _list_reported(paper, *found[paper], method)]
    reported.sort(key=lambda row: not row[MEASURED].text)
    return str(markup(_make_comparison(reported))) if reported else ""


def _list_reported(name: str, table: ReportedTable, found: Matches, method: str) -> Iterator[Row]:
    """List a paper table's numbers for this method (not per class), each with its measured values, if any."""
    heads = {column.key: f"{column.group or ''} {column.head}".strip() for column in table.columns}
    for number in table.numbers():
        if not number.is_mean or number.method is None or number.method.partition(":")[0] != method:
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
    reasons = "; ".join(one.reasons)
    return (
        Cell(one.value, percent(one.value, count_digits(number.value)), list_caveats(one.results)),
        Cell() if reasons else make_difference_cell(one, number),
        Cell(reasons, reasons),
    )


def _make_comparison(rows: Sequence[Row]) -> Table:
    return Table("Means that papers report, per cent", AGAINST, tuple(rows), explain_caveats(rows), (LEGEND,))
