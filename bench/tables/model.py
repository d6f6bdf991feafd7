"""The one model of tables: their content, independent of format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

Value = float | str | None


@dataclass(frozen=True)
class Cell:
    """One cell: the value for programs, the text for people; both empty where nothing is known.

    marks: letters of the table's notes. best: whether no comparable cell is better. extra: further CSV columns, by
    name. link: its target, on a page.
    """

    value: Value = None
    text: str = ""
    marks: tuple[str, ...] = ()
    best: bool = False
    extra: Mapping[str, Value] = field(default_factory=dict)
    link: str = ""


Row = tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """A titled table; its first column holds names. notes: footnotes by mark. remarks: notes on the whole table.

    heads: the head above each column, empty for none; equal neighbours share one. groups: the heading that each row
    stands under. Both are () if there are none at all.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The columns with the heads above them: `loc. err: top1`."""
        heads = self.heads or ("",) * len(self.columns)
        return tuple(f"{head}: {name}" if head else name for head, name in zip(heads, self.columns, strict=True))

    def sections(self) -> Iterator[tuple[str, tuple[Row, ...]]]:
        """Yield each group with its rows, in order."""
        groups = self.groups or ("",) * len(self.rows)
        for group, rows in groupby(zip(groups, self.rows, strict=True), key=lambda pair: pair[0]):
            yield group, tuple(row for _, row in rows)
