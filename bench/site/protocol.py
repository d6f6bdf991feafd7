"""The page of a protocol: leaderboards, results over revisions, conventions with sources, and papers' tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench import registry
from bench.analysis.errors import ErrorAnalysis
from bench.analysis.trend import trends
from bench.records.result import Result
from bench.site.parts import UP, Board, list_runs, make_text_table, markup
from bench.site.paths import method_page, paper_page
from bench.site.plots import Plot, plot_classes, plot_costs, plot_errors, plot_intervals, plot_trend


def make_values(
    name: str,
    boards: Sequence[Board],
    results: Sequence[Result],
    printed: Mapping[str, str],
    errors: Mapping[str, ErrorAnalysis],
) -> dict[str, Any]:
    """Return the template's values; `printed`: titles of the paper tables with its numbers; errors: by address."""
    record = registry.protocol(name)
    switches = [(key, str(value), record.sources.get(key, "")) for key, value in record.conventions.items()]
    own = [result for result in results if result.protocol == name]
    repeated = [trend for trend in trends(own) if len(trend.points) > 1]
    return {
        "title": name,
        "record": record,
        "boards": [(markup(board.table), _draw_board(board, errors)) for board in boards if board.protocol == name],
        "switches": markup(make_text_table("Conventions", ("convention", "value", "source"), switches)),
        "papers": [(table, UP + paper_page(table), title) for table, title in printed.items()],
        "trends": [(plot_trend(trend), UP + method_page(trend.points[0].results[0].method)) for trend in repeated],
        "runs": markup(list_runs(own)),
    }


def _draw_board(board: Board, errors: Mapping[str, ErrorAnalysis]) -> list[Plot]:
    """Draw a leaderboard: its numbers, kinds of errors, classes, and what its methods cost."""
    drawn = (
        plot_intervals(board.table, board.of, UP),
        plot_errors(board.table, board.of, errors),
        plot_classes(board.table, board.of),
        plot_costs(board.table, board.of, UP),
    )
    return [plot for plot in drawn if plot is not None]
