"""Scoring: a pure function of protocol, ground truth and predictions. No model, no GPU, no network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from bench.core.bootstrap import bootstrap, class_mean, interval
from bench.core.boxes import FloatArray
from bench.data.ground_truth import PRESENT, GroundTruth
from bench.data.oddities import describe_outside
from bench.data.published import describe_departure
from bench.errors import RequestError, format_count
from bench.predictions.table import ResolvedPredictions
from bench.records.names import compute_address
from bench.records.replicates import build_table
from bench.records.result import Result
from bench.scoring.protocol import BoundProtocol, Record, dump_conventions

_SHOWN = 5
"""Names in a message before the rest is only counted."""

_FEW_IMAGES = 5
"""Images of a class below which intervals for it, and for means, have too low a coverage (docs/intervals.md)."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The evaluation of one set of predictions: fractions, `None` where undefined, primary metric first."""

    metrics: dict[str, float | None]
    higher_is_better: dict[str, bool]
    intervals: dict[str, tuple[float, float]]
    per_class: dict[str, dict[str, float | None]]
    class_intervals: dict[str, dict[str, tuple[float, float]]]
    undefined: dict[str, tuple[str, ...]]
    counts: dict[str, int]
    notes: tuple[str, ...]
    outcomes: pa.Table = field(repr=False)
    """The family's outcomes: column `image` indexes the ground truth's ids; the metadata holds the class names."""
    replicates: pa.Table = field(repr=False)
    """Each metric under the bootstrap draws that the intervals come from."""


def score(
    protocol: BoundProtocol,
    truth: GroundTruth,
    predictions: Mapping[str, ResolvedPredictions],
    *,
    allow_missing: bool = False,
    replicates: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Evaluate predictions, by kind, under a protocol, with intervals from `replicates` draws of the images (0: none).

    Raises RequestError if no kind that the protocol accepts is given, and for images without predictions unless
    `allow_missing`: they stay in every denominator.
    """
    kinds = _select_kinds(protocol, predictions)
    refuse_missing(truth, kinds, allow_missing)
    family, images = protocol.family, len(truth.ids)
    scored = family.score(truth, kinds, protocol.conventions)
    classes = scored.classes or truth.classes
    summarise = partial(summarise_outcomes, protocol, scored.outcomes, classes)
    if scored.whole is None:
        values = summarise(np.ones((1, images)))
    else:
        values = {name: scored.whole[name][None] for name in protocol.metrics}
    metrics = {name: _finite_or_none(class_mean(value)[0]) for name, value in values.items()}
    resampled = bootstrap(summarise, images, replicates=replicates, seed=seed)
    means = {name: class_mean(draws) for name, draws in resampled.items()}
    per_class = {name: _name_classes(classes, value[0]) for name, value in values.items() if value.ndim == 2}
    return Evaluation(
        metrics=metrics,
        higher_is_better={name: family.METRICS[name] for name in protocol.metrics},
        intervals=_compute_intervals(metrics, means),
        per_class=per_class,
        class_intervals=compute_class_intervals(per_class, resampled),
        undefined=_list_undefined(per_class),
        counts={"images": len(truth.ids), **_count_oddities(kinds), **scored.counts},
        notes=(
            *_collect_notes(truth, kinds),
            *filter(None, [describe_outside(truth) if getattr(family, "NEEDS", "") == "boxes" else ""]),
            *_describe_absent(truth, kinds, next(iter(protocol.metrics)), per_class),
            *scored.notes,
            *(_warn_of_rare_classes(truth) if replicates and per_class else ()),
        ),
        outcomes=scored.outcomes.replace_schema_metadata({"classes": json.dumps(classes)}),
        replicates=build_table(means, images, seed),
    )


def summarise_outcomes(
    protocol: BoundProtocol, outcomes: pa.Table, classes: tuple[str, ...], weights: FloatArray
) -> dict[str, FloatArray]:
    """Compute the protocol's metrics from outcomes, image i counted `weights[b, i]` times: (B,), or (B, C) by class."""
    values = protocol.family.summarise(outcomes, classes, protocol.conventions, weights)
    return {name: values[name] for name in protocol.metrics}


def compute_result_address(protocol: BoundProtocol, truth: GroundTruth, predictions: str) -> str:
    """Compute the address of the result of scoring `predictions`: their digest, or the address of a run's."""
    digests = protocol.digest(truth.classes), protocol.digest_truth(truth)
    return compute_address(predictions, protocol.record.name, *digests)


def make_result(protocol: BoundProtocol, truth: GroundTruth, evaluation: Evaluation, **origin: Any) -> Result:
    """Make the record of an evaluation. origin: fields about the predictions, at least `method` and `predictions`.

    `predictions` is their digest. A protocol whose metrics are tuned on the evaluated images marks all its results
    accordingly; a split that differs from the published one of its name counts as partial.
    """
    departure = describe_departure(truth)
    remarks = filter(None, [departure, describe_conventions(protocol.record)])
    fields = {
        "address": compute_result_address(protocol, truth, origin["predictions"]),
        "protocol": protocol.record.name,
        "family": protocol.record.family,
        "digest": protocol.digest(truth.classes),
        "conventions": dump_conventions(protocol.conventions),
        "truth_digest": protocol.digest_truth(truth),
        "ids_digest": truth.ids_digest,
        "dataset": truth.dataset,
        "split": truth.split,
        "images": len(truth.ids),
        "partial": truth.split != protocol.record.eval_split or bool(departure),
        "metrics": evaluation.metrics,
        "higher_is_better": evaluation.higher_is_better,
        "intervals": evaluation.intervals,
        "per_class": evaluation.per_class,
        "class_intervals": evaluation.class_intervals,
        "undefined": evaluation.undefined,
        "counts": evaluation.counts,
        "notes": (*remarks, *evaluation.notes),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if protocol.record.tuned_on != "none":
        origin["tuned_on"] = protocol.record.tuned_on
    return Result(**{**fields, **origin})


def describe_conventions(record: Record) -> str:
    """Describe which conventions of a protocol were changed; empty if none."""
    changes = [
        f"{key} {json.dumps(record.conventions[key])}, not {json.dumps(own)}" for key, own in record.changed.items()
    ]
    return f"not {record.name} as it is: {'; '.join(changes)}" if changes else ""


def _select_kinds(
    protocol: BoundProtocol, predictions: Mapping[str, ResolvedPredictions]
) -> dict[str, ResolvedPredictions]:
    accepted = protocol.record.predicts
    kinds = {kind: predictions[kind] for kind in (*accepted, *protocol.record.also) if kind in predictions}
    if not set(kinds) & set(accepted):
        given = ", ".join(predictions) or "nothing"
        raise RequestError(f"Protocol {protocol.record.name} takes {' or '.join(accepted)}, but got {given}.")
    return kinds


def refuse_missing(truth: GroundTruth, kinds: Mapping[str, ResolvedPredictions], allow_missing: bool) -> None:
    """Raise RequestError for images that the predictions, by kind, do not cover, unless `allow_missing`."""
    for kind, resolved in kinds.items():
        if not allow_missing and not resolved.covered.all():
            raise RequestError(
                f"The {kind} do not cover {_describe_missing(truth, resolved)}. "
                "--allow-missing counts images without predictions as unanswered, in every denominator."
            )


def _describe_missing(truth: GroundTruth, resolved: ResolvedPredictions) -> str:
    missing = np.flatnonzero(~resolved.covered)
    names = ", ".join(truth.ids[image] for image in missing[:_SHOWN])
    more = " ..." if len(missing) > _SHOWN else ""
    return f"{len(missing)} of {len(truth.ids)} images of {truth.dataset} {truth.split}: {names}{more}"


def _count_oddities(kinds: Mapping[str, ResolvedPredictions]) -> dict[str, int]:
    """Count oddities that are kept, such as images without predictions and inverted boxes; zeros are left out."""
    missing = {"missing_images": max(int((~resolved.covered).sum()) for resolved in kinds.values())}
    odd = {name: count for resolved in kinds.values() for name, count in resolved.counts.items()}
    return {name: count for name, count in {**missing, **odd}.items() if count}


def _collect_notes(truth: GroundTruth, kinds: Mapping[str, ResolvedPredictions]) -> tuple[str, ...]:
    notes: list[str] = []
    for kind, resolved in kinds.items():
        notes += resolved.notes
        if not resolved.covered.all():
            notes.append(f"the {kind} do not cover {_describe_missing(truth, resolved)}; they count as unanswered")
        notes += [f"{text}, kept" for text in describe_odd_boxes(resolved.counts)]
        notes += filter(None, [_describe_odd_units(resolved) if kind == "boxes" else ""])
    return tuple(notes)


def _describe_odd_units(boxes: ResolvedPredictions) -> str:
    """Describe that boxes look like shares of their images, or are not corners; empty if they look right."""
    if len(boxes.box) and boxes.counts.get("inverted_boxes") == len(boxes.box):
        return "all boxes are inverted: are these widths and heights, or corners in another order? x1, y1, x2, y2 count"
    if not len(boxes.box) or np.abs(boxes.box).max() > 2:
        return ""
    return "no box is larger than a pixel or two: are these shares of the image? Multiply them by its width and height"


def _describe_absent(
    truth: GroundTruth,
    kinds: Mapping[str, ResolvedPredictions],
    metric: str,
    per_class: Mapping[str, Mapping[str, float | None]],
) -> list[str]:
    """Describe how many predictions are of classes for which the first metric is undefined."""
    values = per_class.get(metric, {})
    absent = [truth.class_index[name] for name, value in values.items() if value is None and name in truth.class_index]
    rows = sum(int(np.isin(resolved.label, absent).sum()) for resolved in kinds.values() if "score" in resolved.columns)
    named = {label for resolved in kinds.values() for label in absent if (resolved.label == label).any()}
    if not rows or len(values) == len(absent):
        return []
    of = format_count(len(named), "class", "classes")
    over = f"{metric} is over {len(values) - len(absent)} of {len(values)} classes"
    return [f"{format_count(rows, 'prediction')} of {of} that no image shows count nowhere: {over}"]


def _warn_of_rare_classes(truth: GroundTruth) -> tuple[str, ...]:
    images = (truth.labels == PRESENT).sum(axis=0)
    rare = int(((images > 0) & (images < _FEW_IMAGES)).sum())
    if not rare:
        return ()
    classes = format_count(rare, "class has", "classes have")
    return (f"{classes} fewer than {_FEW_IMAGES} images: intervals are too narrow",)


def describe_odd_boxes(counts: Mapping[str, int]) -> list[str]:
    """Describe the boxes that `ResolvedPredictions.counts` counts as odd, one text for each kind that occurs."""
    names = {
        "inverted_boxes": ("inverted box", "inverted boxes"),
        "boxes_outside_image": ("box outside its image", "boxes outside their images"),
    }
    return [format_count(count, *names[key]) for key, count in counts.items() if count]


def _compute_intervals(
    metrics: Mapping[str, float | None], replicates: Mapping[str, FloatArray]
) -> dict[str, tuple[float, float]]:
    """Compute the interval of each defined metric."""
    values = {name: value for name, value in metrics.items() if value is not None and name in replicates}
    found = {name: interval(replicates[name], value) for name, value in values.items()}
    return {name: bounds for name, bounds in found.items() if bounds is not None}


def compute_class_intervals(
    per_class: Mapping[str, Mapping[str, float | None]], replicates: Mapping[str, FloatArray]
) -> dict[str, dict[str, tuple[float, float]]]:
    """Compute the intervals of each metric by class, from replicates (B, C)."""
    return {
        name: _compute_intervals(values, dict(zip(values, replicates[name].T, strict=True)))
        for name, values in per_class.items()
        if name in replicates
    }


def _name_classes(classes: tuple[str, ...], values: FloatArray) -> dict[str, float | None]:
    return {name: _finite_or_none(value) for name, value in zip(classes, values, strict=True)}


def _list_undefined(per_class: Mapping[str, Mapping[str, float | None]]) -> dict[str, tuple[str, ...]]:
    left_out = {
        metric: tuple(name for name, value in values.items() if value is None) for metric, values in per_class.items()
    }
    return {metric: names for metric, names in left_out.items() if names}


def _finite_or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
