"""Reported numbers: a paper's table as it is printed, and the meaning of each number.

A table is one YAML file, `results/papers/<paper>/table-<n>.yaml`. The models below are its schema; `load_table`
reads one, and `ReportedTable.numbers` gives the method, protocol and metric of every number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from bench.errors import BadFileError, UnknownNameError
from bench.tables.papers import PAPERS, read_yaml
from bench.tables.papers import reported_tables as reported_tables

Kind = TypeVar("Kind")
Unit = Literal["percent", "ms", "s", "text"]

OF_THE_ROW = ("method", "net", "protocol")
"""What can be uncertain about a whole row."""


def _cell(written: Any) -> Any:
    """Parse a number with its printed digits, words, or nothing."""
    if written == "~":
        return None
    if isinstance(written, str) and re.fullmatch(r"\d+(\.\d+)?", written):
        return Decimal(written)
    return written


PrintedCell = Annotated[Decimal | str | None, BeforeValidator(_cell)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Record):
    """A printed column: a metric of ours (`metric`), another number (`reason`: why none), or words (unit `text`)."""

    key: str
    head: str
    """As printed, below `group` where one head spans several columns."""
    group: str | None = None
    protocol: str | None = None
    """None where each row names its own."""
    metric: str | None = None
    class_: str | None = Field(None, alias="class")
    mean: bool = False
    """Whether it is the mean of the columns that have a class."""
    net: str | None = None
    setting: dict[str, str] = {}
    unit: Unit | None = None
    """None: the table's."""
    reason: str | None = None


class PrintedRow(_Record):
    """A printed row. Its net, protocol, setting and unit take precedence over those of its columns."""

    label: str
    """As printed, with citation and marks."""
    group: str | None = None
    method: str | None = None
    """`name` or `name:variant`; None where it is no method of this project."""
    net: str | None = None
    """None if the paper does not name it."""
    protocol: str | None = None
    values: tuple[PrintedCell, ...]
    """One for each column, `~` where nothing is printed."""
    setting: dict[str, str] = {}
    """What the row varies, by the method's config field where there is one."""
    marks: tuple[str, ...] = ()
    unit: Unit | None = None
    reason: str | None = None
    """Why it is no method of this project, where that is not obvious."""
    uncertain: tuple[str, ...] = ()
    """What the text leaves open: keys of columns, or for the row: method, net, protocol. A note explains why."""
    recomputed: dict[str, Decimal] = {}
    """By column key, the mean that the row's values give, where it is not the printed one."""


@dataclass(frozen=True)
class Reported:
    """One reported number. row: its row's index; class_: None for the mean over classes or where there are none."""

    row: int
    column: str
    value: Decimal
    unit: Unit
    method: str | None
    net: str | None
    protocol: str | None
    metric: str | None
    class_: str | None
    setting: dict[str, str]
    uncertain: bool

    @property
    def is_mean(self) -> bool:
        """Whether it is a metric as a whole, in per cent."""
        return self.unit == "percent" and self.metric is not None and self.class_ is None

    @property
    def fraction(self) -> float:
        """The value as a fraction, as in results. Raises ValueError for units other than per cent."""
        if self.unit != "percent":
            raise ValueError(f"{self.column} is in {self.unit}, not in per cent")
        return float(self.value / 100)


class ReportedTable(_Record):
    """A paper's table: columns and rows in the paper's order."""

    paper: str
    table: int
    title: str
    citation: str
    unit: Unit = "percent"
    marks: dict[str, str] = {}
    """The meaning of each footnote mark."""
    columns: tuple[Column, ...]
    rows: tuple[PrintedRow, ...]
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`melm-3`."""
        return f"{self.paper}-{self.table}"

    def numbers(self) -> tuple[Reported, ...]:
        """Every printed number, row by row."""
        return self._numbers

    @cached_property
    def _numbers(self) -> tuple[Reported, ...]:
        return tuple(self._list_numbers())

    def _list_numbers(self) -> Iterator[Reported]:
        for index, row in enumerate(self.rows):
            for column, value in zip(self.columns, row.values, strict=True):
                if isinstance(value, Decimal):
                    yield self._number(index, column, value)

    def protocols(self) -> tuple[str, ...]:
        """List every protocol that a number belongs to."""
        return tuple(dict.fromkeys(number.protocol for number in self.numbers() if number.protocol is not None))

    def get_unit(self, row: PrintedRow, column: Column) -> Unit:
        """Return the unit of a cell."""
        return row.unit or column.unit or self.unit

    def _number(self, index: int, column: Column, value: Decimal) -> Reported:
        row = self.rows[index]
        return Reported(
            row=index,
            column=column.key,
            value=value,
            unit=self.get_unit(row, column),
            method=row.method,
            net=row.net or column.net,
            protocol=(row.protocol or column.protocol) if column.metric else None,
            metric=column.metric,
            class_=column.class_,
            setting=column.setting | row.setting,
            uncertain=bool({column.key, *OF_THE_ROW} & set(row.uncertain)),
        )


def load_table(name: str, folder: Path = PAPERS) -> ReportedTable:
    """Load a paper's table by name (`melm-3`).

    Raises UnknownNameError, and BadFileError for a file that breaks a rule of the schema.
    """
    paper, _, number = name.rpartition("-")
    path = folder / paper / f"table-{number}.yaml"
    if not (number.isdecimal() and path.is_file()):
        raise UnknownNameError("table", name, reported_tables(folder))
    table = _validate(ReportedTable, read_yaml(path), path)
    if table.name != name:
        raise BadFileError(path, f"says that it is {table.name}")
    for row, rule in _find_broken(table):
        raise BadFileError(path, rule, row=row)
    return table


def _validate(kind: type[Kind], document: Any, path: Path) -> Kind:
    try:
        return TypeAdapter(kind).validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = list(first["loc"])
        row = where[1] if where[:1] == ["rows"] and len(where) > 1 else None
        place = ".".join(map(str, where if row is None else where[2:]))
        raise BadFileError(path, f"{place}: {first['msg']}".removeprefix(": "), row=row) from error


def _find_broken(table: ReportedTable) -> Iterator[tuple[int | None, str]]:
    """Yield the broken rules that no single field can check, each with the index of the row that breaks it."""
    keys = [column.key for column in table.columns]
    for column in table.columns:
        if keys.count(column.key) > 1 or column.key in OF_THE_ROW:
            yield None, f"column {column.key}: the key is taken"
        if column.unit != "text" and (column.metric is None) == (column.reason is None):
            yield None, f"column {column.key}: expected a metric, or the reason why it has none"
    for index, row in enumerate(table.rows):
        if len(row.values) != len(keys):
            yield index, f"expected {len(keys)} values, one for each column, but got {len(row.values)}"
            continue
        for rule in (*_find_broken_row(table, row), *_find_broken_cells(table, row)):
            yield index, rule


def _find_broken_row(table: ReportedTable, row: PrintedRow) -> Iterator[str]:
    printed = {column.key for column, value in zip(table.columns, row.values, strict=True) if value is not None}
    means = {column.key for column in table.columns if column.mean}
    if row.method is not None and row.reason is not None:
        yield "expected a method, or the reason why it is none, but got both"
    for what, named, known in (
        ("marks", set(row.marks), set(table.marks)),
        ("uncertain", set(row.uncertain), printed.union(OF_THE_ROW)),
        ("recomputed", set(row.recomputed), printed & means),
    ):
        if named - known:
            yield f"{what}: nothing is called {', '.join(sorted(named - known))}"


def _find_broken_cells(table: ReportedTable, row: PrintedRow) -> Iterator[str]:
    for column, value in zip(table.columns, row.values, strict=True):
        unit = table.get_unit(row, column)
        if value is None:
            continue
        if isinstance(value, str) != (unit == "text"):
            yield f"{column.key}: expected {'words' if unit == 'text' else 'a number'}, but got {value}"
        elif unit == "percent" and isinstance(value, Decimal) and value > 100:
            yield f"{column.key}: {value} is more than 100 per cent"
        elif column.metric is not None and (row.protocol or column.protocol) is None:
            yield f"{column.key}: neither row nor column names the protocol"
