"""The page of a run: its metrics, also by class, its curves, its training, and its whole record."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from bench.gallery.curves import read_curves
from bench.records.collection import StoredResult, read_or_leave_out
from bench.records.result import SYNTHETIC, Result
from bench.records.training_log import read_training_log
from bench.site.curves import draw_curve
from bench.site.parts import flatten, make_text_table, markup
from bench.site.paths import method_page, protocol_page
from bench.site.plots import Plot, compute_envelope, plot_lines, plot_numbers
from bench.tables.caveats import CAVEATS, list_caveats
from bench.tables.numbers import bounds, percent, with_interval
from bench.tracks.command import make_command

if TYPE_CHECKING:
    from bench.site.material import Material

APART = (
    "metrics",
    "intervals",
    "per_class",
    "class_intervals",
    "higher_is_better",
    "config",
    "conventions",
    "provenance",
    "made_from",
)
"""Fields of a record that have tables of their own, stand beside their metric, or repeat the settings."""


def make_values(one: StoredResult, material: Material) -> dict[str, Any]:
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
        "classes": [_tabulate_classes(result, name) for name in result.per_class],
        "curve": draw_curve(result, material.curves.get(result.address), is_run=result.method in material.listed),
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


def _tabulate_classes(result: Result, metric: str) -> tuple[Plot | None, Markup]:
    """Draw a metric by class, and tabulate it."""
    numbers, intervals = result.per_class[metric], result.class_intervals.get(metric, {})
    rows = [(name, percent(value) or "undefined", bounds(intervals.get(name))) for name, value in numbers.items()]
    table = make_text_table(f"{metric} by class, per cent", ("class", metric, "95 %"), rows)
    return plot_numbers(f"{metric} by class", metric, numbers, intervals), markup(table)


def _draw_curves(one: StoredResult) -> list[Plot]:
    """Draw a precision-recall curve for each class with positives, if the family ranks and outcomes are stored.

    Damaged outcomes are left out, with a warning.
    """
    return [
        plot_lines(
            name,
            {name: compute_envelope(*curve)},
            "recall",
            "precision",
            unit=True,
            small=True,
        )
        for name, curve in (read_or_leave_out(read_curves, one) or {}).items()
    ]


def draw_losses(one: StoredResult) -> list[Plot]:
    """Draw the loss of each epoch and its terms, if there is a log; a damaged one is left out, with a warning."""
    return plot_losses("Loss", read_or_leave_out(read_training_log, one) or [])


def plot_losses(title: str, epochs: Sequence[Mapping[str, float]]) -> list[Plot]:
    """Draw the loss of each epoch and its terms; nothing for fewer than two epochs."""
    if len(epochs) < 2:
        return []
    names = [name for name in epochs[0] if name == "loss" or name.startswith("loss/")]
    names = names[:1] if len(names) == 2 else names  # a single term is the whole loss
    lines = {name: [(one["epoch"], one[name]) for one in epochs if math.isfinite(one[name])] for name in names}
    return [plot_lines(title, lines, "epoch", "loss")] if any(lines.values()) else []
