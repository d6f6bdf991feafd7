"""The page of a run: its metrics, also by class, its curves, its training, and its whole record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.gallery.curves import read_curves
from bench.records.collection import StoredResult, read_or_leave_out
from bench.records.result import SYNTHETIC, Result
from bench.records.training_log import read_training_log
from bench.site.charts import Chart, compute_envelope, draw_chart
from bench.site.parts import flatten, make_text_table, markup
from bench.site.paths import method_page, protocol_page
from bench.tables.caveats import CAVEATS, list_caveats
from bench.tables.numbers import bounds, percent, with_interval
from bench.tracks.command import make_command

APART = (
    "metrics",
    "intervals",
    "per_class",
    "class_intervals",
    "higher_is_better",
    "config",
    "conventions",
    "provenance",
)
"""Fields of a record that have tables of their own, or are shown beside their metric."""


@dataclass(frozen=True)
class Bar:
    """A class's metric as text, and as per cent of the widest bar: its value, and the ends of its interval."""

    name: str
    text: str
    value: float | None
    ends: tuple[float, float] | None
    interval: str


def make_values(one: StoredResult) -> dict[str, Any]:
    """Return the template's values. Raises BadFileError for a damaged file beside the record."""
    result = one.result
    record = result.model_dump(mode="json", by_alias=True)
    metrics = [
        (name, with_interval(value, result.intervals.get(name)) or "undefined")
        for name, value in result.metrics.items()
    ]
    return {
        "title": f"{result.label} · {result.protocol}",
        "result": result,
        "synthetic": result.dataset in SYNTHETIC,
        "caveats": [f"{mark} {CAVEATS[mark]}" for mark in list_caveats([result])],
        "method": method_page(result.method),
        "protocol": protocol_page(result.protocol),
        "metrics": markup(make_text_table("Metrics, per cent", ("metric", "value"), metrics)),
        "bars": [(name, list(_draw_bars(result, name))) for name in result.per_class],
        "curves": _draw_curves(one),
        "training": draw_losses(one),
        "command": make_command(result),
        "records": [
            markup(make_text_table(title, ("field", "value"), flatten(fields)))
            for title, fields in (
                ("Settings", record["config"]),
                ("Conventions", record["conventions"]),
                ("Made by", record["provenance"]),
                ("Record", {key: value for key, value in record.items() if key not in APART}),
            )
            if fields
        ],
    }


def _draw_bars(result: Result, metric: str) -> Iterator[Bar]:
    """Draw a bar for each class, on a scale up to the highest end of an interval."""
    numbers = result.per_class[metric]
    intervals: Mapping[str, tuple[float, float]] = result.class_intervals.get(metric, {})
    most = max([value for value in numbers.values() if value], default=0.0)
    widest = max([most, *(high for _, high in intervals.values())]) or 1.0
    for name, value in numbers.items():
        low, high = intervals.get(name, (None, None))
        ends = None if low is None or high is None else (_scale(low, widest), _scale(high, widest))
        length = None if value is None else _scale(value, widest)
        yield Bar(name, percent(value) or "undefined", length, ends, bounds(intervals.get(name)))


def _scale(value: float, whole: float) -> float:
    return round(100 * max(value, 0.0) / whole, 2)


def _draw_curves(one: StoredResult) -> list[Chart]:
    """Draw a precision-recall curve for each class with positives, if the family ranks and outcomes are stored.

    Damaged outcomes are left out, with a warning.
    """
    axes = ("recall 0", "1"), "precision"
    numbers = next(iter(one.result.per_class.values()), {})
    return [
        draw_chart(
            f"{name} {percent(numbers.get(name))}", {name: compute_envelope(*curve)}, *axes, across=(0, 1), span=(0, 1)
        )
        for name, curve in (read_or_leave_out(read_curves, one) or {}).items()
    ]


def draw_losses(one: StoredResult) -> list[Chart]:
    """Draw the loss of each epoch and its terms, if there is a log; a damaged one is left out, with a warning."""
    epochs = read_or_leave_out(read_training_log, one) or []
    if len(epochs) < 2:
        return []
    names = [name for name in epochs[0] if name == "loss" or name.startswith("loss/")]
    names = names[:1] if len(names) == 2 else names  # one term is the whole
    lines = {name: [(epoch["epoch"], epoch[name]) for epoch in epochs] for name in names}
    return [draw_chart("Loss", lines, ("epoch 1", str(len(epochs))), "loss")]
