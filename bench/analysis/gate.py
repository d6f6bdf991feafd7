"""The regression gate: compare results with the accepted ones, their baselines.

A result is compared with the baseline of the same method, protocol, dataset, splits and common settings, over the seeds
that both have. It has regressed if it is worse by more than both the tolerance and the noise.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.analysis.baselines import select_latest
from bench.analysis.kinds import KindIndex
from bench.core.bootstrap import ROUNDING, difference_interval
from bench.records.collection import StoredResult
from bench.records.replicates import read_replicates
from bench.records.result import SYNTHETIC, Result
from bench.tables.caveats import ONE_SEED, explain_caveats, list_caveats
from bench.tables.leaderboard import letters, make_distinct_labels, other_conventions
from bench.tables.model import Cell, Table
from bench.tables.numbers import bounds, format_difference, percent
from bench.tables.ranked import SeedGroup, average_replicates
from bench.tables.verdict import TOLERANCE

Status = Literal["regressed", "different protocol", "improved", "unchanged", "no baseline"]
STATUSES: tuple[Status, ...] = ("regressed", "different protocol", "improved", "unchanged", "no baseline")
"""In the order of tables: what needs attention first."""

Pairing = Literal["paired", "unpaired", "no noise known"]


@dataclass(frozen=True)
class GateCheck:
    """One metric of a method, compared with its baseline; fractions, means over `seeds`.

    difference: measured - accepted, with its interval. note: a remark on how they were compared.
    """

    result: Result
    metric: str
    status: Status
    measured: float | None
    accepted: float | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    pairing: Pairing | None = None
    seeds: tuple[int | None, ...] = ()
    note: str = ""


def gate(
    results: Sequence[StoredResult], baselines: Sequence[StoredResult], tolerance: float = TOLERANCE
) -> list[GateCheck]:
    """Compare the latest results with their baselines, metric by metric, in the order of `STATUSES`."""
    records = {one.result.address: one.record for one in (*results, *baselines)}
    accepted = KindIndex((row[0], row) for row in select_latest(baselines))
    checks = [
        check
        for row in select_latest(results)
        for check in _check_row(row, next(accepted.find(row[0]), ()), records, tolerance)
    ]
    return sorted(checks, key=lambda check: STATUSES.index(check.status))


def make_table(checks: Sequence[GateCheck], tolerance: float = TOLERANCE) -> Table:
    """Tabulate checks in per cent, regressions first."""
    counts = Counter(check.status for check in checks)
    summary = ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status]) or "no results to check"
    notes = list(dict.fromkeys(check.note for check in checks if check.note))
    marks = dict(zip(notes, letters(), strict=False))
    columns = ("method", "protocol", "metric", "accepted", "measured", "difference", "95 % interval", "is")
    remarks = [
        f"Regressed: worse by more than {percent(tolerance)} and by more than noise. Intervals are of the difference."
    ]
    if lower := sorted({check.metric for check in checks if not check.result.higher_is_better[check.metric]}):
        remarks.append(f"Lower is better: {', '.join(lower)}.")
    rows = tuple(_row(check, name, marks) for check, name in zip(checks, _name_checks(checks), strict=True))
    explained = {mark: note for note, mark in marks.items()} | explain_caveats(rows)
    return Table(f"Gate: {summary}", columns, rows, explained, tuple(remarks))


def _check_row(row: SeedGroup, baseline: SeedGroup, records: Mapping[str, Path], tolerance: float) -> list[GateCheck]:
    result = row[0]
    pairs = _pair_seeds(row, baseline)
    if not pairs:
        return [GateCheck(result, name, "no baseline", value) for name, value in list(result.metrics.items())[:1]]
    if note := _different_protocol(result, pairs[0][1]):
        name = next(iter(result.metrics))
        return [
            GateCheck(
                result, name, "different protocol", result.metrics[name], pairs[0][1].metrics.get(name), note=note
            )
        ]
    return [
        _check_metric(name, pairs, records, tolerance)
        for name in result.metrics
        if all(accepted.metrics.get(name) is not None for _, accepted in pairs)
    ]


def _pair_seeds(row: SeedGroup, baseline: SeedGroup) -> list[tuple[Result, Result]]:
    """Pair results with the baselines of the same seeds."""
    accepted = {one.seed: one for one in baseline}
    return [(one, accepted[one.seed]) for one in row if one.seed in accepted]


def _different_protocol(result: Result, baseline: Result) -> str:
    if result.digest != baseline.digest:
        return f"{other_conventions(result, baseline)}; accept it as a new baseline"
    if result.truth_digest != baseline.truth_digest:
        return "evaluated on other images or annotations than the baseline; accept it as a new baseline"
    return ""


def _check_metric(
    metric: str, pairs: Sequence[tuple[Result, Result]], records: Mapping[str, Path], tolerance: float
) -> GateCheck:
    result, seeds = pairs[0][0], tuple(one.seed for one, _ in pairs)
    accepted = _mean([other for _, other in pairs], metric)
    measured = _mean([one for one, _ in pairs], metric)
    if measured is None or accepted is None:
        return GateCheck(result, metric, "regressed", None, accepted, seeds=seeds, note="undefined now")
    difference = measured - accepted
    noise, pairing = _estimate_noise(metric, pairs, records, difference)
    status = _classify(difference, noise, tolerance, higher=result.higher_is_better[metric])
    return GateCheck(result, metric, status, measured, accepted, difference, noise, pairing, seeds, _note(pairing))


def _classify(difference: float, noise: tuple[float, float] | None, tolerance: float, *, higher: bool) -> Status:
    """Classify a difference: a change must exceed the tolerance and, if the noise is known, the noise."""
    beyond = abs(difference) > tolerance + ROUNDING and (noise is None or not noise[0] <= 0 <= noise[1])
    if not beyond:
        return "unchanged"
    return "improved" if (difference > 0) == higher else "regressed"


def _estimate_noise(
    metric: str, pairs: Sequence[tuple[Result, Result]], records: Mapping[str, Path], difference: float
) -> tuple[tuple[float, float] | None, Pairing]:
    """Compute the interval of a difference: paired if all replicates share the same draws, else as if independent."""
    rows = [one for one, _ in pairs], [other for _, other in pairs]
    draws = {one.address: read_replicates(records[one.address]) for row in rows for one in row}
    new, old = (average_replicates(row, metric, draws) for row in rows)
    if new is not None and old is not None and new[0] == old[0]:
        return difference_interval(new[1] - old[1], difference), "paired"
    widths = [_half_width(metric, row) for row in rows]
    if None in widths:
        return None, "no noise known"
    apart = math.hypot(*(width for width in widths if width is not None))
    return (difference - apart, difference + apart), "unpaired"


def _half_width(metric: str, row: Sequence[Result]) -> float | None:
    """Average the recorded half-widths over seeds; all seeds share the images, so their noise does not average out."""
    intervals = [result.intervals[metric] for result in row if metric in result.intervals]
    return statistics.fmean((high - low) / 2 for low, high in intervals) if len(intervals) == len(row) else None


def _mean(row: Sequence[Result], metric: str) -> float | None:
    values = [value for one in row if (value := one.metrics.get(metric)) is not None]
    return statistics.fmean(values) if len(values) == len(row) else None


def _note(pairing: Pairing) -> str:
    return {
        "paired": "",
        "unpaired": "unpaired: the records have no replicates of the same draws; noise is from their own intervals",
        "no noise known": "no replicates and no intervals: compared by the tolerance alone",
    }[pairing]


def _name_checks(checks: Sequence[GateCheck]) -> list[str]:
    """Name the methods, with the settings that distinguish those of the same name."""
    return make_distinct_labels(
        [check.result for check in checks], lambda result: (result.protocol, result.dataset, result.split)
    )


def _row(check: GateCheck, name: str, marks: Mapping[str, str]) -> tuple[Cell, ...]:
    low, high = check.interval or (None, None)
    seeds = "" if len(check.seeds) < 2 else f", {len(check.seeds)} seeds"
    synthetic = " (synthetic)" if check.result.dataset in SYNTHETIC else ""
    where = f"{check.result.protocol} on {check.result.dataset}{synthetic} {check.result.split}"
    caveats = [mark for mark in list_caveats([check.result]) if mark != ONE_SEED or not seeds]
    return (
        Cell(name, f"{name}{seeds}", tuple(caveats)),
        Cell(where, where),
        Cell(check.metric, check.metric),
        Cell(check.accepted, percent(check.accepted)),
        Cell(check.measured, percent(check.measured)),
        Cell(check.difference, format_difference(check.difference)),
        Cell(None, bounds(check.interval), extra={"low": low, "high": high}),
        Cell(check.status, check.status, (marks[check.note],) if check.note else (), best=check.status == "regressed"),
    )
