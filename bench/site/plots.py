"""Plots as data that a page draws (`assets/plots.js`): values in per cent, names as text; a table has the same."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from bench.analysis.errors import ErrorAnalysis
from bench.analysis.trend import Trend
from bench.core.boxes import FloatArray
from bench.records.result import Result
from bench.scoring.detection_errors import ORACLES
from bench.site.data import escape_json
from bench.site.paths import method_page, run_page
from bench.tables.leaderboard import average_cost, get_evaluation
from bench.tables.model import Row, Table
from bench.tables.ranked import SeedGroup, list_values, mean_over_seeds

MOST = 40
"""The most rows of a plot: the best of a leaderboard, whose table has all."""

Points = Sequence[tuple[float, float]]
Intervals = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Plot:
    """A plot. kind: a function of plots.js. summary: what it shows, for screen readers."""

    kind: str
    title: str
    summary: str
    data: Mapping[str, Any]

    @property
    def json(self) -> Markup:
        """The data for a script element, in which nothing can end that element."""
        return Markup(escape_json({"kind": self.kind, **self.data}))


def plot_intervals(table: Table, rows: Sequence[SeedGroup], root: str) -> Plot | None:
    """Plot each row's primary metric with its interval, in the order of the table; None without any value.

    rows: the results of each row of the table. root: path from the page to the index. A floor learns nothing; a
    ceiling saw the evaluated ground truth.
    """
    metric, places = _find_metric(rows), name_first(table, rows)
    shown = [
        _describe_row(name, row, group, metric, table, root)
        for name, row, group in places
        if list_values(group, metric)
    ]
    if not shown:
        return None
    left_out = len(rows) - len(places)
    more = f"; {len(places)} of {len(rows)} rows: the best that were evaluated alike" if left_out else ""
    best = next((one for one in shown if one["role"] == "method"), shown[0])
    summary = f"{metric} of {len(shown)} rows with 95 % intervals{more}. First: {best['name']}, {best['value']}."
    higher = rows[0][0].higher_is_better.get(metric, True)
    return Plot("intervals", f"{table.title}{more}", summary, {"metric": metric, "higher": higher, "rows": shown})


def _find_metric(rows: Sequence[SeedGroup]) -> str:
    """Find the primary metric of rows."""
    return next((name for group in rows for name in group[0].metrics), "")


def name_first(table: Table, rows: Sequence[SeedGroup]) -> list[tuple[str, Row, SeedGroup]]:
    """Name the rows of a table that a plot shows, each with its results; marks tell equal names apart.

    They are the best of those evaluated like the ranked rows, or of all rows if none is ranked.
    """
    counts = Counter(row[0].text for row in table.rows)
    names = [
        f"{first.text} ({', '.join(first.marks)})" if counts[first.text] > 1 and first.marks else first.text
        for first, *_ in table.rows
    ]
    named = [*zip(names, table.rows, rows, strict=True)]
    if "rank" in table.columns:
        column = table.columns.index("rank")
        ranked = {get_evaluation(group) for _, row, group in named if row[column].text}
        named = [one for one in named if get_evaluation(one[2]) in ranked or not ranked]
    return named[:MOST]


def _describe_row(name: str, row: Row, group: SeedGroup, metric: str, table: Table, root: str) -> dict[str, Any]:
    cell = row[table.columns.index(metric)]
    low, high = (cell.extra.get(f"{metric}_{end}") for end in ("low", "high"))
    rank = row[table.columns.index("rank")].text if "rank" in table.columns else ""
    page = run_page(group[0].address) if len(group) == 1 else method_page(group[0].method)
    return {
        "name": name,
        "value": _round(statistics.fmean(list_values(group, metric))),
        "low": _round(low),
        "high": _round(high),
        "rank": rank,
        "role": find_role(group[0]),
        "notes": [table.notes[mark] for mark in row[0].marks if mark in table.notes],
        "link": root + page,
    }


def find_role(result: Result) -> str:
    """Return the role of a result: a method, a floor, which learns nothing, a ceiling, or tuned on what is evaluated.

    The last two saw the evaluated ground truth; a ceiling learns nothing either.
    """
    learned = result.training is not None and result.config.get("epochs") != 0
    if result.tuned_on == "test-oracle":
        return "tuned on what is evaluated" if learned else "ceiling"
    return "method" if learned or "prediction" not in result.seconds else "floor"


def plot_classes(table: Table, rows: Sequence[SeedGroup]) -> Plot | None:
    """Plot the primary metric of classes against methods, in the order of the table; None without classes."""
    metric = _find_metric(rows)
    cells = [*_list_cells(table, rows, metric)]
    classes = dict.fromkeys(cell["class"] for cell in cells)
    if len(classes) < 2:
        return None
    lower = "" if rows[0][0].higher_is_better.get(metric, True) else " (lower is better)"
    summary = f"{metric}{lower} of {len(classes)} classes for each of {len({cell['name'] for cell in cells})} rows."
    return Plot("classes", f"{metric} by class, per cent{lower}", summary, {"metric": metric, "cells": cells})


def _list_cells(table: Table, rows: Sequence[SeedGroup], metric: str) -> Iterator[dict[str, Any]]:
    for name, _, group in name_first(table, rows):
        each = [result.per_class.get(metric, {}) for result in group]
        for label in each[0]:
            value = mean_over_seeds([one.get(label) for one in each])
            if value is not None:
                yield {"name": name, "class": label, "value": _round(value)}


def plot_costs(table: Table, rows: Sequence[SeedGroup], root: str) -> list[Plot]:
    """Plot the primary metric against each cost that two rows or more have: training time, prediction time, parameters.

    Results that saw the evaluated ground truth are left out.
    """
    metric = _find_metric(rows)
    costs = {label: [*_list_costs(table, rows, metric, root, find)] for label, find in PLOTTED_COSTS.items()}
    higher = not rows or rows[0][0].higher_is_better.get(metric, True)
    return [
        Plot(
            "costs",
            f"{metric} against {label}",
            f"{metric} against {label}, {len(points)} rows; machines, and what else ran on them, may differ.",
            {"metric": metric, "higher": higher, "label": label, "points": points},
        )
        for label, points in costs.items()
        if len(points) > 1
    ]


def _list_costs(
    table: Table, rows: Sequence[SeedGroup], metric: str, root: str, find: Callable[[Result], float | None]
) -> Iterator[dict[str, Any]]:
    for name, _, group in name_first(table, rows):
        cost, values = average_cost(group, find), list_values(group, metric)
        if cost and values and group[0].tuned_on != "test-oracle":
            link, value = root + method_page(group[0].method), _round(statistics.fmean(values))
            yield {"name": name, "cost": float(f"{cost:.3g}"), "value": value, "link": link}


def _find_prediction_time(result: Result) -> float | None:
    rate = result.images_per_second.get("prediction")
    return 1000 / rate if rate else None


PLOTTED_COSTS: Mapping[str, Callable[[Result], float | None]] = {
    "seconds of training": lambda result: result.seconds.get("training"),
    "milliseconds an image of prediction": _find_prediction_time,
    "parameters": lambda result: result.parameters,
}
"""The costs of a row; for each, less is better."""


def plot_numbers(title: str, metric: str, values: Mapping[str, float | None], intervals: Intervals) -> Plot | None:
    """Plot named numbers with their intervals, in the order given; None without any."""
    rows = [
        {"name": name, "value": _round(value), "low": _round(low), "high": _round(high), "rank": "", "role": "method"}
        for name, value in values.items()
        if value is not None
        for low, high in [intervals.get(name, (None, None))]
    ]
    summary = f"{metric} of {len(rows)} classes with 95 % intervals."
    return Plot("intervals", title, summary, {"metric": metric, "higher": True, "rows": rows}) if rows else None


def plot_errors(table: Table, rows: Sequence[SeedGroup], errors: Mapping[str, ErrorAnalysis]) -> Plot | None:
    """Plot what each kind of error costs, or its share, a bar for each row that was analysed; None without any.

    errors: by result address.
    """
    bars, cost = [], None
    for name, _, group in name_first(table, rows):
        found = next((errors[one.address] for one in group if one.address in errors), None)
        if found is not None:
            cost = found.cost
            shown = [kind for kind in found.kinds if kind.name not in ORACLES]
            bars += [{"name": name, "kind": kind.name, "value": _round(kind.value) or 0.0} for kind in shown]
    if not bars:
        return None
    title = f"Kinds of errors: points of {cost} that each costs" if cost else "Kinds of errors: shares, per cent"
    title += "; of several seeds, those of the first" if any(len(group) > 1 for group in rows) else ""
    summary = f"{title}, of {len({bar['name'] for bar in bars})} rows"
    return Plot("errors", title, summary, {"label": cost or "share", "bars": bars})


def plot_lines(
    title: str,
    lines: Mapping[str, Points],
    x: str,
    y: str,
    *,
    unit: bool = False,
    small: bool = False,
    mark: float | None = None,
) -> Plot:
    """Plot named lines of points (x, y). unit: both axes from 0 to 1. small: one of many. mark: an x to point out."""
    series = [
        {"name": name, "points": np.round(np.array(points, dtype=float), 4).tolist()}
        for name, points in lines.items()
        if points
    ]
    described = [f"{one['name']} ends at {one['points'][-1][1]:.3g}" for one in series]
    if mark is not None:
        at = {name: dict(points).get(mark) for name, points in lines.items()}
        described = [f"{name} has {value:.3g} at {mark:g}" for name, value in at.items() if value is not None]
    data = {"series": series, "x": x, "y": y, "unit": unit, "small": small, "mark": mark}
    return Plot("lines", title, f"{y} over {x}: {', '.join(described)}", data)


def plot_trend(trend: Trend, verdicts: Sequence[str], intervals: Sequence[tuple[float, float] | None]) -> Plot:
    """Plot the primary metric over a trend, with each point's date, revision, verdict, and changes since the last.

    verdicts, intervals: of each point.
    """
    metric = next(iter(trend.points[0].values))
    points, part = [], 0
    for number, (point, verdict, interval) in enumerate(zip(trend.points, verdicts, intervals, strict=True)):
        part += bool(point.moved)
        low, high = interval or (None, None)
        points.append(
            {
                "number": number,
                "date": point.results[-1].created[:10],
                "revision": (point.revision or "unknown")[:7],
                "value": _round(point.values.get(metric)),
                "low": _round(low),
                "high": _round(high),
                "moved": "; ".join(point.moved),
                "gate": verdict,
                "part": part,
            }
        )
    title = f"{trend.method} on {trend.dataset} {trend.split}"
    summary = f"{metric} of {len(points)} results, oldest first"
    higher = trend.points[0].results[0].higher_is_better.get(metric, True)
    return Plot("trend", title, summary, {"metric": metric, "higher": higher, "points": points})


def compute_envelope(recall: FloatArray, precision: FloatArray, points: int = 100) -> Points:
    """Compute the precision envelope at evenly spaced recalls: average precision is the area under it."""
    best = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.linspace(0, 1, points + 1)
    first = np.searchsorted(recall, places - 1e-9)
    reached = first < len(recall)
    return [*zip(places[reached].tolist(), best[first[reached]].tolist(), strict=True)]


def _round(value: Any) -> float | None:
    return round(100 * value, 2) if isinstance(value, float) else None
