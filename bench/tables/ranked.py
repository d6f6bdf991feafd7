"""Ranks of a leaderboard's rows by one metric, as computed by `bench.core.bootstrap.rank_values`.

Rows within noise share a rank. A row holds the results of some seeds and is ranked by their mean
(`bench.core.bootstrap.average_over_seeds`).
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from bench.core.bootstrap import average_over_seeds, rank_values
from bench.core.boxes import FloatArray
from bench.records.replicates import Replicates
from bench.records.result import Result

SeedGroup = Sequence[Result]
"""Results that differ in their seed only."""

ReplicatesByAddress = Mapping[str, Replicates | None]
"""The replicates beside each record, by the record's address."""


def rank_results(rows: Sequence[SeedGroup], metric: str, draws: ReplicatesByAddress) -> dict[str, int]:
    """Rank rows that were evaluated alike; return the rank of each by the address of its first result.

    Rows without the metric, or without replicates of the most common draws, are left out; one row alone has no rank.
    """
    known = {row[0].address: found for row in rows if (found := average_replicates(row, metric, draws)) is not None}
    usual = Counter(kind for kind, _ in known.values()).most_common(1)
    replicates = {address: values for address, (kind, values) in known.items() if kind == usual[0][0]}
    if len(replicates) < 2:
        return {}
    sign = 1 if rows[0][0].higher_is_better.get(metric, True) else -1
    means = [statistics.fmean(list_values(row, metric)) for row in rows if row[0].address in replicates]
    places = rank_values(sign * np.array(means), sign * np.stack(list(replicates.values())))
    return dict(zip(replicates, places, strict=True))


def explain_ranks(metric: str, rows: Sequence[SeedGroup], places: Mapping[str, int]) -> str:
    """Explain what a rank means, and which rows have none."""
    on = rows[0][0].split
    how = f"rank: by {metric} on {on}, 1 + how many are significantly better (paired bootstrap over images, p < .05)."
    without = [row[0].label for row in rows if row[0].address not in places and list_values(row, metric)]
    return f"{how} Not ranked, without replicates of the same draws: {', '.join(without)}." if without else how


def list_values(row: SeedGroup, metric: str) -> list[float]:
    """Return the defined values of a metric, one per seed."""
    return [value for result in row if (value := result.metrics.get(metric)) is not None]


def mean_over_seeds(values: Sequence[float | None]) -> float | None:
    """Return the mean of a number over seeds; None if it is undefined for one of them."""
    defined = [value for value in values if value is not None]
    return statistics.fmean(defined) if len(defined) == len(values) else None


def average_replicates(
    row: SeedGroup, metric: str, draws: ReplicatesByAddress
) -> tuple[tuple[str, int], FloatArray] | None:
    """Return which draws, and the replicates of the mean over seeds with the metric; None without common draws."""
    found = [draws.get(result.address) for result in row if result.metrics.get(metric) is not None]
    values = [(one.draws, one.values[metric]) for one in found if one is not None and metric in one.values]
    kinds = {(kind, len(one)) for kind, one in values}
    if len(kinds) != 1 or len(values) < len(found):
        return None
    return kinds.pop(), average_over_seeds(np.stack([one for _, one in values]))
