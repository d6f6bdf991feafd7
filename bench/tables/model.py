"""The one table model: what a table says, without how it looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Value = float | str | None


@dataclass(frozen=True)
class Cell:
    """One cell: the value for programs, the text for people; both empty where nothing is known.

    marks: letters of the table's notes. best: whether nobody comparable is better. extra: further CSV columns, by name.
    """

    value: Value = None
    text: str = ""
    marks: tuple[str, ...] = ()
    best: bool = False
    extra: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A titled table, its first column names; `notes` are footnotes, by mark, `remarks` hold for the whole of it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
