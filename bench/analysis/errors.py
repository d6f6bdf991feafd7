"""The kinds of errors a method makes, and their cost: in average precision for detections, as shares for boxes.

The kinds are those of `bench.scoring.detection_errors` and `bench.scoring.box_errors`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench import registry
from bench.analysis.code import digest_evaluation_code
from bench.core.bootstrap import bootstrap, class_mean, difference_interval, interval
from bench.core.boxes import FloatArray
from bench.core.files import digest
from bench.data.ground_truth import GroundTruth
from bench.errors import RequestError
from bench.predictions.table import ResolvedPredictions
from bench.records.result import Result
from bench.scoring import box_errors, detection_errors
from bench.scoring.box_errors import BoxErrors
from bench.scoring.detection_errors import DetectionErrors
from bench.scoring.protocol import BoundProtocol
from bench.tables.frames import make_frame, tables_to_html, tables_to_text
from bench.tables.model import Cell, Table
from bench.tables.numbers import bounds, format_difference, percent

if TYPE_CHECKING:
    import pandas as pd

DRAWS = 1000

WRONG_CLASS = "wrong class"
"""The kind of box error that most protocols do not have."""

Interval = tuple[float, float] | None


@dataclass(frozen=True)
class ErrorKind:
    """One kind of error. count: of detections and objects, or of boxes. value: its cost or its share."""

    name: str
    count: int | None
    value: float | None
    interval: Interval = None


@dataclass(frozen=True, repr=False)
class ErrorAnalysis:
    """The kinds of errors of one evaluation.

    cost: the metric in which each kind's cost is measured; None if values are shares of what was evaluated. groups: the
    kinds among parts of the boxes, by the criterion that divides them (`class`, `size`, `objects`) and the part's name.
    images: indices of images by kind, the clearest examples first.
    """

    name: str
    protocol: str
    evaluated_on: str
    cost: str | None
    kinds: tuple[ErrorKind, ...]
    groups: Mapping[str, Mapping[str, tuple[ErrorKind, ...]]] = field(default_factory=dict)
    images: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def to_frame(self) -> pd.DataFrame:
        """Make a pandas DataFrame with a row for each kind, overall and in each part; numbers are fractions."""
        parts = {(None, None): self.kinds} | {
            (by, part): kinds for by, group in self.groups.items() for part, kinds in group.items()
        }
        return make_frame([_flatten(by, part, kind) for (by, part), kinds in parts.items() for kind in kinds])

    def __str__(self) -> str:
        return tables_to_text(make_tables([self]))

    def __repr__(self) -> str:
        return f"<errors of {self.name} under {self.protocol} on {self.evaluated_on}>"

    def _repr_html_(self) -> str:
        """Show the table in a notebook."""
        return tables_to_html(make_tables([self]))


def can_analyse(result: Result) -> bool:
    """Return whether kinds of errors are defined for a result's protocol."""
    family = registry.family(result.family)
    return hasattr(family, "match_detections") or hasattr(family, "localize_classes")


def digest_analysis(result: Result) -> str:
    """Compute the digest of what a stored result's analysis depends on: its predictions, its protocol and the code."""
    return digest([result.address, result.predictions_digest, digest_evaluation_code()])


def analyse_result(result: Result, truth: GroundTruth, found: Mapping[str, ResolvedPredictions]) -> ErrorAnalysis:
    """Analyse the errors of a stored result whose predictions are kept. Raises RequestError."""
    family = registry.family(result.family)
    conventions = family.Conventions.model_validate_json(json.dumps(result.conventions))
    name = f"{result.label}{result.seed_suffix}"
    return _analyse(family, conventions, next(iter(result.metrics)), truth, found, name, result.protocol)


def analyse(
    protocol: BoundProtocol, truth: GroundTruth, found: Mapping[str, ResolvedPredictions], name: str
) -> ErrorAnalysis:
    """Analyse the errors of predictions, by kind, under a protocol. Raises RequestError."""
    record = protocol.record
    return _analyse(protocol.family, protocol.conventions, record.metrics[0], truth, found, name, record.name)


def _analyse(
    family: Any,
    conventions: Any,
    metric: str,
    truth: GroundTruth,
    found: Mapping[str, ResolvedPredictions],
    name: str,
    protocol: str,
) -> ErrorAnalysis:
    where = name, protocol, f"{truth.dataset} {truth.split}"
    if hasattr(family, "match_detections"):
        metric = metric if metric.startswith("mAP") else "AP50"
        return _analyse_detections(
            DetectionErrors(family.match_detections(truth, found, conventions, metric)), where, metric
        )
    if hasattr(family, "localize_classes"):
        return _analyse_boxes(BoxErrors(family.localize_classes(truth, found, conventions)), where)
    raise RequestError(f"{protocol} evaluates no boxes: errors are analysed of detection, CorLoc and localization.")


def _analyse_detections(errors: DetectionErrors, where: tuple[str, str, str], metric: str) -> ErrorAnalysis:
    images, counts = len(errors.matched.truth.ids), errors.count()

    def summarise(weights: FloatArray) -> dict[str, FloatArray]:
        precision = {name: class_mean(values) for name, values in errors.compute_precision(weights).items()}
        return {name: values - precision[""] for name, values in precision.items() if name}

    whole = {name: float(cost[0]) for name, cost in summarise(np.ones((1, images))).items()}
    drawn = bootstrap(summarise, images, replicates=DRAWS, seed=0)
    kinds = tuple(
        ErrorKind(name, counts.get(name), _finite(cost), difference_interval(drawn[name], cost))
        for name, cost in whole.items()
    )
    return ErrorAnalysis(*where, metric, kinds, images=_choose_detections(errors))


def _analyse_boxes(errors: BoxErrors, where: tuple[str, str, str]) -> ErrorAnalysis:
    localized, names = errors.localized, list(box_errors.SIZES)
    classes, several = localized.truth.classes, np.minimum(errors.objects, 3)
    parts: dict[str, dict[str, NDArray[np.bool_]]] = {
        "size": {name: errors.size == number for number, name in enumerate(names)},
        "objects": {text: several == number for number, text in ((1, "1"), (2, "2"), (3, "3 or more"))},
        "class": {name: localized.label == number for number, name in enumerate(classes)},
    }
    groups = {
        by: {name: _measure_shares(errors, keep) for name, keep in group.items() if keep.any()}
        for by, group in parts.items()
    }
    return ErrorAnalysis(*where, None, _measure_shares(errors), groups, _choose_boxes(errors))


def _measure_shares(errors: BoxErrors, keep: NDArray[np.bool_] | None = None) -> tuple[ErrorKind, ...]:
    """Measure the share of each kind, with its interval."""
    images = len(errors.localized.truth.ids)
    kind = errors.kind if keep is None else errors.kind[keep]
    counts = np.bincount(kind, minlength=len(box_errors.KINDS)).tolist()

    def summarise(weights: FloatArray) -> dict[str, FloatArray]:
        return {name: class_mean(values) for name, values in errors.compute_shares(weights, keep).items()}

    whole = {name: float(share[0]) for name, share in summarise(np.ones((1, images))).items()}
    drawn = bootstrap(summarise, images, replicates=DRAWS, seed=0)
    return tuple(
        ErrorKind(name, count, _finite(whole[name]), interval(drawn[name], whole[name]))
        for name, count in zip(box_errors.KINDS, counts, strict=True)
    )


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _choose_detections(errors: DetectionErrors) -> dict[str, tuple[int, ...]]:
    """Choose the images of each kind; for false detections, those with the best scores first."""
    m = errors.matched
    order = np.argsort(-m.score, kind="stable")
    kinds = {name: m.image[order[errors.kind[order] == at]] for at, name in enumerate(detection_errors.FALSE)}
    return {name: _unique(images) for name, images in {**kinds, "missed": m.objects.image[errors.missed]}.items()}


def _choose_boxes(errors: BoxErrors) -> dict[str, tuple[int, ...]]:
    truth, image = errors.localized.truth, errors.localized.image
    order = np.argsort(truth.id_rank[image], kind="stable")
    return {name: _unique(image[order[errors.kind[order] == at]]) for at, name in enumerate(box_errors.KINDS)}


def _unique(images: NDArray[np.integer]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(images.tolist()))


def make_tables(analyses: Sequence[ErrorAnalysis], by: str | None = None) -> list[Table]:
    """Tabulate the errors of one or several evaluations under one protocol, a column each; by: also in each part.

    Raises RequestError for evaluations that cannot be compared, and for a criterion without parts.
    """
    first = analyses[0]
    if len({(one.protocol, one.evaluated_on, one.cost) for one in analyses}) > 1:
        raise RequestError(
            "Errors are compared under one protocol on the same images, but these are "
            + "; ".join(f"{one.name}: {one.protocol} on {one.evaluated_on}" for one in analyses)
        )
    if by is not None and by not in first.groups:
        raise RequestError(f"Errors of {first.protocol} are not divided: --by is for CorLoc and localization.")
    tables = [_make_table(analyses)]
    return [*tables, *(_make_parts(one, by) for one in analyses)] if by else tables


def _make_table(analyses: Sequence[ErrorAnalysis]) -> Table:
    first = analyses[0]
    what = f"points of {first.cost} that each kind costs" if first.cost else "share of each kind"
    columns = ("kind", *(name for one in analyses for name in ("count", one.name)))
    rows = tuple(
        (
            Cell(kind.name, kind.name),
            *(cell for one in analyses for cell in _make_cells(one.kinds[at], is_cost=bool(first.cost))),
        )
        for at, kind in enumerate(first.kinds)
        if kind.name != WRONG_CLASS or any(one.kinds[at].count for one in analyses)
    )
    remarks = (_EXPLAINED["cost" if first.cost else "share"],)
    return Table(f"{first.protocol} on {first.evaluated_on}: {what}, per cent", columns, rows, remarks=remarks)


def _make_parts(one: ErrorAnalysis, by: str) -> Table:
    shown = [kind.name for kind in one.kinds if kind.name != WRONG_CLASS or kind.count]
    rows = tuple(
        (
            Cell(part, part),
            Cell(count := sum(kind.count or 0 for kind in kinds), str(count)),
            *(Cell(kind.value, percent(kind.value)) for kind in kinds if kind.name in shown),
        )
        for part, kinds in one.groups[by].items()
    )
    return Table(f"{one.name}, by {by}", (by, "count", *shown), rows)


def _make_cells(kind: ErrorKind, *, is_cost: bool) -> tuple[Cell, Cell]:
    low, high = kind.interval or (None, None)
    text = format_difference(kind.value) if is_cost else percent(kind.value)
    both = f"{text} {bounds(kind.interval)}".strip()
    return Cell(kind.count, "" if kind.count is None else str(kind.count)), Cell(
        kind.value, both, extra={"low": low, "high": high}
    )


_EXPLAINED = {
    "cost": "Each kind corrected alone (Bolya et al., ECCV 2020). docs/errors.md defines the kinds.",
    "share": "Counts are of boxes; shares are means over classes where the protocol's number is one. docs/errors.md "
    "defines the kinds.",
}


def _flatten(by: str | None, part: str | None, kind: ErrorKind) -> dict[str, Any]:
    low, high = kind.interval or (None, None)
    return {
        "by": by,
        "part": part,
        "kind": kind.name,
        "count": kind.count,
        "value": kind.value,
        "low": low,
        "high": high,
    }
