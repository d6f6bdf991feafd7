"""Which results measure the numbers of a paper's printed row, and how far the two can be compared."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.core.bootstrap import interval
from bench.records.replicates import Replicates
from bench.records.result import SYNTHETIC, Result
from bench.scoring.protocol import BoundProtocol, dump_conventions
from bench.tables.leaderboard import remarks_on
from bench.tables.ranked import average_replicates
from bench.tables.reported import Column, Reported, ReportedTable

AS_PRINTED = (None, "paper")
"""Variants of a method that are the method itself."""

Read = Callable[[str], Replicates | None]
"""Reads the replicates beside a record, given its address."""


@dataclass(frozen=True)
class Measured:
    """The measurement of one printed number: the mean over the seeds of `results`.

    reasons: why it cannot be compared with the printed number; empty where it can.
    """

    results: tuple[Result, ...]
    value: float
    interval: tuple[float, float] | None
    reasons: tuple[str, ...]


Line = Mapping[str, Measured]
"""The measurements of a printed row by one configuration, by column key."""


@dataclass(frozen=True)
class Matches:
    """A paper's table matched with results. lines: of each printed row; left_out: how many gave way to better ones."""

    lines: tuple[tuple[Line, ...], ...]
    left_out: int

    def cells(self) -> Iterator[tuple[int, str, Measured]]:
        """Yield the index of the row, the key of the column and the measurement of every measured cell."""
        for index, lines in enumerate(self.lines):
            for line in lines:
                for key, measured in line.items():
                    yield index, key, measured


def matches(
    table: ReportedTable,
    results: Sequence[Result],
    bound: Mapping[str, BoundProtocol],
    read: Read,
    *,
    data: str | None = None,
) -> Matches:
    """Match results with the numbers of a table's methods; one line for each configuration.

    bound: protocols by name; numbers of other protocols are skipped. A line without any comparable number is left out
    if another line of its row has one. data: the dataset of a try-out, in place of those of the protocols.
    """
    results = [one for one in results if (one.dataset not in SYNTHETIC if data is None else one.dataset == data)]
    named = _name_configurations(table, results)
    columns = {column.key: column for column in table.columns}
    numbers = defaultdict(list)
    for number in table.numbers():
        numbers[number.row].append(number)
    every, left_out = [], 0
    for index, row in enumerate(table.rows):
        lines = [
            line
            for group in named.get(row.method, [])
            if (line := _line(numbers[index], columns, group, bound, read, data))
        ]
        good = [line for line in lines if any(not found.reasons for found in line.values())]
        left_out += len(lines) - len(good) if good else 0
        every.append(tuple(good or lines))
    return Matches(tuple(every), left_out)


def _name_configurations(table: ReportedTable, results: Sequence[Result]) -> dict[str | None, list[list[Result]]]:
    """Group results of a table's methods, in any variant, by all their settings, oldest first; by label and method."""
    asked = {row.method for row in table.rows}
    groups: defaultdict[str, list[Result]] = defaultdict(list)
    for result in sorted(results, key=lambda result: (result.created, result.address)):
        if not asked.isdisjoint((result.label, result.method)):
            groups[json.dumps([result.label, result.config, result.weights], sort_keys=True)].append(result)
    named: defaultdict[str | None, list[list[Result]]] = defaultdict(list)
    for group in groups.values():
        for name in {group[0].label, group[0].method}:
            named[name].append(group)
    return named


def _line(
    numbers: Sequence[Reported],
    columns: Mapping[str, Column],
    results: Sequence[Result],
    bound: Mapping[str, BoundProtocol],
    read: Read,
    data: str | None,
) -> Line:
    config = results[0].config
    found = {}
    for number in numbers:
        protocol = bound.get(str(number.protocol))
        if protocol is None or not _belongs(number, columns[number.column], config, is_tried=data is not None):
            continue
        if (measured := _measure(number, results, protocol, read, data)) is not None:
            found[number.column] = measured
    return found


def _belongs(number: Reported, column: Column, config: Mapping[str, Any], *, is_tried: bool = False) -> bool:
    """Whether a configuration has the settings that distinguish a number in its table, and the net of its column.

    A try-out may have any net.
    """
    if column.net and not is_tried and config.get("net", column.net) != column.net:
        return False
    return all(_is_same(config.get(key), printed) for key, printed in number.setting.items())


def _measure(
    number: Reported, results: Sequence[Result], bound: BoundProtocol, read: Read, data: str | None
) -> Measured | None:
    """Measure a number by the most comparable results, or the latest such ones, with all their seeds."""
    groups: defaultdict[tuple[str, ...], dict[int | None, Result]] = defaultdict(dict)
    for one in results:
        is_asked = (one.protocol, one.dataset) == (number.protocol, data or bound.record.dataset)
        if is_asked and get_value(one, number) is not None:
            groups[one.digest, one.truth_digest, str(one.train_split)][one.seed] = one
    if not groups:
        return None
    rows = [tuple(group.values()) for group in groups.values()]
    row = min(reversed(rows), key=lambda row: len(_reasons(number, row[0], bound)))
    values = [value for one in row if (value := get_value(one, number)) is not None]
    mean = statistics.fmean(values)
    return Measured(row, mean, _interval(number, row, mean, read), tuple(_reasons(number, row[0], bound)))


def get_value(result: Result, number: Reported) -> float | None:
    """Return a result's value of the metric or class that a printed number belongs to."""
    metric = str(number.metric)
    if number.class_ is None:
        return result.metrics.get(metric)
    return result.per_class.get(metric, {}).get(number.class_)


def _interval(number: Reported, row: Sequence[Result], mean: float, read: Read) -> tuple[float, float] | None:
    """Return the interval of a metric over images and seeds; for a class, that of its only seed."""
    metric = str(number.metric)
    if len(row) == 1:
        of_classes = row[0].class_intervals.get(metric, {})
        return row[0].intervals.get(metric) if number.class_ is None else of_classes.get(number.class_)
    if number.class_ is not None:
        return None
    found = average_replicates(row, metric, {one.address: read(one.address) for one in row})
    return None if found is None else interval(found[1], mean)


def _reasons(number: Reported, result: Result, bound: BoundProtocol) -> list[str]:
    """List why a result does not measure what the paper did."""
    reasons = remarks_on(result, _with_conventions(result, bound))
    net = result.config.get("net")
    if result.dataset != bound.record.dataset:
        reasons.append(f"on {result.dataset}, not {bound.record.dataset}")
    if result.training is not None and not result.config.get("epochs", 1):
        reasons.append("not trained: epochs=0")
    if number.method == result.method and result.variant not in AS_PRINTED and not number.setting:
        reasons.append(f"variant {result.variant}: the paper names none")
    if net is not None and net != number.net:
        reasons.append(f"net {net}, not {number.net}" if number.net else f"net {net}: the paper names none")
    return reasons


def _with_conventions(result: Result, bound: BoundProtocol) -> Result:
    """Return the result as if made with the protocol's own conventions and splits."""
    conventions = dump_conventions(bound.conventions)
    classes = tuple(next(iter(result.per_class.values()), ()))
    known = {bound.digest(classes), bound.digest(classes[1:])}  # segmentation's first class is the background
    has_these = result.conventions == conventions and (not classes or result.digest in known)
    digest = result.digest if has_these else ""
    splits = {"split": bound.record.eval_split, "train_split": bound.record.train_split}
    return result.model_copy(update={"conventions": conventions, "digest": digest, **splits})


def _is_same(value: object, printed: str) -> bool:
    """Whether a setting has the value that a table gives it; `multi` stands for several values."""
    if isinstance(value, list):
        return len(value) > 1 if printed == "multi" else "+".join(map(str, value)) == printed
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value) == printed or f"{value:g}" == printed
    return value == printed or (value is not None and json.dumps(value) == printed)
