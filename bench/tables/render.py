"""A table as text, Markdown, LaTeX, CSV, JSON or HTML."""

from __future__ import annotations

import csv as csv_module
import io
import json as json_module
import re
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from bench.tables.html import html
from bench.tables.latex import latex
from bench.tables.model import Cell, Row, Table, Value

_HEAD = 16
"""Characters per line of a column's head."""


def text(table: Table) -> str:
    """Format a table for a terminal: title, aligned columns, footnotes."""
    heads = [textwrap.fill(head, _HEAD) for head in table.heads or ("",) * len(table.columns)]
    columns = [f"{head}\n{name}".strip() for head, name in zip(heads, table.columns, strict=True)]
    rows = _with_groups(table, str, lambda cell: _format_marked(cell))
    notes = [f"{_enclose(mark)} {note}" for mark, note in table.notes.items()]
    return "\n".join([table.title, "", _grid(columns, rows, "simple"), *notes, *table.remarks])


def markdown(table: Table) -> str:
    """Format a table for a page: the best of each column is bold, groups are in italics, all text is escaped."""
    rows = _with_groups(table, lambda group: f"*{escape_markdown(group)}*", _bold)
    notes = [f"{escape_markdown(_enclose(mark))} {escape_markdown(note)}" for mark, note in table.notes.items()]
    grid = _grid([escape_markdown(name) for name in table.names], rows, "pipe")
    return "\n\n".join([f"**{escape_markdown(table.title)}**", grid, *notes, *map(escape_markdown, table.remarks)])


def csv(table: Table) -> str:
    """Format a table for programs: full precision, empty where unknown, group and extras in columns, then notes.

    Text that a spreadsheet would take for a formula gets a quote in front.
    """
    extras = list(dict.fromkeys(name for row in table.rows for cell in row for name in cell.extra))
    groups = ["group"] if table.groups else []
    out = io.StringIO()
    writer = csv_module.writer(out, lineterminator="\n")
    writer.writerow(map(_quote_formula, [*groups, *table.names, *extras, "notes"]))
    for group, rows in table.sections():
        for row in rows:
            known = {name: value for cell in row for name, value in cell.extra.items()}
            values = [*(cell.value for cell in row), *map(known.get, extras)]
            notes = "; ".join(dict.fromkeys(table.notes[mark] for cell in row for mark in cell.marks))
            writer.writerow(map(_format_exact, [*(group for _ in groups), *values, notes]))
    return out.getvalue().rstrip("\n")


def describe_table(table: Table) -> dict[str, Any]:
    """Describe a table as a JSON value: full precision, extras and footnotes with each row."""
    rows = [_describe_row(table, group, row) for group, rows in table.sections() for row in rows]
    title = table.title.removesuffix(", per cent")  # what is per cent in the text is a fraction here
    return {"title": title, "columns": list(table.names), "rows": rows, "remarks": list(table.remarks)}


def _describe_row(table: Table, group: str, row: Row) -> dict[str, Any]:
    described = {
        "values": dict(zip(table.names, (cell.value for cell in row), strict=True)),
        "more": {name: value for cell in row for name, value in cell.extra.items()},
        "notes": [table.notes[mark] for cell in row for mark in cell.marks],
    }
    return {"group": group, **described} if table.groups else described


def json(table: Table) -> str:
    """Format a table as one JSON document."""
    return json_module.dumps(describe_table(table), ensure_ascii=False, indent=1)


FORMATS: dict[str, Callable[[Table], str]] = {
    "text": text,
    "md": markdown,
    "latex": latex,
    "csv": csv,
    "html": html,
}


def _with_groups(table: Table, named: Callable[[str], str], shown: Callable[[Cell], str]) -> list[list[str]]:
    """List rows of text, with the name of each group in a row before its rows."""
    found = []
    for group, rows in table.sections():
        found += [[named(group), *("" for _ in table.columns[1:])]] if group else []
        found += [[shown(cell) for cell in row] for row in rows]
    return found


def _grid(columns: Sequence[str], rows: list[list[str]], style: str) -> str:
    from tabulate import tabulate

    align = ("left", *("right" for _ in columns[1:]))
    return tabulate(
        rows, headers=list(columns), tablefmt=style, disable_numparse=True, colalign=align if rows else None
    )


def _format_marked(cell: Cell) -> str:
    words = " ".join(cell.text.split())
    return " ".join([words, *map(_enclose, cell.marks)])


def _enclose(mark: str) -> str:
    """Put letters in brackets; symbols stand alone."""
    return f"({mark})" if mark.isalnum() else mark


def _bold(cell: Cell) -> str:
    return f"**{escape_markdown(_format_marked(cell))}**" if cell.best else escape_markdown(_format_marked(cell))


def escape_markdown(words: str) -> str:
    """Escape what Markdown would take for markup."""
    return re.sub(r"([\\|*<`~&$]|(?<!\w)_|_(?!\w)|(?<=\])\()", r"\\\1", words)


def _format_exact(value: Value) -> str:
    if value is None:
        return ""
    return _quote_formula(value) if isinstance(value, str) else repr(value)


def _quote_formula(text: str) -> str:
    """Put a quote before what a spreadsheet would compute.

    >>> _quote_formula("=1+1"), _quote_formula("cam")
    ("'=1+1", 'cam')
    """
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
