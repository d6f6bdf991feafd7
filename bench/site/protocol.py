"""The page of a protocol: leaderboards, results over revisions, conventions with sources, and papers' tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench import registry
from bench.analysis.trend import Trend, trends
from bench.records.result import Result
from bench.site.charts import Chart, draw_chart
from bench.site.parts import UP, Board, list_runs, make_text_table, markup
from bench.site.paths import method_page, paper_page


def make_values(
    name: str, boards: Sequence[Board], results: Sequence[Result], printed: Mapping[str, str]
) -> dict[str, Any]:
    """Return the template's values; `printed`: titles of the paper tables with its numbers."""
    record = registry.protocol(name)
    switches = [(key, str(value), record.sources.get(key, "")) for key, value in record.conventions.items()]
    own = [result for result in results if result.protocol == name]
    repeated = [trend for trend in trends(own) if len(trend.points) > 1]
    return {
        "title": name,
        "record": record,
        "boards": [markup(board.table) for board in boards if board.protocol == name],
        "switches": markup(make_text_table("Conventions", ("convention", "value", "source"), switches)),
        "papers": [(table, UP + paper_page(table), title) for table, title in printed.items()],
        "trends": [(draw_trend(trend), UP + method_page(trend.points[0].results[0].method)) for trend in repeated],
        "runs": markup(list_runs(own)),
    }


def draw_trend(trend: Trend) -> Chart:
    """Draw the primary metric over a trend, in per cent: a line for each run of equal settings."""
    metric = next(iter(trend.points[0].values))
    lines: dict[str, list[tuple[float, float]]] = {metric: []}
    for place, point in enumerate(trend.points):
        if point.moved:
            lines[f"{place + 1}: {'; '.join(point.moved)}"] = []
        if (value := point.values.get(metric)) is not None:
            lines[list(lines)[-1]].append((place, 100 * value))
    ends = tuple((point.revision or "unknown")[:7] for point in (trend.points[0], trend.points[-1]))
    title = f"{trend.method} on {trend.dataset} {trend.split}"
    span = None if any(lines.values()) else (0.0, 1.0)
    return draw_chart(title, lines, (ends[0], ends[1]), metric, across=(0, len(trend.points) - 1), span=span)
