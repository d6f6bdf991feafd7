"""A result as a matplotlib figure: precision-recall, metrics by class, and its worst and best images."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.core.files import Places
from bench.errors import MissingDataError, RequestError
from bench.gallery.contact_sheet import sheet
from bench.gallery.curves import read_curves
from bench.gallery.image_card import Example
from bench.records.collection import StoredResult
from bench.records.result import Result
from bench.tables.numbers import percent

IMAGES = 4
"""Images drawn by default, and images per row."""

NAMED = 10
"""The most curves that get a legend; with more, there is none."""


class ResultFigure(Figure):
    """A figure that notebooks display without any setup of matplotlib."""

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        self.savefig(out, format="png")
        return out.getvalue()


def plot_result(
    stored: StoredResult, places: Places, *, images: int | None = None, options: Mapping[str, Any]
) -> ResultFigure:
    """Draw a result. images: how many of the worst and best; None: four, or a note on why they cannot be drawn.

    options: for its dataset. Raises as `bench.gallery.contact_sheet.sheet` does if `images` is a number.
    """
    pictures, note = _draw_images(stored, places, images, options)
    rows = -(-len(pictures) // IMAGES)
    figure = ResultFigure(figsize=(10, 4.5 + 3 * rows), layout="constrained")
    charts, *below = np.atleast_1d(np.array(figure.subfigures(1 + bool(rows), height_ratios=[4.5, *[3 * rows][:rows]])))
    curves = read_curves(stored)
    axes = charts.subplots(1, 2 if curves else 1, squeeze=False)[0]
    _draw_bars(axes[-1], stored.result)
    if curves:
        _draw_curves(axes[0], curves)
    result = stored.result
    charts.suptitle(f"{result.label} · {result.protocol} on {result.dataset} {result.split}")
    if note:
        charts.supxlabel(note, fontsize="small", wrap=True)
    for part in below:
        _draw_pictures(part.subplots(rows, IMAGES, squeeze=False).ravel(), pictures)
    return figure


def _draw_images(
    stored: StoredResult, places: Places, images: int | None, options: Mapping[str, Any]
) -> tuple[list[tuple[str, Example]], str]:
    """Return pairs of a title, `Worst` or `Best`, and an example; and a note if they cannot be drawn."""
    if images == 0:
        return [], ""
    try:
        drawn = sheet(stored, places, images or IMAGES, options)
    except (MissingDataError, RequestError) as error:
        if images is not None:
            raise
        return [], f"Without images: {error}"
    return [(title, one) for title, examples in drawn.examples.items() for one in examples], ""


def _draw_curves(axes: Axes, curves: Mapping[str, tuple[Any, Any]]) -> None:
    for name, (recall, precision) in curves.items():
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        axes.step([0, *recall], [*(envelope[:1] if len(envelope) else [0]), *envelope], where="pre", label=name)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    if len(curves) <= NAMED:
        axes.legend(fontsize="small")


def _draw_bars(axes: Axes, result: Result) -> None:
    """Draw the first metric by class with its intervals, in per cent; all metrics where none is by class."""
    metric = next(iter(result.per_class), None)
    values = result.metrics if metric is None else result.per_class[metric]
    intervals = result.intervals if metric is None else result.class_intervals.get(metric, {})
    places = range(len(values))
    axes.barh(places, [100 * (value or 0) for value in values.values()], color="tab:blue")
    for place, name in zip(places, values, strict=True):
        if name in intervals:
            axes.plot([100 * end for end in intervals[name]], [place, place], color="black", linewidth=1)
    names = [f"{name} {percent(value) or 'undefined'}" for name, value in values.items()]
    axes.set_yticks(places, names, fontsize="small")
    axes.invert_yaxis()
    axes.set(xlabel=f"{metric or 'metrics'}, per cent", xlim=(0, max(1, axes.get_xlim()[1])))


def _draw_pictures(axes: Any, pictures: list[tuple[str, Example]]) -> None:
    from PIL import Image

    for one in axes:
        one.set_axis_off()
    for one, (title, example) in zip(axes, pictures, strict=False):
        one.imshow(Image.open(io.BytesIO(example.pictures[0].jpeg)))
        one.set_title(f"{title}: {example.image} {percent(example.value)}".strip(), fontsize="small")
