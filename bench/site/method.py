"""The page of a method: its variants, reported and measured results, its curves and runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from bench import registry
from bench.records.collection import StoredResult
from bench.records.result import Result
from bench.site.parts import UP, Board, list_runs, markup
from bench.site.paths import protocol_page
from bench.site.run import draw_losses
from bench.site.trends import draw_trends
from bench.tables.model import Cell, Row, Table

if TYPE_CHECKING:
    from bench.site.material import Material


def make_values(name: str, summary: str, material: Material) -> dict[str, Any]:
    """Return the template's values."""
    own = [one for one in material.known if one.result.method == name]
    results = [one.result for one in own]
    return {
        "title": name,
        "summary": summary,
        "boards": [markup(table) for board in material.boards if (table := _select_rows(board, name)).rows],
        "variants": markup(_list_variants(name, results, material)),
        "reported": Markup(material.reported[name]),
        "trends": [(plot, markup(table)) for _, plot, table in draw_trends(own)],
        "training": list(_draw_trainings(own)),
        "runs": markup(list_runs(results)),
    }


def _select_rows(board: Board, name: str) -> Table:
    """Return the rows of a leaderboard that belong to this method."""
    rows = tuple(row for row, of in zip(board.table.rows, board.of, strict=True) if of[0].method == name)
    marks = {mark for row in rows for cell in row for mark in cell.marks}
    notes = {mark: note for mark, note in board.table.notes.items() if mark in marks}
    return replace(board.table, rows=tuple(_link_to_protocol(row, board) for row in rows), notes=notes)


def _link_to_protocol(row: Row, board: Board) -> Row:
    return (replace(row[0], link=UP + protocol_page(board.protocol)), *row[1:])


def _list_variants(name: str, results: Sequence[Result], material: Material) -> Table:
    """List each variant in the method's file, the papers' tables with a row for it, and its number of results."""
    listed = material.listed.get(name)
    labels = [f"{name}:{variant}" for variant in registry.variants(listed)] if listed else []
    rows = []
    for label in labels:
        of = [paper for paper, table in material.papers.items() if any(row.method == label for row in table.rows)]
        count = sum(result.label == label for result in results)
        rows.append((Cell(label, label), Cell(text := ", ".join(of), text), Cell(count, str(count or ""))))
    return Table("Variants", ("variant", "in the papers' tables", "results"), tuple(rows))


def _draw_trainings(own: Sequence[StoredResult]) -> Iterator[Any]:
    """Draw the loss curves of each training with a log, once."""
    seen: set[str | None] = set()
    for one in own:
        if one.result.training not in seen and (charts := draw_losses(one)):
            seen.add(one.result.training)
            yield replace(charts[0], title=_name_run(one.result))


def _name_run(result: Result) -> str:
    return f"{result.label} on {result.dataset} {result.train_split}{result.seed_suffix}"
