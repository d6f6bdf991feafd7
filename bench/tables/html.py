"""A table as HTML: one `<table>`, and its notes in a `<div>` after it."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import groupby

from bench.tables.model import Cell, Row, Table


def html(table: Table) -> str:
    """Format a table for a page: the best of each column is `<strong>`, a group a `<tbody>`, and all text is escaped.

    A column of words has the class `word`. A row takes its attributes `id`, `class` and `data-results` from the
    `id`, `row` and `results` of its first cell's extras, if they are there.
    """
    kinds = [_kind(table, column) for column in range(len(table.columns))]
    body = "\n".join(line for group, rows in table.sections() for line in _section(group, rows, kinds))
    notes = [f"<p><sup>{escape(mark)}</sup> {_fold(note)}</p>" for mark, note in table.notes.items()]
    notes += [f"<p>{_fold(remark)}</p>" for remark in table.remarks]
    lines = ["<table>", f"<caption>{_fold(table.title)}</caption>", *_head(table, kinds), body, "</table>"]
    return "\n".join(filter(None, [*lines, *(["<div>", *notes, "</div>"] if notes else [])]))


def _kind(table: Table, column: int) -> str:
    """Return the attribute of a column's cells."""
    cells = [row[column] for row in table.rows if row[column].text]
    words = column and cells and all(isinstance(cell.value, str) for cell in cells)
    return ' class="word"' if words else ""


def _head(table: Table, kinds: list[str]) -> Iterator[str]:
    yield "<thead>"
    if table.heads:
        spans = [(head, len(list(same))) for head, same in groupby(table.heads)]
        cells = "".join(
            f'<th colspan="{span}" scope="colgroup">{_shorten(head, head)}</th>' if head else "<td></td>" * span
            for head, span in spans
        )
        yield f"<tr>{cells}</tr>"
    cells = "".join(
        f'<th scope="col"{kind}>{_shorten(name, name)}</th>' for name, kind in zip(table.columns, kinds, strict=True)
    )
    yield f"<tr>{cells}</tr>"
    yield "</thead>"


def _section(group: str, rows: tuple[Row, ...], kinds: list[str]) -> Iterator[str]:
    yield "<tbody>"
    if group:
        yield f'<tr><th colspan="{len(kinds)}" scope="rowgroup">{_fold(group)}</th></tr>'
    for first, *others in rows:
        cells = "".join(f"<td{kind}>{_format_cell(cell)}</td>" for cell, kind in zip(others, kinds[1:], strict=True))
        known = {
            "id": first.extra.get("id"),
            "class": first.extra.get("row"),
            "data-results": first.extra.get("results"),
        }
        attributes = "".join(f' {name}="{escape(str(value))}"' for name, value in known.items() if value is not None)
        yield f'<tr{attributes}><th scope="row">{_format_cell(first)}</th>{cells}</tr>'
    yield "</tbody>"


def _format_cell(cell: Cell) -> str:
    words = _shorten(cell.text, cell.text) if cell.link else _fold(cell.text)
    marks = "".join(f"<sup>{escape(mark)}</sup>" for mark in cell.marks)
    shown = f"<strong>{words}</strong>" if cell.best else words
    return (f'<a href="{escape(cell.link)}">{shown}</a>' if cell.link else shown) + marks


LONG, SHORT = 400, 120
"""Characters up to which a text is shown whole, and those shown of a longer one."""


def _fold(text: str) -> str:
    """Escape text; long text is folded into `<details>`."""
    if len(text) <= LONG:
        return escape(text)
    return f"<details><summary>{_shorten(text)}</summary>{escape(text)}</details>"


def _shorten(text: str, title: str = "") -> str:
    """Escape text; long text is cut to its beginning, with `title` as its tooltip."""
    if len(text) <= LONG:
        return escape(text)
    short = f"{escape(text[:SHORT])}…"
    return f'<span title="{escape(title)}">{short}</span>' if title else short
