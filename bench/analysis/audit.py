"""Audit: the same predictions under every convention switch, changed one at a time, and how far each moves each metric.

For a switch with a few values, all other values are tried; for a number, its examples (`Conventions`). If the order of
equal scores is a switch (`ties`), the settings that make or order ties come with a range: that of the metrics under the
unstable sort for `ORDERS` random orders of the predictions, in which all orders of equal scores are equally likely.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args, get_origin

import numpy as np

from bench.core.progress import SILENT, Progress
from bench.data.ground_truth import GroundTruth
from bench.errors import RequestError
from bench.predictions.table import ResolvedPredictions
from bench.scoring.protocol import BoundProtocol, Conventions
from bench.scoring.score import score
from bench.tables.model import Cell, Table

ORDERS = 20
"""Number of random orders of the predictions over which a range is taken."""

_MAKES_TIES = ("ties", "rounding")

Metrics = Mapping[str, float | None]


@dataclass(frozen=True)
class Setting:
    """The metrics under one setting. switch: None for the protocol's own. refused: why it cannot be scored."""

    switch: str | None
    value: Any
    metrics: Metrics = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    refused: str | None = None


@dataclass(frozen=True)
class Audit:
    """The protocol's own setting, and the others, ordered by how far they move the primary metric, farthest first."""

    own: Setting
    others: tuple[Setting, ...]

    def difference(self, setting: Setting, metric: str) -> float | None:
        """How far a setting moves a metric from the protocol's own; None where either is undefined."""
        before, after = self.own.metrics[metric], setting.metrics.get(metric)
        return None if before is None or after is None else after - before


def audit(
    protocol: BoundProtocol,
    truth: GroundTruth,
    predictions: Mapping[str, ResolvedPredictions],
    *,
    allow_missing: bool = False,
    progress: Progress = SILENT,
) -> Audit:
    """Score predictions, by kind, under a protocol and each of its neighbours: all metrics of the family, no intervals.

    Raises as `bench.scoring.score.score` where the protocol's own setting cannot be scored.
    """
    record, family = protocol.record, protocol.family
    metrics = tuple(dict.fromkeys((*record.metrics, *family.METRICS)))
    base = BoundProtocol(record.model_copy(update={"metrics": metrics}), family)

    def evaluate(found: Mapping[str, ResolvedPredictions], **changes: Any) -> Metrics:
        moved = BoundProtocol(base.record.with_conventions(changes), family)
        return score(moved, truth, found, allow_missing=allow_missing, replicates=0).metrics

    def setting(switch: str, value: Any) -> Setting:
        try:
            found = evaluate(predictions, **{switch: value})
        except RequestError as error:
            return Setting(switch, value, refused=str(error))
        if switch not in _MAKES_TIES or "ties" not in record.conventions:
            return Setting(switch, value, found)
        unstable = {switch: value, "ties": "argsort"}
        drawn = [evaluate(shuffled, **unstable) for shuffled in _shuffle(predictions)]
        return Setting(switch, value, found, _ranges([found, *drawn]))

    own = Setting(None, None, evaluate(predictions))
    todo = [(switch, value) for switch, values in alternatives(protocol.conventions).items() for value in values]
    found = []
    with progress.task("Moving switches", len(todo), unit="settings") as step:
        for switch, value in todo:
            found.append(setting(switch, value))
            step(1)
    unsorted = Audit(own, tuple(found))
    return replace(unsorted, others=tuple(sorted(found, key=lambda one: _rank(unsorted, one, metrics[0]))))


def alternatives(conventions: Conventions) -> dict[str, list[Any]]:
    """List the other values of each convention.

    Raises TypeError for a switch whose type does not list its values and that has no examples.
    """
    found = {}
    for name, info in type(conventions).model_fields.items():
        values: Any = info.examples
        if get_origin(info.annotation) is Literal:
            values = get_args(info.annotation)
        elif info.annotation is bool:
            values = (True, False)
        if values is None:
            raise TypeError(f"switch {name}: a number needs examples that audit can try")
        found[name] = [value for value in values if value != getattr(conventions, name)]
    return found


def make_table(audit: Audit, title: str) -> Table:
    """Build a table with a row per setting: each metric in per cent, its change, and its range over tie orders."""
    reasons = list(dict.fromkeys(one.refused for one in audit.others if one.refused is not None))
    marks = {reason: chr(ord("a") + number) for number, reason in enumerate(reasons)}
    rows = [
        (
            Cell(setting.switch or "(as the protocol says)", setting.switch or "(as the protocol says)"),
            _value_cell(setting, marks),
            *(_metric_cell(audit, setting, metric) for metric in audit.own.metrics),
        )
        for setting in (audit.own, *audit.others)
    ]
    remarks: tuple[str, ...] = ()
    if any(setting.ranges for setting in audit.others):
        remarks = (f"[least, most] of {ORDERS} random orders of equal scores.",)
    columns = ("switch", "value", *audit.own.metrics)
    return Table(title, columns, tuple(rows), {mark: reason for reason, mark in marks.items()}, remarks)


def _shuffle(predictions: Mapping[str, ResolvedPredictions]) -> Iterator[dict[str, ResolvedPredictions]]:
    generator = np.random.default_rng(0)
    for _ in range(ORDERS):
        yield {kind: _permute(found, generator) for kind, found in predictions.items()}


def _permute(found: ResolvedPredictions, generator: np.random.Generator) -> ResolvedPredictions:
    order = generator.permutation(len(found.image))
    columns = {name: values[order] for name, values in found.columns.items()}
    return replace(found, image=found.image[order], label=found.label[order], columns=columns)


def _ranges(drawn: list[Metrics]) -> dict[str, tuple[float, float]]:
    defined = {name: [value for one in drawn if (value := one[name]) is not None] for name in drawn[0]}
    return {name: (min(values), max(values)) for name, values in defined.items() if values}


def _rank(audit: Audit, setting: Setting, primary: str) -> tuple[bool, float]:
    moved = audit.difference(setting, primary)
    return setting.refused is not None, -abs(moved or 0.0)


def _value_cell(setting: Setting, marks: Mapping[str, str]) -> Cell:
    if setting.switch is None:
        return Cell()
    text = str(setting.value).lower() if isinstance(setting.value, bool) else str(setting.value)
    return Cell(text, text, () if setting.refused is None else (marks[setting.refused],))


def _metric_cell(audit: Audit, setting: Setting, metric: str) -> Cell:
    value, moved, bounds = setting.metrics.get(metric), audit.difference(setting, metric), setting.ranges.get(metric)
    if setting.refused is not None:
        return Cell(None, "-")
    if value is None:
        return Cell(None, "undefined")
    parts = [f"{100 * value:.2f}"]
    if setting.switch is not None and moved is not None:
        parts.append(f"{100 * moved:+.2f}")
    if bounds is not None:
        parts.append(f"[{100 * bounds[0]:.2f}, {100 * bounds[1]:.2f}]")
    low, high = bounds or (None, None)
    extra = {f"{metric} difference": moved, f"{metric} least": low, f"{metric} most": high}
    return Cell(value, "  ".join(parts), extra=extra)
