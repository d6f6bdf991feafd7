"""A protocol: a frozen record read from one TOML file, every switch with its source, and its digest.

A scoring family is a module that turns predictions into numbers. The registry finds it by the record's `family`, so
this file knows none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from typing import Protocol as Interface

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from bench.core.files import digest
from bench.core.toml import check_toml, read_toml
from bench.data.datasets import DATASETS
from bench.data.ground_truth import ABSENT, PRESENT, GroundTruth, Part
from bench.errors import BadFileError, RequestError, UnknownNameError

if TYPE_CHECKING:
    import pyarrow as pa

    from bench.data.dataset import Dataset
    from bench.predictions.table import ResolvedPredictions
    from bench.records.result import Result

Replicates = dict[str, NDArray[np.float64]]
"""Metric name to (B,) values, or to (B, C) values by class, NaN where undefined; B bootstrap replicates."""


class Conventions(BaseModel):
    """Base of every family's switches: each field is one switch, and its type lists the values it accepts.

    A numeric switch accepts more values than can be tried; `audit` tries its `examples`, values from the literature.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


LATER = {"recalls": "exact", "stretch": "map"}
"""Switches added after results were published, with the value used before, which is left out of records and digests."""


def dump_conventions(conventions: Conventions) -> dict[str, Any]:
    """Return the switches in the form used in records and digests."""
    return drop_later(conventions.model_dump(mode="json"))


def drop_later(conventions: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the switches of `LATER` that have their former value."""
    return {key: value for key, value in conventions.items() if (key, value) not in LATER.items()}


COMPARE: dict[str, np.ufunc] = {">": np.greater, ">=": np.greater_equal, "<": np.less, "<=": np.less_equal}
"""The values that a switch for a comparison accepts."""


@dataclass(frozen=True, eq=False)
class FamilyScore:
    """The output of a family for a set of predictions.

    outcomes: a table whose rows each belong to one image (column `image`, an index into the ground truth's ids); enough
    to recompute every metric on resampled images. counts: pairs, difficult-only images, and so on. notes: remarks for
    the reader of the result. classes: the class names of the metrics by class, if they are not the dataset's. whole:
    every metric of the whole split, as (C,) or a number, if an engine computes them; otherwise `summarise` does.
    """

    outcomes: pa.Table
    counts: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] | None = None
    whole: Mapping[str, NDArray[np.float64]] | None = None


class Family(Interface):
    """A scoring family: a module of `protocols/scoring/`, its `VERSION` raised by hand when its numbers change.

    A family that uses only the classes present in an image has `PRESENT_ONLY = True`: maps of other classes need not be
    computed, and predictions of them must change no metric. `NEEDS` declares the ground truth that a family uses: it is
    given no images without it, and on users' own datasets no other ground truth is part of its results' digests. A
    family whose outcomes are rankings also has `rank_hits(outcomes, classes)`, which returns the
    `bench.scoring.average_precision.RankedHits` from which precision-recall curves are drawn. One whose errors can be
    analysed has `match_detections(truth, predictions, conventions, metric)`, which returns
    `bench.scoring.detection_errors.MatchedDetections`, or `localize_classes(truth, predictions, conventions)`, which
    returns `bench.scoring.box_errors.LocalizedClasses`.
    """

    VERSION: int
    METRICS: dict[str, bool]
    """Metric name to whether higher is better."""
    Conventions: type[Conventions]

    def score(
        self, truth: GroundTruth, predictions: Mapping[str, ResolvedPredictions], conventions: Any
    ) -> FamilyScore:
        """Evaluate predictions, by kind. A pure function."""
        ...

    def summarise(
        self, outcomes: pa.Table, classes: tuple[str, ...], conventions: Any, weights: NDArray[np.float64]
    ) -> Replicates:
        """Compute metrics from outcomes alone, image i counted `weights[b, i]` times in replicate b; weights (B, N).

        A metric by class is (B, C), in the order of `classes`; the harness takes the mean over its defined classes.
        """
        ...


class Record(BaseModel):
    """A protocol: dataset, splits, kinds of prediction, metrics, and every convention that changes a number."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    summary: str
    family: str
    dataset: str | None = None
    """None: any that has the ground truth that the family needs."""
    train_split: str
    eval_split: str
    predicts: tuple[str, ...]
    """Kinds of prediction that it accepts, the one decoded by default first."""
    also: tuple[str, ...] = ()
    """Optional kinds, accepted in addition to one of `predicts`."""
    metrics: tuple[str, ...]
    """Primary first."""
    seen_in: tuple[str, ...] = ()
    tuned_on: Literal["none", "test-oracle"] = "none"
    """Whether its metrics choose a setting on the evaluated images."""
    conventions: dict[str, Any] = {}
    changed: dict[str, Any] = {}
    """The protocol's own values of the switches that `with_conventions` has changed."""
    sources: dict[str, str] = {}
    notes: tuple[str, ...] = ()

    @property
    def evaluates_training_split(self) -> bool:
        """Whether it evaluates on the training images, as CorLoc does."""
        return self.train_split == self.eval_split

    def with_conventions(self, changes: Mapping[str, Any]) -> Record:
        """Return the protocol with some switches changed, which changes its digest.

        Raises UnknownNameError for a switch it does not have.
        """
        for key in changes:
            if key not in self.conventions:
                raise UnknownNameError(f"convention of {self.name}", key, self.conventions)
        given = {**self.conventions, **changes}
        own = {**self.conventions, **self.changed}
        changed = {key: value for key, value in own.items() if given[key] != value}
        return self.model_copy(update={"conventions": given, "changed": changed})

    def digest(self, version: int, classes: tuple[str, ...]) -> str:
        """Compute the convention digest from the switches, the family, its version and the classes, not from prose."""
        return digest(
            {
                "family": [self.family, version],
                "conventions": drop_later(self.conventions),
                "metrics": list(self.metrics),
                "evaluates_training_split": self.evaluates_training_split,
                "classes": list(classes),
            }
        )


Need = Literal["labels", "boxes", "class masks", "object masks"]
"""The ground truth that a family needs of an image."""


def _lack_boxes(truth: GroundTruth) -> NDArray[np.bool_]:
    """Return which images (N,) have a class without any box of it."""
    boxed = np.zeros(truth.labels.shape, dtype=np.bool_)
    boxed[truth.objects.image, truth.objects.label] = True
    return np.asarray(((truth.labels == PRESENT) & ~boxed).any(axis=1))


def _lack_masks(truth: GroundTruth, *, of_classes: bool) -> NDArray[np.bool_]:
    return np.full(len(truth.ids), truth.masks is None or truth.masks.indexed != of_classes)


_LACKS: dict[Need, Callable[[GroundTruth], NDArray[np.bool_]]] = {
    "labels": lambda truth: np.zeros(len(truth.ids), dtype=np.bool_),
    "boxes": _lack_boxes,
    "class masks": partial(_lack_masks, of_classes=True),
    "object masks": partial(_lack_masks, of_classes=False),
}


_PARTS: dict[Need, Part] = {"labels": "labels", "boxes": "boxes", "class masks": "masks", "object masks": "masks"}


@dataclass(frozen=True, eq=False)
class BoundProtocol:
    """A record with its family and its validated switches, ready for scoring."""

    record: Record
    family: Family

    @cached_property
    def conventions(self) -> Conventions:
        """The switches, validated by the family.

        Raises UnknownNameError for a switch the family does not have, RequestError for a value that a switch rejects.
        """
        record, known = self.record, self.family.Conventions.model_fields
        for key in record.conventions:
            if key not in known:
                raise UnknownNameError(f"convention of {record.name} (family {record.family})", key, known)
        try:
            return self.family.Conventions.model_validate(record.conventions)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            got = "" if first["type"] == "missing" else f", but got {first['input']!r}"
            raise RequestError(f"Protocol {record.name}: convention {where!r}: {first['msg']}{got}.") from None

    @property
    def looks_at_present_only(self) -> bool:
        """Whether it uses only predictions of the classes present in an image."""
        return bool(getattr(self.family, "PRESENT_ONLY", False))

    def find_mismatch(self, result: Result) -> str:
        """Describe how a result that names this protocol differs in family or metric direction; empty if it agrees."""
        family = self.record.family
        if result.family != family:
            return f"of family {result.family}, but {result.protocol} is of {family}"
        other = [name for name in result.metrics if result.higher_is_better[name] != self.family.METRICS.get(name)]
        return f"higher_is_better of {other[0]} is not that of {family}" if other else ""

    def find_missing_truth(self, dataset: Dataset, truth: GroundTruth) -> RequestError | None:
        """Return an error about the needed ground truth that a split lacks, and where to get it; None if it lacks none.

        Needed boxes are at least one for each class of each image; at least one image needs a label.
        """
        needs: Need = getattr(self.family, "NEEDS", "labels")
        if needs in ("labels", "boxes") and len(truth.ids) and not (truth.labels != ABSENT).any():
            where = f"none of {len(truth.ids)} images of {truth.dataset} {truth.split}"
            return RequestError(f"{self.record.name} needs labels, which {where} has. Choose another split.")
        if not (lacking := _LACKS[needs](truth).sum()):
            return None
        images = f"{lacking} of {len(truth.ids)} images of {truth.dataset} {truth.split}"
        rule = f"{self.record.name} needs {needs}, which {images} lack"
        return RequestError(f"{rule}. {dataset.suggest_truth(needs)}.")

    def digest_truth(self, truth: GroundTruth) -> str:
        """Compute the digest of the ground truth behind a result.

        For a user's own dataset it covers only what the family uses, so that adding boxes does not affect results on
        labels. For others it covers everything, as it has in all their existing results.
        """
        needs: Need | None = getattr(self.family, "NEEDS", None)
        if truth.dataset in DATASETS or needs is None:
            return truth.digest
        return truth.digest_part(_PARTS[needs])

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """The record's metrics, primary first.

        Raises UnknownNameError for a metric that the family does not have.
        """
        for name in self.record.metrics:
            if name not in self.family.METRICS:
                raise UnknownNameError(f"metric of {self.record.family}", name, self.family.METRICS)
        return self.record.metrics

    def digest(self, classes: tuple[str, ...]) -> str:
        """Compute the convention digest of the validated switches, so that `15` and `15.0` are one tolerance."""
        validated = self.record.model_copy(update={"conventions": dump_conventions(self.conventions)})
        return validated.digest(self.family.VERSION, classes)


def read_record(path: Path) -> Record:
    """Read a protocol from its TOML file, whose name is the protocol's.

    Each convention is a table `{ value = ..., source = "..." }`. Raises BadFileError, naming the key.
    """
    raw = read_toml(path)
    if computed := sorted({"changed", "sources"} & raw.keys()):
        raise BadFileError(path, f"Unknown key {computed[0]!r}: the sources of conventions are in their tables")
    switches = raw.pop("conventions", {})
    if "name" in raw or not isinstance(switches, dict):
        raise BadFileError(
            path, "the protocol's name is the file's (remove the key 'name'), and [conventions] must be a table"
        )
    for key, entry in switches.items():
        if not isinstance(entry, dict) or set(entry) != {"value", "source"}:
            raise BadFileError(
                path, f'conventions.{key}: a convention must be a table {{ value = ..., source = "..." }}'
            )
    conventions = {key: entry["value"] for key, entry in switches.items()}
    sources = {key: entry["source"] for key, entry in switches.items()}
    return check_toml(path, {**raw, "name": path.stem, "conventions": conventions, "sources": sources}, Record)
