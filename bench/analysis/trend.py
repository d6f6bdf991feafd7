"""How a result moved over revisions: of one method on one protocol, every result in the order of its making."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.records.result import SYNTHETIC, Result
from bench.tables.caveats import explain_caveats, list_caveats
from bench.tables.leaderboard import letters, other_conventions
from bench.tables.model import Cell, Table
from bench.tables.numbers import format_difference, percent, spread, with_interval

_SHOWN = 9
"""Characters shown of a revision."""


@dataclass(frozen=True)
class Point:
    """Results of one revision that differ in their seed only.

    values: the mean of each metric. change: of the primary metric since the previous point; None if there is none or
    the two cannot be compared. moved: differences in settings and protocol from the previous point.
    """

    results: tuple[Result, ...]
    values: dict[str, float | None]
    change: float | None = None
    moved: tuple[str, ...] = ()

    @property
    def revision(self) -> str | None:
        """The code's revision; None where it is not known."""
        revision = self.results[0].provenance.get("revision")
        return None if revision is None else str(revision)

    @property
    def dirty(self) -> bool:
        """Whether the code differed from its revision."""
        return any(one.is_edited for one in self.results)


@dataclass(frozen=True)
class Trend:
    """The points of one method (`name:variant`) on one protocol, dataset and split, oldest first."""

    method: str
    protocol: str
    dataset: str
    split: str
    points: tuple[Point, ...]


def trends(results: Iterable[Result]) -> list[Trend]:
    """Build the trend of each method, protocol, dataset and split, in alphabetical order."""
    groups = defaultdict(list)
    for result in sorted(results, key=lambda result: (result.created, result.address)):
        groups[result.label, result.protocol, result.dataset, result.split].append(result)
    return [Trend(*group, _points(groups[group])) for group in sorted(groups)]


def make_table(trend: Trend) -> Table:
    """Build the table of a trend, in per cent."""
    synthetic = " (synthetic)" if trend.dataset in SYNTHETIC else ""
    metrics = list(dict.fromkeys(name for point in trend.points for name in point.values))
    notes = dict.fromkeys(reason for point in trend.points for reason in point.moved)
    marks = dict(zip(notes, letters(), strict=False))
    rows = tuple(_row(point, metrics, marks) for point in trend.points)
    return Table(
        f"{trend.method} · {trend.protocol} on {trend.dataset}{synthetic} {trend.split}, per cent",
        ("made", "revision", "seeds", *metrics, "change"),
        rows,
        {mark: note for note, mark in marks.items()} | explain_caveats(rows),
        ("change: of the first metric since the row before.",),
    )


def _points(results: Sequence[Result]) -> tuple[Point, ...]:
    """Group results of the same revision, settings and evaluation into points; of a seed the last record counts."""
    groups: defaultdict[str, dict[int | None, Result]] = defaultdict(dict)
    for result in results:
        groups[_make_key(result)][result.seed] = result
    points: list[Point] = []
    for group in groups.values():
        points.append(_point(tuple(group.values()), points[-1] if points else None))
    return tuple(points)


def _make_key(result: Result) -> str:
    evaluated = result.digest, result.truth_digest
    return json.dumps([result.provenance.get("revision"), _settings(result), *evaluated], sort_keys=True)


def _settings(result: Result) -> dict[str, Any]:
    return {**result.config, "weights": result.weights, "train_split": result.train_split}


def _point(results: tuple[Result, ...], before: Point | None) -> Point:
    names = results[0].metrics
    values = {name: _mean([one.metrics.get(name) for one in results]) for name in names}
    if before is None:
        return Point(results, values)
    old, new = before.results[0], results[0]
    evaluated = _list_differences(old, new)
    primary = next(iter(names), "")
    now, then = values.get(primary), before.values.get(primary)
    change = None if evaluated or now is None or then is None else now - then
    return Point(results, values, change, (*evaluated, *_list_changes(_settings(old), _settings(new))))


def _list_differences(old: Result, new: Result) -> list[str]:
    """List how a result was evaluated differently than the one before."""
    reasons = [other_conventions(new, old)] if new.digest != old.digest else []
    return reasons + (["evaluated on other images or annotations"] if new.truth_digest != old.truth_digest else [])


def _list_changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """List the settings that differ; those missing in one record count only if no other setting differs."""
    keys = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    keys = [key for key in keys if key in old and key in new] or keys
    return [f"{key} {_text(new.get(key))}, was {_text(old.get(key))}" for key in keys]


def _text(value: object) -> str:
    return json.dumps(value).strip('"')


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _row(point: Point, metrics: Sequence[str], marks: dict[str, str]) -> tuple[Cell, ...]:
    made = min(one.created for one in point.results)
    code = point.revision or ""
    seeds = " ".join(str(one.seed) for one in point.results if one.seed is not None)
    return (
        Cell(made, made, (*(marks[reason] for reason in point.moved), *list_caveats(point.results))),
        Cell(code, code[:_SHOWN]),
        Cell(seeds, seeds),
        *(_cell(point, name) for name in metrics),
        Cell(point.change, format_difference(point.change)),
    )


def _cell(point: Point, metric: str) -> Cell:
    value = point.values.get(metric)
    if value is None:
        return Cell()
    known = [number for one in point.results if (number := one.metrics.get(metric)) is not None]
    if len(known) > 1:
        return Cell(value, f"{percent(value)} {spread(statistics.stdev(known), len(known))}")
    return Cell(value, with_interval(value, point.results[0].intervals.get(metric)))
