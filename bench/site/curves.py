"""Metrics against the overlap, distance or threshold that a protocol fixes: a plot, and a table of the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from bench.analysis.curves import Curve, find_switch
from bench.records.result import Result
from bench.site.parts import Board, make_text_table, markup
from bench.site.plots import Plot, name_first, plot_lines
from bench.tables.numbers import percent
from bench.tables.ranked import SeedGroup, mean_over_seeds

Line = Mapping[float, float | None]
"""The value of a metric, by value of the switch."""


class DrawnCurves(NamedTuple):
    """Lines against `label`; plot and table are None without any. is_whole: whether no row lacks its curve."""

    label: str
    plot: Plot | None = None
    table: Markup | None = None
    is_whole: bool = False


def draw_curve(result: Result, curve: Curve | None, *, is_run: bool) -> DrawnCurves | None:
    """Draw the metrics that change along a result's curve; None if none can. is_run: whether a run could have one."""
    if curve is None:
        switch = find_switch(result)
        return DrawnCurves(switch.label) if switch and is_run else None
    lines = {name: dict(zip(curve.values, curve.metrics[name], strict=True)) for name in curve.moved}
    if not lines:
        return None
    first = curve.moved[0]
    named = first if len(lines) == 1 else "metrics"
    title, y = f"{named} against the {curve.label}", _name_axis(named, higher=result.higher_is_better[first])
    rows = [(f"{value:g}", *(percent(line[value]) for line in lines.values())) for value in curve.values]
    table = make_text_table(f"{title}, per cent", (curve.label, *lines), rows)
    return DrawnCurves(curve.label, _plot(title, lines, curve.label, y, curve.own), markup(table), True)


def draw_curves(board: Board, curves: Mapping[str, Curve]) -> DrawnCurves | None:
    """Draw the mean over each row's seeds if all have a curve; None if the protocol has none. curves: by address."""
    switch = find_switch(board.of[0][0])
    if switch is None:
        return None
    shown = name_first(board.table, board.of)
    known = {
        name: [curves[one.address] for one in group]
        for name, _, group in shown
        if all(one.address in curves for one in group)
    }
    every = [curve for group in known.values() for curve in group]
    metric = _find_metric(board.of, every)
    if metric is None:
        return None if len(known) == len(shown) else DrawnCurves(switch.label)
    lines = {name: _average(group, metric) for name, group in known.items()}
    title, owns = f"{metric} against the {switch.label}", {curve.own for curve in every}
    left_out = f"; {len(lines)} of {len(board.of)} rows" if len(lines) < len(board.of) else ""
    values = sorted({value for line in lines.values() for value in line})
    rows = [(name, *(percent(line.get(value)) for value in values)) for name, line in lines.items()]
    table = make_text_table(f"{title}, per cent", ("method", *(f"{value:g}" for value in values)), rows)
    plot = _plot(
        title + left_out,
        lines,
        switch.label,
        _name_axis(metric, higher=board.of[0][0].higher_is_better.get(metric, True)),
        owns.pop() if len(owns) == 1 else None,
    )
    return DrawnCurves(switch.label, plot, markup(table), len(lines) == len(shown))


def _name_axis(metric: str, *, higher: bool) -> str:
    return f"{metric}, per cent{'' if higher else ' (lower is better)'}"


def _find_metric(rows: Sequence[SeedGroup], curves: Sequence[Curve]) -> str | None:
    """Find the first metric of rows that changes along any curve."""
    moved = {name for curve in curves for name in curve.moved}
    return next((name for group in rows for name in group[0].metrics if name in moved), None)


def _average(group: Sequence[Curve], metric: str) -> Line:
    lines = [dict(zip(curve.values, curve.metrics.get(metric, ()), strict=False)) for curve in group]
    return {value: mean_over_seeds([line.get(value) for line in lines]) for value in lines[0]}


def _plot(title: str, lines: Mapping[str, Line], x: str, y: str, own: float | None) -> Plot:
    points = {
        name: [(value, 100 * number) for value, number in line.items() if number is not None]
        for name, line in lines.items()
    }
    return plot_lines(title, points, x, y, mark=own)
