"""A table as text, Markdown or CSV."""

from __future__ import annotations

import csv as csv_module
import io
import re
from collections.abc import Callable

from bench.tables.model import Cell, Table, Value


def text(table: Table) -> str:
    """For a terminal: title, aligned columns, footnotes."""
    rows = [[_marked(cell) for cell in row] for row in table.rows]
    notes = [f"({mark}) {note}" for mark, note in table.notes.items()]
    return "\n".join([table.title, "", _grid(table.columns, rows, "simple"), *notes, *table.remarks])


def markdown(table: Table) -> str:
    """For a page: the best of each column is bold, and nothing that a cell says is taken for markup."""
    rows = [
        [f"**{_escaped(_marked(cell))}**" if cell.best else _escaped(_marked(cell)) for cell in row]
        for row in table.rows
    ]
    notes = [f"({mark}) {_escaped(note)}" for mark, note in table.notes.items()]
    grid = _grid([_escaped(name) for name in table.columns], rows, "pipe")
    return "\n\n".join([f"**{_escaped(table.title)}**", grid, *notes, *map(_escaped, table.remarks)])


def csv(table: Table) -> str:
    """For programs: full precision, empty where unknown, every extra a column of its own, then the notes."""
    extras = list(dict.fromkeys(name for row in table.rows for cell in row for name in cell.extra))
    out = io.StringIO()
    writer = csv_module.writer(out, lineterminator="\n")
    writer.writerow([*table.columns, *extras, "notes"])
    for row in table.rows:
        known = {name: value for cell in row for name, value in cell.extra.items()}
        notes = "; ".join(dict.fromkeys(table.notes[mark] for cell in row for mark in cell.marks))
        writer.writerow([*(_exact(cell.value) for cell in row), *(_exact(known.get(name)) for name in extras), notes])
    return out.getvalue().rstrip("\n")


FORMATS: dict[str, Callable[[Table], str]] = {"text": text, "markdown": markdown, "csv": csv}


def _grid(columns: list[str] | tuple[str, ...], rows: list[list[str]], style: str) -> str:
    from tabulate import tabulate

    align = ("left", *("right" for _ in columns[1:]))
    return tabulate(
        rows, headers=list(columns), tablefmt=style, disable_numparse=True, colalign=align if rows else None
    )


def _marked(cell: Cell) -> str:
    words = " ".join(cell.text.split())
    return " ".join([words, *(f"({mark})" for mark in cell.marks)])


def _escaped(words: str) -> str:
    return re.sub(r"([\\|*<`])", r"\\\1", words)


def _exact(value: Value) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else repr(value)
