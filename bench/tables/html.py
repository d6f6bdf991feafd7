"""A table as HTML: one `<table>`, and its notes in a `<div>` after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from itertools import groupby

from bench.tables.model import Cell, Row, Table


def html(table: Table, links: Mapping[str, str] | None = None) -> str:
    """For a page: the best of each column is `<strong>`, a group is a `<tbody>`, nothing said is taken for markup.

    links: where a row leads to, by the text of its first cell.
    """
    width, known = len(table.columns), links or {}
    body = "\n".join(line for group, rows in table.sections() for line in _section(group, rows, width, known))
    notes = [f"<p><sup>{escape(mark)}</sup> {escape(note)}</p>" for mark, note in table.notes.items()]
    notes += [f"<p>{escape(remark)}</p>" for remark in table.remarks]
    lines = ["<table>", f"<caption>{escape(table.title)}</caption>", *_head(table), body, "</table>"]
    return "\n".join(filter(None, [*lines, *(["<div>", *notes, "</div>"] if notes else [])]))


def _head(table: Table) -> Iterator[str]:
    yield "<thead>"
    if table.heads:
        spans = [(head, len(list(same))) for head, same in groupby(table.heads)]
        cells = "".join(
            f'<th colspan="{span}" scope="colgroup">{escape(head)}</th>' if head else "<td></td>" * span
            for head, span in spans
        )
        yield f"<tr>{cells}</tr>"
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.columns)
    yield f"<tr>{cells}</tr>"
    yield "</thead>"


def _section(group: str, rows: tuple[Row, ...], width: int, links: Mapping[str, str]) -> Iterator[str]:
    yield "<tbody>"
    if group:
        yield f'<tr><th colspan="{width}" scope="rowgroup">{escape(group)}</th></tr>'
    for first, *others in rows:
        cells = "".join(f"<td>{_shown(cell)}</td>" for cell in others)
        head = _shown(first)
        if first.text in links:
            head = f'<a href="{escape(links[first.text])}">{head}</a>'
        yield f'<tr><th scope="row">{head}</th>{cells}</tr>'
    yield "</tbody>"


def _shown(cell: Cell) -> str:
    words = escape(cell.text)
    marks = "".join(f"<sup>{escape(mark)}</sup>" for mark in cell.marks)
    return (f"<strong>{words}</strong>" if cell.best else words) + marks
