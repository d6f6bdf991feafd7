"""Tables as pandas DataFrames, as text, and as HTML for a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.errors import RequestError
from bench.tables.html import html
from bench.tables.model import Table

if TYPE_CHECKING:
    import pandas as pd


def make_frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> pd.DataFrame:
    """Make a DataFrame of rows, with its columns in the given order, else in that of the rows' keys.

    Raises RequestError where pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise RequestError("to_frame needs pandas, which is not installed: pip install pandas") from None
    return pd.DataFrame(list(rows), columns=list(columns or dict.fromkeys(key for row in rows for key in row)))


def list_rows(table: Table) -> list[dict[str, Any]]:
    """List the rows of a table as values by column, with the cells' further values and the texts of their notes."""
    rows = []
    for group, cells in ((group, row) for group, rows in table.sections() for row in rows):
        values: dict[str, Any] = {"group": group} if table.groups else {}
        values |= dict(zip(table.names, (cell.value for cell in cells), strict=True))
        values |= {name: value for cell in cells for name, value in cell.extra.items()}
        values["notes"] = "; ".join(dict.fromkeys(table.notes[mark] for cell in cells for mark in cell.marks))
        rows.append(values)
    return rows


def tables_to_frame(tables: Iterable[Table]) -> pd.DataFrame:
    """Make one DataFrame of tables; column `table` has their titles. Numbers are fractions. Raises as `make_frame`."""
    return make_frame([{"table": table.title, **row} for table in tables for row in list_rows(table)])


def tables_to_html(tables: Iterable[Table]) -> str:
    """Format tables for a notebook; all text is escaped."""
    return "\n".join(map(html, tables))


def tables_to_text(tables: Iterable[Table]) -> str:
    """Format tables for a terminal, as the command line prints them."""
    from bench.tables.render import text

    return "\n\n".join(map(text, tables))
