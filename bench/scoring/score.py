"""Scoring: a pure function of protocol, truth and predictions. No model, no GPU, no network."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from bench.core.bootstrap import bootstrap, class_mean, interval
from bench.core.boxes import FloatArray
from bench.core.files import digest
from bench.data.ground_truth import Truth
from bench.errors import RequestError, amount
from bench.predictions.table import Resolved
from bench.records.replicates import table_of
from bench.records.result import Result
from bench.scoring.protocol import BoundProtocol

_SHOWN = 5
"""Names in a message before the rest is only counted."""


@dataclass(frozen=True, eq=False)
class Judged:
    """What scoring found; fractions, `None` where undefined. Primary metric first."""

    metrics: dict[str, float | None]
    higher_is_better: dict[str, bool]
    intervals: dict[str, tuple[float, float]]
    per_class: dict[str, dict[str, float | None]]
    class_intervals: dict[str, dict[str, tuple[float, float]]]
    undefined: dict[str, tuple[str, ...]]
    counts: dict[str, int]
    notes: tuple[str, ...]
    outcomes: pa.Table = field(repr=False)
    """The family's outcomes, column `image` an index into the truth's ids; the names of the classes in its metadata."""
    replicates: pa.Table = field(repr=False)
    """Each metric under the draws that gave the intervals."""


def score(
    protocol: BoundProtocol,
    truth: Truth,
    predictions: Mapping[str, Resolved],
    *,
    allow_missing: bool = False,
    replicates: int = 1000,
    seed: int = 0,
) -> Judged:
    """Judge predictions, by kind, under a protocol; intervals from `replicates` draws of the images (0: none).

    Raises RequestError where no kind of the protocol is given, and for images without an answer unless
    `allow_missing`: they stay in every denominator.
    """
    kinds = _given(protocol, predictions)
    refuse_missing(truth, kinds, allow_missing)
    family, images = protocol.family, len(truth.ids)
    scored = family.score(truth, kinds, protocol.conventions)
    classes = scored.classes or truth.classes
    summarise = partial(summary, protocol, scored.outcomes, classes)
    if scored.whole is None:
        values = summarise(np.ones((1, images)))
    else:
        values = {name: scored.whole[name][None] for name in protocol.metrics}
    metrics = {name: _number(class_mean(value)[0]) for name, value in values.items()}
    resampled = bootstrap(summarise, images, replicates=replicates, seed=seed)
    means = {name: class_mean(draws) for name, draws in resampled.items()}
    per_class = {name: _by_class(classes, value[0]) for name, value in values.items() if value.ndim == 2}
    return Judged(
        metrics=metrics,
        higher_is_better={name: family.METRICS[name] for name in protocol.metrics},
        intervals=_intervals(metrics, means),
        per_class=per_class,
        class_intervals=class_intervals(per_class, resampled),
        undefined=_undefined(per_class),
        counts={"images": len(truth.ids), **_odd(kinds), **scored.counts},
        notes=(*_notes(truth, kinds), *scored.notes),
        outcomes=scored.outcomes.replace_schema_metadata({"classes": json.dumps(classes)}),
        replicates=table_of(means, images, seed),
    )


def summary(
    protocol: BoundProtocol, outcomes: pa.Table, classes: tuple[str, ...], weights: FloatArray
) -> dict[str, FloatArray]:
    """The protocol's metrics, of outcomes whose image i counts `weights[b, i]` times: (B,), or (B, C) by class."""
    values = protocol.family.summarise(outcomes, classes, protocol.conventions, weights)
    return {name: values[name] for name in protocol.metrics}


def merged(truth: Truth, parts: Iterable[tuple[Truth, pa.Table]]) -> pa.Table:
    """The outcomes of a split from those of its parts, each judged apart; `summary` makes the split's numbers of them.

    What is ranked is ranked anew, stably. Raises RequestError where the parts hold an image twice, or not all of them.
    """
    ids: list[str] = []
    tables = []
    for part, outcomes in parts:
        rows = np.array([truth.index.get(name, -1) for name in part.ids], dtype=np.int32)
        image = pa.array(rows[outcomes["image"].to_numpy()])
        tables.append(outcomes.set_column(outcomes.column_names.index("image"), "image", image))
        ids += part.ids
    if sorted(ids) != sorted(truth.ids):
        raise RequestError(
            f"The parts must hold each of the {len(truth.ids)} images of {truth.dataset} {truth.split} once, "
            f"but they hold {len(ids)}, {len(set(ids) & set(truth.ids))} of them."
        )
    table = pa.concat_tables(tables)
    if "score" not in table.column_names:
        return table
    image, label, score = (table[name].to_numpy() for name in ("image", "label", "score"))
    return table.take(np.lexsort((truth.id_rank[image], np.where(np.isnan(score), np.inf, -score), label)))


def address_of(protocol: BoundProtocol, truth: Truth, predictions: str) -> str:
    """The address of the result of scoring predictions (their digest, or address of our own)."""
    judged_by = [protocol.record.name, protocol.digest(truth.classes)]
    return digest({"predictions": predictions, "protocol": judged_by, "truth": truth.digest})


def result_of(protocol: BoundProtocol, truth: Truth, judged: Judged, **who: Any) -> Result:
    """The record of a scoring. `who` says who predicted: at least `method` and `predictions` (their digest).

    A protocol whose metrics are tuned on what they judge says so of every result.
    """
    found = {
        "address": address_of(protocol, truth, who["predictions"]),
        "protocol": protocol.record.name,
        "family": protocol.record.family,
        "digest": protocol.digest(truth.classes),
        "conventions": protocol.conventions.model_dump(mode="json"),
        "truth_digest": truth.digest,
        "ids_digest": truth.ids_digest,
        "dataset": truth.dataset,
        "split": truth.split,
        "images": len(truth.ids),
        "partial": truth.split != protocol.record.eval_split,
        "metrics": judged.metrics,
        "higher_is_better": judged.higher_is_better,
        "intervals": judged.intervals,
        "per_class": judged.per_class,
        "class_intervals": judged.class_intervals,
        "undefined": judged.undefined,
        "counts": judged.counts,
        "notes": judged.notes,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if protocol.record.tuned_on != "none":
        who["tuned_on"] = protocol.record.tuned_on
    return Result(**{**found, **who})


def _given(protocol: BoundProtocol, predictions: Mapping[str, Resolved]) -> dict[str, Resolved]:
    accepted = protocol.record.predicts
    kinds = {kind: predictions[kind] for kind in (*accepted, *protocol.record.also) if kind in predictions}
    if not set(kinds) & set(accepted):
        given = ", ".join(predictions) or "nothing"
        raise RequestError(f"Protocol {protocol.record.name} takes {' or '.join(accepted)}, but got {given}.")
    return kinds


def refuse_missing(truth: Truth, kinds: Mapping[str, Resolved], allow_missing: bool) -> None:
    """Raise RequestError for images that predictions, by kind, do not cover, unless that is allowed."""
    for kind, found in kinds.items():
        if not allow_missing and not found.covered.all():
            raise RequestError(
                f"The {kind} do not cover {_missing(truth, found)}. Images without an answer stay in the denominator; "
                "--allow-missing scores them so."
            )


def _missing(truth: Truth, found: Resolved) -> str:
    missing = np.flatnonzero(~found.covered)
    names = ", ".join(truth.ids[image] for image in missing[:_SHOWN])
    more = " ..." if len(missing) > _SHOWN else ""
    return f"{len(missing)} of {len(truth.ids)} images of {truth.dataset} {truth.split}: {names}{more}"


def _odd(kinds: Mapping[str, Resolved]) -> dict[str, int]:
    """What was odd but kept: images without an answer, inverted boxes ..., those that occur."""
    missing = {"missing_images": max(int((~found.covered).sum()) for found in kinds.values())}
    odd = {name: count for found in kinds.values() for name, count in found.counts.items()}
    return {name: count for name, count in {**missing, **odd}.items() if count}


def _notes(truth: Truth, kinds: Mapping[str, Resolved]) -> tuple[str, ...]:
    notes: list[str] = []
    for kind, found in kinds.items():
        notes += found.notes
        if not found.covered.all():
            notes.append(f"the {kind} do not cover {_missing(truth, found)}; they count as unanswered")
        notes += [f"{one}, kept" for one in odd_boxes(found.counts)]
    return tuple(notes)


def odd_boxes(counts: Mapping[str, int]) -> list[str]:
    """What `Resolved.counts` says, where it says anything."""
    names = {
        "inverted_boxes": ("inverted box", "inverted boxes"),
        "boxes_outside_image": ("box outside its image", "boxes outside their images"),
    }
    return [amount(count, *names[key]) for key, count in counts.items() if count]


def _intervals(
    metrics: Mapping[str, float | None], replicates: Mapping[str, FloatArray]
) -> dict[str, tuple[float, float]]:
    """Interval of each metric that has one: it holds its number, and no fraction is under 0 or over 1."""
    found = {}
    for name, draws in replicates.items():
        value = metrics[name]
        if value is not None and (bounds := interval(draws, value)) is not None:
            found[name] = (min(max(bounds[0], 0.0), value), max(min(bounds[1], 1.0), value))
    return found


def class_intervals(
    per_class: Mapping[str, Mapping[str, float | None]], replicates: Mapping[str, FloatArray]
) -> dict[str, dict[str, tuple[float, float]]]:
    """The intervals of each metric's classes, from replicates (B, C) of each metric by class."""
    return {
        name: _intervals(values, dict(zip(values, replicates[name].T, strict=True)))
        for name, values in per_class.items()
        if name in replicates
    }


def _by_class(classes: tuple[str, ...], values: FloatArray) -> dict[str, float | None]:
    return {name: _number(value) for name, value in zip(classes, values, strict=True)}


def _undefined(per_class: Mapping[str, Mapping[str, float | None]]) -> dict[str, tuple[str, ...]]:
    left_out = {
        metric: tuple(name for name, value in values.items() if value is None) for metric, values in per_class.items()
    }
    return {metric: names for metric, names in left_out.items() if names}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
