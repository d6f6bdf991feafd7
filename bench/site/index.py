"""The first page: the best of each leaderboard, every protocol and method, and the papers' tables."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.errors import format_names
from bench.records.result import OTHER_IMAGES
from bench.records.running import RunningTraining
from bench.site.images import list_first
from bench.site.parts import Board, list_groups, markup
from bench.site.paths import method_page, paper_page, protocol_page
from bench.site.plots import Plot, find_role, plot_intervals
from bench.site.run import plot_losses
from bench.site.strip import make_strip
from bench.tables.caveats import explain_caveats, list_caveats
from bench.tables.model import Cell, Row, Table
from bench.tables.ranked import SeedGroup
from bench.tracks.track import Track

if TYPE_CHECKING:
    from bench.site.material import Material

Lines = Mapping[str, str]

MOST_BOARDS = 2
"""Leaderboards of a track on the first page; the others are a click away."""

BEST = ("protocol", "on", "best", "metric", "per cent", "methods", "results")
PAPERS = ("table", "what it shows", "numbers", "measured", "not comparable")


def make_values(material: Material) -> dict[str, Any]:
    """Return the template's values."""
    results = [result for board in material.boards for row in board.of for result in row]
    methods = dict(sorted(material.methods.items()))
    by_method = _list_rows(methods, method_page, (result.method for result in results))
    by_protocol = _list_rows(material.protocols, protocol_page, (result.protocol for result in results))
    return {
        "title": "weakloc",
        "results": len(results),
        "strip": make_strip(material),
        "lists": list_first(material.pages),
        "running": [_describe_running(one) for one in material.running],
        "tracks": _draw_tracks(material),
        "best": markup(_make_table("Leaderboards: the best of each", BEST, map(_make_best_row, material.boards)))
        if material.boards
        else "",
        "methods": markup(_make_table("Methods", ("method", "what it is", "results"), by_method)),
        "protocols": markup(_make_table("Protocols", ("protocol", "what it measures", "results"), by_protocol)),
        "papers": markup(_make_table("The papers' tables", PAPERS, _list_papers(material))),
    }


def _describe_running(one: RunningTraining) -> tuple[str, list[Plot]]:
    """Describe how far a training in progress is, and draw its losses so far."""
    name, epochs = f"{one.method}, seed {one.seed}", f" of {one.epochs}" if one.epochs else ""
    loss = f", loss {one.log[-1]['loss']:.3g}" if one.log and "loss" in one.log[-1] else ""
    return f"{name}: {len(one.log)}{epochs} epochs{loss}", plot_losses(f"Loss of {name}", one.log)


def _draw_tracks(material: Material) -> list[tuple[Track, list[tuple[str, str, str, Plot]]]]:
    """Draw the first leaderboards of each track that compare methods which learn; the track with most rows is first."""
    results = {result.address: result for result in material.results}
    drawn = []
    for track, tables in material.tracks:
        plots = []
        for table in tables[:MOST_BOARDS]:
            rows = list_groups(table, results)
            if sum(find_role(row[0]) == "method" for row in rows) > 1 and (plot := plot_intervals(table, rows, "")):
                protocol = rows[0][0].protocol
                plots.append((describe_leader(table, rows), protocol, protocol_page(protocol), plot))
        drawn.append((track, plots))
    return drawn


def describe_leader(table: Table, rows: Sequence[SeedGroup]) -> str:
    """Describe which method leads a leaderboard, which share its rank, and how far behind the next and best floor are.

    The metric is the first one, which ranks. Empty if nothing is ranked, or no ranked method learns.
    """
    name = next(iter(rows[0][0].metrics))
    if "rank" not in table.columns:
        return ""
    metric, rank = table.columns.index(name), table.columns.index("rank")
    ranked = [pair for pair in zip(table.rows, rows, strict=True) if pair[0][rank].value is not None]
    methods, floors = ([row for row, of in ranked if find_role(of[0]) == role] for role in ("method", "floor"))
    if not methods:
        return ""
    lead, sign = methods[0], 100 if rows[0][0].higher_is_better.get(name, True) else -100
    equals = [row[0].text for row in methods[1:] if row[rank].value == lead[rank].value]
    others = [row for row in methods[1:] if row[rank].value != lead[rank].value][:1] + floors[:1]
    gaps = [(sign * (_get_number(lead[metric]) - _get_number(row[metric])), row[0].text) for row in others]
    number = lead[metric].text.partition(" ±")[0]
    shared = f" (rank shared with {format_names(equals)})" if equals else ""
    behind = f", {' and '.join(_describe_gap(*gap) for gap in gaps)}" if gaps else ""
    return f"{lead[0].text} leads with {number}{shared}{behind}."


def _describe_gap(gap: float, name: str) -> str:
    return f"{abs(gap):.1f} points {'ahead of' if gap >= 0 else 'behind'} {name}"


def _get_number(cell: Cell) -> float:
    return float(cell.value) if isinstance(cell.value, int | float) else math.nan


def _make_table(title: str, columns: tuple[str, ...], rows: Iterable[Row]) -> Table:
    made = tuple(rows)
    return Table(title, columns, made, explain_caveats(made))


def _make_best_row(board: Board) -> Row:
    """Make the row of a leaderboard's best method, or of its best row if all are floors or ceilings."""
    place = next((place for place, group in enumerate(board.of) if find_role(group[0]) == "method"), 0)
    best, first = board.of[place], board.table.rows[place]
    results = [result for row in board.of for result in row]
    metric = next(iter(board.of[0][0].metrics), "")
    value = first[board.table.columns.index(metric)] if metric else Cell()
    methods = len({result.method for result in results})
    return (
        Cell(board.protocol, board.protocol, link=protocol_page(board.protocol)),
        Cell(board.dataset, f"{board.dataset}, {OTHER_IMAGES}" if board.of[0][0].partial else board.dataset),
        Cell(first[0].text, first[0].text, list_caveats(best), link=method_page(best[0].method)),
        Cell(metric, metric),
        Cell(value.value, value.text),
        Cell(methods, str(methods)),
        Cell(len(results), str(len(results))),
    )


def _list_rows(lines: Lines, page: Callable[[str], str], of: Iterable[str]) -> Iterator[Row]:
    """List names with their summaries and numbers of results."""
    counts = Counter(of)
    for name, line in lines.items():
        yield Cell(name, name, link=page(name)), Cell(line, line), Cell(counts[name], str(counts[name] or ""))


def _list_papers(material: Material) -> Iterator[Row]:
    """List the papers' tables by the first sentence of their captions."""
    for name, table in material.papers.items():
        title = re.split(r"(?<=\.) (?=[A-Z†])", table.title)[0]
        numbers = [Cell(count, str(count or "")) for count in material.counts[name].values()]
        yield Cell(name, name, link=paper_page(name)), Cell(table.title, title), *numbers
