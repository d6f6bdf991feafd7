"""One result as tables: its metrics, then each of them by class."""

from __future__ import annotations

from collections.abc import Iterator

from bench.records.result import Result
from bench.tables.model import Cell, Row, Table
from bench.tables.numbers import bounds, percent

COLUMNS = ("per cent", "95 % interval")


def make_result_tables(result: Result) -> Iterator[Table]:
    """Make the table of a result's metrics, and one of each metric by class."""
    where = f"{result.protocol} on {result.dataset} {result.split}{' (partial)' if result.partial else ''}"
    rows = [_make_row(name, value, result.intervals.get(name)) for name, value in result.metrics.items()]
    title, remarks = f"{result.label} · {where}{result.seed_suffix}", (*result.notes, f"result {result.address}")
    yield Table(title, ("metric", *COLUMNS), tuple(rows), remarks=remarks)
    for metric, values in result.per_class.items():
        intervals = result.class_intervals.get(metric, {})
        rows = [_make_row(name, value, intervals.get(name)) for name, value in values.items()]
        yield Table(f"{metric} by class", ("class", *COLUMNS), tuple(rows))


def _make_row(name: str, value: float | None, ends: tuple[float, float] | None) -> Row:
    return Cell(name, name), Cell(value, percent(value) or "undefined"), Cell(None, bounds(ends))
