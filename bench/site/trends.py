"""Results over revisions, each with the gate's verdict against the one before as its baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from bench.analysis.gate import gate
from bench.analysis.trend import Point, Trend, make_table, trends
from bench.records.collection import StoredResult
from bench.records.replicates import read_replicates
from bench.site.plots import Plot, plot_trend
from bench.tables.leaderboard import find_interval
from bench.tables.model import Cell, Table

REMARK = "gate: what it says of the first metric, had the row before been the baseline; nothing where settings differ."


def draw_trends(known: Sequence[StoredResult]) -> Iterator[tuple[Trend, Plot, Table]]:
    """Plot and tabulate each trend of these results that has more than one point."""
    stored = {one.result.address: one for one in known}
    for trend in trends(one.result for one in known):
        if len(trend.points) > 1:
            verdicts = check_points(trend, stored)
            intervals = [_find_interval(point, stored) for point in trend.points]
            yield trend, plot_trend(trend, verdicts, intervals), _add_verdicts(make_table(trend), verdicts)


def _find_interval(point: Point, stored: Mapping[str, StoredResult]) -> tuple[float, float] | None:
    """Find the interval of a point's first metric, as leaderboards show it."""
    metric, value = next(iter(point.values.items()))
    several = point.results if len(point.results) > 1 else ()  # the interval of a single result is recorded
    draws = {one.address: read_replicates(stored[one.address].record) for one in several}
    return None if value is None else find_interval(point.results, metric, value, draws)


def check_points(trend: Trend, stored: Mapping[str, StoredResult]) -> list[str]:
    """Return the gate's verdict on each point; empty if settings differ from the point before, or no seed is shared."""
    verdicts = [""]
    for before, point in pairwise(trend.points):
        old, new = ([stored[one.address] for one in each.results] for each in (before, point))
        status = "no baseline" if point.moved else next((check.status for check in gate(new, old)), "no baseline")
        verdicts.append("" if status == "no baseline" else status)
    return verdicts


def _add_verdicts(table: Table, verdicts: Sequence[str]) -> Table:
    if not any(verdicts):
        return table
    rows = tuple((*row, Cell(verdict, verdict)) for row, verdict in zip(table.rows, verdicts, strict=True))
    return replace(table, columns=(*table.columns, "gate"), rows=rows, remarks=(*table.remarks, REMARK))
