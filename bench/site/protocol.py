"""The page of a protocol: leaderboards, results over revisions, conventions with sources, and papers' tables."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.analysis.errors import ErrorAnalysis
from bench.site.curves import draw_curves
from bench.site.downloads import list_downloads
from bench.site.images import list_first
from bench.site.parts import UP, Board, list_runs, make_text_table, markup
from bench.site.paths import board_file, method_page, paper_page
from bench.site.plots import Plot, plot_classes, plot_costs, plot_errors, plot_intervals
from bench.site.trends import draw_trends

if TYPE_CHECKING:
    from bench.site.material import Material


def make_values(name: str, material: Material) -> dict[str, Any]:
    """Return the template's values."""
    record = registry.protocol(name)
    switches = [(key, str(value), record.sources.get(key, "")) for key, value in record.conventions.items()]
    own = [one for one in material.known if one.result.protocol == name]
    boards = [board for board in material.boards if board.protocol == name]
    papers = {paper: table.title for paper, table in material.papers.items() if name in table.protocols()}
    return {
        "title": name,
        "record": record,
        "boards": [
            (
                markup(board.table),
                plot_intervals(board.table, board.of, UP),
                _draw_board(board, material.errors),
                draw_curves(board, material.curves),
                list_downloads(partial(board_file, name, board.dataset), UP),
            )
            for board in boards
        ],
        "switches": markup(make_text_table("Conventions", ("convention", "value", "source"), switches)),
        "papers": [(table, UP + paper_page(table), title) for table, title in papers.items()],
        "trends": [(plot, UP + method_page(trend.points[0].results[0].method)) for trend, plot, _ in draw_trends(own)],
        "lists": list_first(material.pages, name),
        "runs": markup(list_runs([one.result for one in own])),
    }


def _draw_board(board: Board, errors: Mapping[str, ErrorAnalysis]) -> list[Plot]:
    """Draw a leaderboard's kinds of errors, its classes, and what its methods cost."""
    drawn = (
        plot_errors(board.table, board.of, errors),
        plot_classes(board.table, board.of),
        *plot_costs(board.table, board.of, UP),
    )
    return [plot for plot in drawn if plot is not None]
