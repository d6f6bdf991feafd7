"""A paper's table as printed; below each row, the measured numbers, their differences and the verdicts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from bench.tables.caveats import CAVEATS, caveat_fields, explain_caveats, list_caveats
from bench.tables.leaderboard import letters, make_distinct_labels
from bench.tables.matching import Line, Matches, Measured
from bench.tables.model import Cell, Row, Table
from bench.tables.numbers import format_difference, percent
from bench.tables.reported import Column, PrintedRow, Reported, ReportedTable
from bench.tables.verdict import SIGNS, TOLERANCE, Verdict, verdict

LEGEND = (
    f"difference: measured - reported; = reproduced (within {percent(TOLERANCE)}), "
    "~ within noise (reported is within the measured 95 % interval), ! off."
)

NOT_COMPARABLE = "not comparable: measured under conditions that the marks name, so that no difference is given."

Best = Mapping[tuple[str, str | None], float]
"""The best fraction of a column under a protocol."""


def table_beside(table: ReportedTable, found: Matches, higher_is_better: Mapping[tuple[str, str], bool]) -> Table:
    """Add `found` below the rows of a paper's table; higher_is_better: by protocol and metric, for all in the table.

    The best of the comparable numbers of a column and protocol is marked. Cells without a number stay empty.
    """
    best = _find_best(table, found, higher_is_better)
    marks = _marks(table, found)
    rows: list[Row] = []
    groups = []
    for index, row in enumerate(table.rows):
        numbers = {number.column: number for number in table.numbers() if number.row == index}
        made = [_make_printed_row(table, row, numbers, best, marks)]
        for line, label in zip(found.lines[index], _labels(found.lines[index]), strict=True):
            made.append(_make_measured_row(table.columns, line, label, numbers, best, marks))
            if _can_be_compared(line):
                made.append(_make_difference_row(table.columns, line, numbers))
        rows += made
        groups += [row.group or ""] * len(made)
    heads = tuple(column.group or "" for column in table.columns)
    return Table(
        f"{table.citation}, Table {table.table}: {table.title}",
        ("method", *(column.head for column in table.columns)),
        tuple(rows),
        {**table.marks, **{mark: note for note, mark in marks.items()}, **explain_caveats(rows)},
        _remarks(table, found),
        ("", *heads) if any(heads) else (),
        tuple(groups) if any(groups) else (),
    )


def _make_printed_row(
    table: ReportedTable, row: PrintedRow, numbers: Mapping[str, Reported], best: Best, marks: Mapping[str, str]
) -> Row:
    unsettled = marks.get(_describe_unsettled(table), "")
    of_the_row = (unsettled,) if set(row.uncertain) - set(numbers) else ()
    cells = [Cell(row.label, row.label, of_the_row, extra={"row": "reported", "as": row.method, "net": row.net})]
    for column, value in zip(table.columns, row.values, strict=True):
        number = numbers.get(column.key)
        if number is None:
            cells.append(Cell(None if value is None else str(value), str(value or "")))
            continue
        fraction = number.fraction if number.unit == "percent" else float(number.value)
        is_best = best.get((column.key, number.protocol)) == fraction
        own = [unsettled] if column.key in row.uncertain else []
        own += [marks[_describe_mean(row.recomputed[column.key])]] if column.key in row.recomputed else []
        cells.append(Cell(fraction, str(value), tuple(own), is_best))
    return tuple(cells)


def _make_measured_row(
    columns: Sequence[Column],
    line: Line,
    label: str,
    numbers: Mapping[str, Reported],
    best: Best,
    marks: Mapping[str, str],
) -> Row:
    """Make the row of measured numbers. Marks that apply to the whole line go to its label, others to their cells."""
    everywhere = set.intersection(*(set(one.reasons) for one in line.values()))
    caveats = {key: list_caveats(one.results) for key, one in line.items()}
    of_all = [mark for mark in CAVEATS if all(mark in some for some in caveats.values())]
    first = next(iter(line.values())).results[0]
    extra = {"row": "measured", "as": first.label, "net": first.config.get("net"), **caveat_fields(of_all)}
    cells = [Cell(label, label, (*sorted(marks[reason] for reason in everywhere), *of_all), extra=extra)]
    for column in columns:
        if (one := line.get(column.key)) is None:
            cells.append(Cell())
            continue
        number = numbers[column.key]
        own = sorted(marks[reason] for reason in one.reasons if reason not in everywhere)
        own += [mark for mark in caveats[column.key] if mark not in of_all]
        is_best = not one.reasons and best.get((column.key, number.protocol)) == one.value
        name = _name(column)
        ends = {f"{name}_low": one.interval[0], f"{name}_high": one.interval[1]} if one.interval else {}
        cells.append(Cell(one.value, percent(one.value, count_digits(number.value)), tuple(own), is_best, ends))
    return tuple(cells)


def _can_be_compared(line: Line) -> bool:
    """Return whether any number of a line can be compared with the printed one."""
    return any(not one.reasons for one in line.values())


def _make_difference_row(columns: Sequence[Column], line: Line, numbers: Mapping[str, Reported]) -> Row:
    """Make the row of differences, only of comparable numbers: others would be read as failures to reproduce."""
    cells = [Cell("difference", "difference", extra={"row": "difference"})]
    for column in columns:
        if (one := line.get(column.key)) is None or one.reasons:
            cells.append(Cell())
            continue
        number = numbers[column.key]
        outcome = verdict_on(one, number)
        cell = make_difference_cell(one, number)
        cells.append(replace(cell, extra={f"{_name(column)}_verdict": outcome} if outcome else {}))
    return tuple(cells)


def make_difference_cell(measured: Measured, reported: Reported) -> Cell:
    """Make the cell of measured - reported, with the sign of its verdict."""
    difference, outcome = measured.value - reported.fraction, verdict_on(measured, reported)
    text = format_difference(difference, count_digits(reported.value)) + (f" {SIGNS[outcome]}" if outcome else "")
    return Cell(difference, text)


def verdict_on(measured: Measured, reported: Reported) -> Verdict | None:
    """Whether a number was reproduced; None if it cannot be compared, or its noise is unknown."""
    if measured.reasons or measured.interval is None:
        return None
    return verdict(measured.value, reported.fraction, measured.interval)


def _find_best(table: ReportedTable, found: Matches, higher_is_better: Mapping[tuple[str, str], bool]) -> Best:
    """Find the best number of each column and protocol that has several; incomparable measured ones do not count."""
    values: defaultdict[tuple[str, str | None], list[float]] = defaultdict(list)
    directions: dict[tuple[str, str | None], bool] = {}
    numbers = {(number.row, number.column): number for number in table.numbers()}
    for number in numbers.values():
        if number.metric is not None and number.protocol is not None:
            key = number.column, number.protocol
            values[key].append(number.fraction)
            directions[key] = higher_is_better[number.protocol, number.metric]
    for index, column, one in found.cells():
        if not one.reasons:
            values[column, numbers[index, column].protocol].append(one.value)
    return {key: (max if directions[key] else min)(known) for key, known in values.items() if len(known) > 1}


def _labels(lines: Iterable[Line]) -> list[str]:
    """Label lines as `measured: melm:l2+arl, 3 seeds`; lines of the same name get the settings in which they differ.

    A line under other conditions than the paper's is labelled `not comparable`, since it measures something else.
    """
    lines = list(lines)
    first = [next(iter(line.values())).results[0] for line in lines]
    names = make_distinct_labels(first, lambda result: (result.split, result.train_split))  # marks distinguish these
    heads = ["measured" if _can_be_compared(line) else "not comparable" for line in lines]
    return [f"{head}: {name}{_seeds(line)}" for head, name, line in zip(heads, names, lines, strict=True)]


def _seeds(line: Line) -> str:
    most = max(len(one.results) for one in line.values())
    return f", {most} seeds" if most > 1 else ""


def _marks(table: ReportedTable, found: Matches) -> dict[str, str]:
    """Assign a letter to everything that needs explaining, in order of appearance."""
    notes = [_describe_unsettled(table)] if any(row.uncertain for row in table.rows) else []
    notes += [_describe_mean(mean) for row in table.rows for mean in row.recomputed.values()]
    notes += [reason for _, _, one in found.cells() for reason in one.reasons]
    return dict(zip(dict.fromkeys(notes), letters(), strict=False))


def _describe_mean(recomputed: Decimal) -> str:
    return f"as printed; the mean of the row's values is {recomputed}"


def _describe_unsettled(table: ReportedTable) -> str:
    return f"not settled by the paper: see the notes of results/papers/{table.paper}/table-{table.table}.yaml"


def _remarks(table: ReportedTable, found: Matches) -> tuple[str, ...]:
    measured = {(index, key) for index, key, one in found.cells() if not one.reasons}
    marked = {(index, key) for index, key, _ in found.cells()} - measured
    counted = f"Measured: {len(measured)} of {len(table.numbers())} numbers"
    legend = (*((LEGEND,) if measured else ()), *((NOT_COMPARABLE,) if marked else ()))
    left_out = (f"Not shown: {found.left_out} that cannot be compared, of rows that have others.",)
    more = f", and {len(marked)} that cannot be compared (see the marks)." if marked else "."
    return (*legend, counted + more, *(left_out if found.left_out else ()))


def _name(column: Column) -> str:
    return f"{column.group}: {column.head}" if column.group else column.head


def count_digits(value: Decimal) -> int:
    """Count the digits behind the point."""
    return max(0, -int(value.as_tuple().exponent))
