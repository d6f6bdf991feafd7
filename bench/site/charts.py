"""Line charts as coordinates for a template; they are rounded, so the output is the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.core.boxes import FloatArray

WIDTH, HEIGHT = 300, 150
"""Size of the box that lines are drawn in."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """A named line: the points of an SVG polyline. last: its final value, as text."""

    name: str
    points: str
    dots: tuple[tuple[float, float], ...]
    last: str


@dataclass(frozen=True)
class Chart:
    """Lines, with the labels at both ends of both axes. low, high: the values of y at the bottom and the top."""

    title: str
    lines: tuple[Line, ...]
    x: tuple[str, str]
    y: str
    low: str
    high: str


def draw_chart(
    title: str,
    lines: Mapping[str, Points],
    x: tuple[str, str],
    y: str,
    *,
    across: tuple[float, float] | None = None,
    span: tuple[float, float] | None = None,
) -> Chart:
    """Draw a chart of named points (x, y) on axes that include all of them and y = 0. across, span: ranges of x and y.

    >>> chart = draw_chart("loss", {"all": [(1, 4.0), (2, 1.0)]}, ("epoch 1", "2"), "loss")
    >>> chart.lines[0].points, chart.low, chart.high
    ('0,0 300,112.5', '0', '4')
    """
    ends = [point for points in lines.values() for point in points]
    left, right = across or (min(x for x, _ in ends), max(x for x, _ in ends))
    low, high = span or (min(0.0, *(y for _, y in ends)), max(0.0, *(y for _, y in ends)))

    def place(point: tuple[float, float]) -> tuple[float, float]:
        along = (point[0] - left) / (right - left) if right > left else 0.5
        up = (point[1] - low) / (high - low) if high > low else 0.0
        return round(WIDTH * along, 1), round(HEIGHT * (1 - up), 1)

    drawn = [
        _draw_line(name, [place(point) for point in points], points[-1][1]) for name, points in lines.items() if points
    ]
    return Chart(title, tuple(drawn), x, y, f"{low:.3g}", f"{high:.3g}")


def _draw_line(name: str, places: Points, last: float) -> Line:
    return Line(name, " ".join(f"{x:g},{y:g}" for x, y in places), tuple(places), f"{last:.3g}")


def compute_envelope(recall: FloatArray, precision: FloatArray, points: int = 100) -> Points:
    """Compute the precision envelope at evenly spaced recalls: average precision is the area under it."""
    best = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.linspace(0, 1, points + 1)
    first = np.searchsorted(recall, places - 1e-9)
    reached = first < len(recall)
    return [*zip(places[reached].tolist(), best[first[reached]].tolist(), strict=True)]
