"""Comparison of two results, or of two means over seeds: the difference and its uncertainty, overall and by class.

Results on the same images share their bootstrap draws, so their differences are paired. Results of different protocols
or images are refused, or compared with a remark; on different images they are unpaired, so one's draws are reversed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bench.analysis.recheck import is_same, summarise_again
from bench.core.bootstrap import LEVEL, average_over_seeds, bootstrap, difference_interval, p_value
from bench.core.boxes import FloatArray
from bench.errors import BadFileError, RequestError, format_count
from bench.records.collection import StoredResult, require_replicates
from bench.records.outcomes import OLD, read_outcomes
from bench.records.replicates import Replicates, read_replicates, replicates_path
from bench.records.result import SYNTHETIC, Result
from bench.tables.caveats import CAVEATS, list_caveats
from bench.tables.frames import make_frame, tables_to_html, tables_to_text
from bench.tables.leaderboard import other_conventions
from bench.tables.model import Cell, Table
from bench.tables.numbers import bounds, format_difference, percent
from bench.tables.ranked import mean_over_seeds

if TYPE_CHECKING:
    import pandas as pd

DRAWS = 1000
"""Number of replicates by class, which no record keeps."""

Fractions = Mapping[str, float | None]
Draws = Mapping[str, FloatArray]
"""Replicates (B,) by name."""

Side = Sequence[StoredResult]
"""Results that differ in their seed only; their mean is compared."""


@dataclass(frozen=True)
class Difference:
    """Two fractions and `a - b`, None where undefined. p: two-sided p-value of no difference."""

    a: float | None
    b: float | None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    p: float | None = None


@dataclass(frozen=True, repr=False)
class Comparison:
    """The differences between two sides, each the results of one or more seeds.

    unlike: how they were evaluated differently; empty if they were not. settings: those in which they differ.
    """

    a: tuple[Result, ...]
    b: tuple[Result, ...]
    unlike: tuple[str, ...]
    settings: tuple[str, ...]
    paired: bool
    metrics: dict[str, Difference]
    per_class: dict[str, dict[str, Difference]]

    def to_frame(self) -> pd.DataFrame:
        """Make a pandas DataFrame of the differences, as fractions; `class` is missing for a metric as a whole."""
        rows = [{"metric": metric, "class": None, **_flatten(line)} for metric, line in self.metrics.items()]
        for metric, lines in self.per_class.items():
            rows += [{"metric": metric, "class": name, **_flatten(line)} for name, line in lines.items()]
        return make_frame(rows)

    def __str__(self) -> str:
        return tables_to_text(make_tables(self))

    def __repr__(self) -> str:
        return f"<{_name(self.a)} compared with {_name(self.b)}: {describe_verdict(self)}>"

    def _repr_html_(self) -> str:
        """Show the tables in a notebook."""
        return tables_to_html(make_tables(self))


def _flatten(line: Difference) -> dict[str, float | None]:
    low, high = line.interval or (None, None)
    return {"a": line.a, "b": line.b, "difference": line.difference, "low": low, "high": high, "p": line.p}


def compare(a: Side, b: Side, *, per_class: bool = False, anyway: bool = False) -> Comparison:
    """Compare two sides by the metrics that both have: the mean over the seeds of each.

    Raises RequestError if they were evaluated differently, unless `anyway`; if they have no metric in common, or with
    `per_class` none by class; and if the replicates or outcomes to compare are not beside their records.
    """
    ours, theirs = (tuple(one.result for one in side) for side in (a, b))
    one, other = ours[0], theirs[0]
    if (unlike := list_differences(one, other)) and not anyway:
        found = f"{_name(theirs)} was not evaluated like {_name(ours)}: {'; '.join(unlike)}"
        raise RequestError(f"{found}. --anyway compares them, and says so.")
    paired = one.truth_digest == other.truth_digest
    means = _average([result.metrics for result in ours]), _average([result.metrics for result in theirs])
    metrics = _differences(means, _draws(a, b, paired=paired), paired=paired)
    by_class = _by_class(a, b, paired=paired) if per_class else {}
    for what, lines in (("metric", metrics), ("metric by class", by_class if per_class else metrics)):
        if not lines:
            raise RequestError(f"{_name(ours)} and {_name(theirs)} have no {what} in common.")
    return Comparison(ours, theirs, unlike, _list_settings(one, other), paired, metrics, by_class)


def describe_verdict(found: Comparison) -> str:
    """Describe in a sentence what the first metric shows."""
    name, line = next(iter(found.metrics.items()))
    a, b = (side[0].label for side in (found.a, found.b))
    if a == b:
        a, b = "A", "B"
    if found.unlike:
        return "no verdict, as A and B were evaluated differently"
    if line.difference is None or line.p is None:
        return f"no verdict, as {name} is not defined for both"
    if line.p >= 1 - LEVEL:
        return f"no difference between {a} and {b} is shown in {name} (p = {line.p:.3f})"
    is_better = (line.difference > 0) == found.a[0].higher_is_better[name]
    points = f"{100 * abs(line.difference):.1f} points of {name}"
    return f"{a} is {'better' if is_better else 'worse'} than {b} by {points} (p = {line.p:.3f})"


def make_tables(found: Comparison) -> list[Table]:
    """Build a table of the metrics, then one of the classes of each metric that has them, in per cent."""
    a = found.a[0]
    synthetic = " (synthetic)" if a.dataset in SYNTHETIC else ""
    title = f"{a.protocol} on {a.dataset}{synthetic} {a.split}, {format_count(a.images, 'image')}, per cent"
    remarks = [f"Verdict: {describe_verdict(found)}.", f"A: {_name(found.a)}", f"B: {_name(found.b)}"]
    caveats = {name: list_caveats(side) for name, side in (("A", found.a), ("B", found.b))}
    for mark, note in CAVEATS.items():
        if names := [name for name, marks in caveats.items() if mark in marks]:
            remarks.append(f"{' and '.join(names)}: {note}.")
    if found.settings:
        remarks.append(f"Settings in which they differ, A and B: {'; '.join(found.settings)}.")
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
    """Compute the differences by name, for the names that both have."""
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


def list_differences(a: Result, b: Result) -> tuple[str, ...]:
    """List how `b` was evaluated differently than `a`."""
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


def _list_settings(a: Result, b: Result) -> tuple[str, ...]:
    """List the settings that both have and in which they differ."""
    ours, theirs = ({**one.config, "weights": one.weights, "train split": one.train_split} for one in (a, b))
    differing = [name for name in ours if name in theirs and ours[name] != theirs[name]]
    return tuple(f"{name} {json.dumps(ours[name])}, {json.dumps(theirs[name])}" for name in differing)


def _average(values: Sequence[Fractions]) -> Fractions:
    """Average over seeds, by name; undefined if any value is."""
    return {
        name: mean_over_seeds([one[name] for one in values]) for name in values[0] if all(name in one for one in values)
    }


def _average_draws(draws: Sequence[Draws]) -> Draws:
    """Average over seeds, by name, over as many replicates as all have."""
    names = [name for name in draws[0] if all(name in one for one in draws)]
    counts = {name: min(len(one[name]) for one in draws) for name in names}
    return {name: average_over_seeds(np.stack([one[name][: counts[name]] for one in draws])) for name in names}


def _draws(a: Side, b: Side, *, paired: bool) -> tuple[Draws, Draws]:
    """Read the replicates beside both sides' records. Raises RequestError if they are missing or of different draws."""
    ours, theirs = ([_read_replicates(one) for one in side] for side in (a, b))
    for group in [[*ours, *theirs]] if paired else [ours, theirs]:
        if len({one.draws for one in group}) > 1:
            names = " and ".join(str(one.record) for one in (*a, *b))
            raise RequestError(f"{names} are of different bootstrap draws: score one of them again.")
    return _average_draws([one.values for one in ours]), _average_draws([one.values for one in theirs])


def _read_replicates(one: StoredResult) -> Replicates:
    if (replicates := read_replicates(require_replicates(one).record)) is None:
        raise RequestError(f"{one.record} has no bootstrap replicates beside it: score the predictions again.")
    metrics = one.result.metrics.items()
    if missing := [name for name, value in metrics if value is not None and name not in replicates.values]:
        raise BadFileError(replicates_path(one.record), f"no replicates of {missing[0]}: score the predictions again")
    return replicates


def _by_class(a: Side, b: Side, *, paired: bool) -> dict[str, dict[str, Difference]]:
    """Compute the differences by metric and class."""
    ours, theirs = ([one.result.per_class for one in side] for side in (a, b))
    both = [name for name in ours[0] if all(name in one for one in (*ours, *theirs))]
    if not both:
        return {}
    draws = [[draw_classes(one) for one in side] for side in (a, b)]
    return {
        name: _differences(
            (_average([one[name] for one in ours]), _average([one[name] for one in theirs])),
            (_average_draws([one[name] for one in draws[0]]), _average_draws([one[name] for one in draws[1]])),
            paired=paired,
        )
        for name in both
    }


def draw_classes(one: StoredResult, replicates: int = DRAWS) -> dict[str, Draws]:
    """Draw replicates of each metric and class from outcomes; a smaller number gives the first of a larger one's.

    Raises RequestError if there are no outcomes, BadFileError if they do not give the recorded numbers.
    """
    result = one.result
    if (outcomes := read_outcomes(one.record, result)) is None:
        raise RequestError(f"{one.record} has no outcomes beside it (large ones stay in the runs folder).")
    summarise = partial(summarise_again, one, outcomes)
    whole = summarise(np.ones((1, result.images)))
    for name, recorded in result.per_class.items():
        if (*recorded,) != outcomes.classes or not is_same(whole[name][0], [*recorded.values()]):
            raise BadFileError(one.record.with_suffix(".parquet"), OLD)
    drawn = bootstrap(summarise, result.images, replicates=replicates, seed=0)
    return {name: dict(zip(outcomes.classes, drawn[name].T, strict=True)) for name in result.per_class}


def _name(results: Sequence[Result]) -> str:
    first, addresses = results[0], ", ".join(one.address for one in results)
    if len(results) == 1:
        return f"{first.label}{first.seed_suffix} (result {addresses})"
    return f"{first.label}, seeds {', '.join(str(one.seed) for one in results)} (results {addresses})"
