"""Comparison of two results: their difference and its uncertainty, overall and by class.

Results on the same images share their bootstrap draws, so their differences are paired. Results of different
protocols or images are refused, or compared with a remark: on other images there are no pairs, and one is shuffled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bench import registry
from bench.core.bootstrap import bootstrap, difference_interval, p_value
from bench.core.boxes import FloatArray
from bench.errors import BadFileError, RequestError, format_count
from bench.records.collection import StoredResult
from bench.records.replicates import read_replicates, replicates_path
from bench.records.result import SYNTHETIC, Result
from bench.tables.caveats import CAVEATS, list_caveats
from bench.tables.frames import make_frame, tables_to_html
from bench.tables.leaderboard import other_conventions
from bench.tables.model import Cell, Table
from bench.tables.numbers import bounds, format_difference, percent

if TYPE_CHECKING:
    import pandas as pd

DRAWS = 1000
"""Replicates by class; no record keeps any."""

_SAME = 1e-9
"""How far a metric redone from outcomes may be from the recorded one: rounding, and nothing else."""

_OLD = "outcomes of another version of the scoring: score the predictions again"

Fractions = Mapping[str, float | None]
Draws = Mapping[str, FloatArray]
"""Replicates (B,) by name."""


@dataclass(frozen=True)
class Difference:
    """Two fractions and `a - b`, None where undefined. p: two-sided, could it be 0?"""

    a: float | None
    b: float | None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    p: float | None = None


@dataclass(frozen=True)
class Comparison:
    """What two results differ in. unlike: how they were evaluated differently; empty where they were not."""

    a: Result
    b: Result
    unlike: tuple[str, ...]
    paired: bool
    metrics: dict[str, Difference]
    per_class: dict[str, dict[str, Difference]]

    def to_frame(self) -> pd.DataFrame:
        """Make a pandas DataFrame of the differences, as fractions; `class` is missing for a metric as a whole."""
        rows = [{"metric": metric, "class": None, **_flatten(line)} for metric, line in self.metrics.items()]
        for metric, lines in self.per_class.items():
            rows += [{"metric": metric, "class": name, **_flatten(line)} for name, line in lines.items()]
        return make_frame(rows)

    def _repr_html_(self) -> str:
        """Show the tables in a notebook."""
        return tables_to_html(make_tables(self))


def _flatten(line: Difference) -> dict[str, float | None]:
    low, high = line.interval or (None, None)
    return {"a": line.a, "b": line.b, "difference": line.difference, "low": low, "high": high, "p": line.p}


def compare(a: StoredResult, b: StoredResult, *, per_class: bool = False, anyway: bool = False) -> Comparison:
    """Compare two results by the metrics that both have.

    Raises RequestError where they were evaluated differently, unless `anyway`; where they have no metric in common, or
    none by class; and where what they are compared by is not beside their records.
    """
    one, other = a.result, b.result
    if (unlike := _list_differences(one, other)) and not anyway:
        found = f"{_name(other)} was not evaluated like {_name(one)}: {'; '.join(unlike)}"
        raise RequestError(f"{found}. --anyway compares them, and says so.")
    paired = one.truth_digest == other.truth_digest
    metrics = _differences((one.metrics, other.metrics), _draws(a, b, paired=paired), paired=paired)
    by_class = _by_class(a, b, paired=paired) if per_class else {}
    for what, lines in (("metric", metrics), ("metric by class", by_class if per_class else metrics)):
        if not lines:
            raise RequestError(f"{_name(one)} and {_name(other)} have no {what} in common.")
    return Comparison(one, other, unlike, paired, metrics, by_class)


def make_tables(found: Comparison) -> list[Table]:
    """Build a table of the metrics, then one of the classes of each metric that has them, in per cent."""
    a, b = found.a, found.b
    synthetic = " (synthetic)" if a.dataset in SYNTHETIC else ""
    title = f"{a.protocol} on {a.dataset}{synthetic} {a.split}, {format_count(a.images, 'image')}, per cent"
    remarks = [f"A: {_name(a)}", f"B: {_name(b)}"]
    caveats = {name: list_caveats([result]) for name, result in (("A", a), ("B", b))}
    for mark, note in CAVEATS.items():
        if names := [name for name, marks in caveats.items() if mark in marks]:
            remarks.append(f"{' and '.join(names)}: {note}.")
    if lower := [name for name in found.metrics if not a.higher_is_better[name]]:
        remarks.append(f"Lower is better: {', '.join(lower)}.")
    remarks += [f"Different protocol: {reason}." for reason in found.unlike]
    if not found.paired:
        remarks.append("Not paired: A and B are of other images.")
    tables = [_table(title, "metric", found.metrics, tuple(remarks))]
    return tables + [_table(f"{name} by class", "class", lines) for name, lines in found.per_class.items()]


def _table(title: str, first: str, lines: Mapping[str, Difference], remarks: tuple[str, ...] = ()) -> Table:
    columns = (first, "A", "B", "A - B", "95 % interval", "p")
    return Table(title, columns, tuple(_row(name, line) for name, line in lines.items()), remarks=remarks)


def _row(name: str, line: Difference) -> tuple[Cell, ...]:
    low, high = line.interval or (None, None)
    return (
        Cell(name, name),
        Cell(line.a, percent(line.a)),
        Cell(line.b, percent(line.b)),
        Cell(line.difference, format_difference(line.difference)),
        Cell(None, bounds(line.interval), extra={"low": low, "high": high}),
        Cell(line.p, "" if line.p is None else f"{line.p:.3f}"),
    )


def _differences(
    values: tuple[Fractions, Fractions], draws: tuple[Draws, Draws], *, paired: bool
) -> dict[str, Difference]:
    """Differences by name, of what both have."""
    return {
        name: _difference((value, values[1][name]), (draws[0][name], draws[1][name]), paired=paired)
        for name, value in values[0].items()
        if name in values[1]
    }


def _difference(
    values: tuple[float | None, float | None], draws: tuple[FloatArray, FloatArray], *, paired: bool
) -> Difference:
    a, b = values
    if a is None or b is None:
        return Difference(a, b)
    count = min(map(len, draws))
    apart = draws[0][:count] - draws[1][:count][:: 1 if paired else -1]
    return Difference(a, b, a - b, difference_interval(apart, a - b), p_value(apart, a - b))


def _list_differences(a: Result, b: Result) -> tuple[str, ...]:
    """How `b` was evaluated, where that is not how `a` was."""
    unlike = []
    if a.protocol != b.protocol:
        unlike.append(f"protocol {b.protocol}, not {a.protocol}")
    elif a.digest != b.digest:
        unlike.append(other_conventions(b, a))
    if a.dataset != b.dataset:
        unlike.append(f"dataset {b.dataset}, not {a.dataset}")
    elif a.ids_digest != b.ids_digest:
        there, here = (f"{one.split}, {format_count(one.images, 'image')}" for one in (b, a))
        unlike.append(f"other images: {there}, not {here}")
    elif a.truth_digest != b.truth_digest:
        unlike.append("the same images with other annotations")
    return tuple(unlike)


def _draws(a: StoredResult, b: StoredResult, *, paired: bool) -> tuple[Draws, Draws]:
    """Read the replicates beside two records. Raises RequestError if they are missing or of different draws."""
    found = []
    for one in (a, b):
        if (replicates := read_replicates(one.record)) is None:
            raise RequestError(f"{one.record} has no bootstrap replicates beside it: score the predictions again.")
        if missing := [
            name for name, value in one.result.metrics.items() if value is not None and name not in replicates.values
        ]:
            raise BadFileError(
                replicates_path(one.record), f"no replicates of {missing[0]}: score the predictions again"
            )
        found.append(replicates)
    if paired and found[0].draws != found[1].draws:
        raise RequestError(f"{a.record} and {b.record} are of different bootstrap draws: score one of them again.")
    return found[0].values, found[1].values


def _by_class(a: StoredResult, b: StoredResult, *, paired: bool) -> dict[str, dict[str, Difference]]:
    """Differences by metric and class."""
    values = a.result.per_class, b.result.per_class
    both = [name for name in values[0] if name in values[1]]
    draws = [_draws_by_class(one) for one in (a, b)] if both else []
    return {
        name: _differences((values[0][name], values[1][name]), (draws[0][name], draws[1][name]), paired=paired)
        for name in both
    }


def _draws_by_class(one: StoredResult) -> dict[str, Draws]:
    """Replicates of each metric and class, from outcomes.

    Raises RequestError where there are none, BadFileError where they do not give the recorded numbers.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    result, path = one.result, one.record.with_suffix(".parquet")
    if not path.exists():
        raise RequestError(f"{one.record} has no outcomes beside it (large ones stay in the runs folder).")
    family = registry.family(result.family)
    try:
        outcomes = pq.ParquetFile(path).read()
        conventions = family.Conventions.model_validate_json(json.dumps(result.conventions))
        classes = tuple(json.loads(outcomes.schema.metadata[b"classes"]))
        summarise = partial(family.summarise, outcomes, classes, conventions)
        whole = summarise(np.ones((1, result.images)))
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
        raise BadFileError(path, _OLD) from None
    for name, recorded in result.per_class.items():
        expected = [np.nan if value is None else value for value in recorded.values()]
        if not np.allclose(whole[name][0], expected, rtol=0, atol=_SAME, equal_nan=True):
            raise BadFileError(path, _OLD)
    drawn = bootstrap(summarise, result.images, replicates=DRAWS, seed=0)
    return {name: dict(zip(classes, drawn[name].T, strict=True)) for name in result.per_class}


def _name(result: Result) -> str:
    return f"{result.label}{result.seed_suffix} (result {result.address})"
