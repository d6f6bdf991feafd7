"""What a protocol is: a frozen record read from one TOML file, every switch with its source, and its digest.

A scoring family is a module that says how predictions become numbers; the registry finds it by the record's
`family`, so this file knows none of them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from typing import Protocol as Interface

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from bench.core.files import digest
from bench.errors import BadFileError, RequestError, UnknownNameError

if TYPE_CHECKING:
    import pyarrow as pa

    from bench.data.ground_truth import Truth
    from bench.predictions.table import Resolved

Replicates = dict[str, NDArray[np.float64]]
"""Metric name to (B,) values, or to (B, C) values by class, NaN where undefined; B bootstrap replicates."""


class Conventions(BaseModel):
    """Base of every family's switches: each field is one switch, its type the values it may take.

    A number takes more than can be tried: its `examples` are what the literature takes, which `audit` tries.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


COMPARE: dict[str, np.ufunc] = {">": np.greater, ">=": np.greater_equal, "<": np.less, "<=": np.less_equal}
"""What a switch that compares may say."""


@dataclass(frozen=True, eq=False)
class Scored:
    """What a family makes of predictions.

    outcomes: a table, each row of one image (column `image`, index into the truth's ids): enough to redo every
    metric with images drawn again. Rows that are judged by their order have their `score`, by which `merged` ranks the
    parts of a split as a whole. counts: what was counted (pairs, difficult-only images ...). notes: what to know.
    classes: the names that a metric by class is of, where they are not the dataset's. whole: every metric of the whole
    split, as (C,) or a number, where an engine computes them; else `summarise` does.
    """

    outcomes: pa.Table
    counts: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] | None = None
    whole: Mapping[str, NDArray[np.float64]] | None = None


class Family(Interface):
    """A scoring family: a module of `protocols/scoring/`, `VERSION` bumped by hand when its numbers change.

    One whose outcomes are rankings also has `ranked(outcomes, classes)`, which returns a
    `bench.scoring.average_precision.Ranked` of which curves are drawn.
    """

    VERSION: int
    METRICS: dict[str, bool]
    """Every metric's name, to whether higher is better."""
    Conventions: type[Conventions]

    def score(self, truth: Truth, predictions: Mapping[str, Resolved], conventions: Any) -> Scored:
        """Judge predictions, by kind; pure."""
        ...

    def summarise(
        self, outcomes: pa.Table, classes: tuple[str, ...], conventions: Any, weights: NDArray[np.float64]
    ) -> Replicates:
        """Metrics from outcomes alone, with image i counted `weights[b, i]` times in replicate b; weights (B, N).

        A metric by class comes as (B, C), in the order of `classes`; the harness takes its mean over the defined ones.
        """
        ...


class Record(BaseModel):
    """A protocol: dataset, splits, what is predicted, metrics, and every convention that moves a number."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    summary: str
    family: str
    dataset: str
    train_split: str
    eval_split: str
    predicts: tuple[str, ...]
    """Kinds of prediction that it accepts, the decoded one first."""
    also: tuple[str, ...] = ()
    """Kinds that it takes beside one of these, where somebody has them."""
    metrics: tuple[str, ...]
    """Primary first."""
    seen_in: tuple[str, ...] = ()
    tuned_on: Literal["none", "test-oracle"] = "none"
    """Whether its own metrics choose a setting on the images that they judge."""
    conventions: dict[str, Any] = {}
    sources: dict[str, str] = {}
    notes: tuple[str, ...] = ()

    @property
    def evaluates_training_split(self) -> bool:
        """Whether it judges on the images it trained on, as CorLoc does."""
        return self.train_split == self.eval_split

    def with_conventions(self, changes: Mapping[str, Any]) -> Record:
        """The same protocol with some switches moved; its digest moves too.

        Raises UnknownNameError for a switch it does not have.
        """
        for key in changes:
            if key not in self.conventions:
                raise UnknownNameError(f"convention of {self.name}", key, self.conventions)
        return self.model_copy(update={"conventions": {**self.conventions, **changes}})

    def digest(self, version: int, classes: tuple[str, ...]) -> str:
        """The convention digest: the switches, the family and its version, the class list. Prose does not count."""
        return digest(
            {
                "family": [self.family, version],
                "conventions": self.conventions,
                "metrics": list(self.metrics),
                "evaluates_training_split": self.evaluates_training_split,
                "classes": list(classes),
            }
        )


@dataclass(frozen=True, eq=False)
class BoundProtocol:
    """A record together with its family and its checked switches: what scoring needs."""

    record: Record
    family: Family

    @cached_property
    def conventions(self) -> Conventions:
        """The switches, checked against the family.

        Raises UnknownNameError for a switch the family does not have, RequestError for a value that one does not take.
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

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """The record's metrics, primary first.

        Raises UnknownNameError for one that the family does not have.
        """
        for name in self.record.metrics:
            if name not in self.family.METRICS:
                raise UnknownNameError(f"metric of {self.record.family}", name, self.family.METRICS)
        return self.record.metrics

    def digest(self, classes: tuple[str, ...]) -> str:
        """The convention digest, of the checked switches: `15` and `15.0` are one tolerance."""
        checked = self.record.model_copy(update={"conventions": self.conventions.model_dump(mode="json")})
        return checked.digest(self.family.VERSION, classes)


def read_record(path: Path) -> Record:
    """Read a protocol from its TOML file; its name is the file's.

    Each convention is a table `{ value = ..., source = "..." }`. Raises BadFileError, naming the key.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadFileError(path, f"not a readable file ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFileError(path, f"not valid TOML: {error}") from None
    switches = raw.pop("conventions", {})
    if "name" in raw or not isinstance(switches, dict):
        raise BadFileError(path, "a protocol is named by its file, and [conventions] is a table")
    for key, entry in switches.items():
        if not isinstance(entry, dict) or set(entry) != {"value", "source"}:
            raise BadFileError(path, 'a convention must be a table { value = ..., source = "..." }', row=key)
    conventions = {key: entry["value"] for key, entry in switches.items()}
    sources = {key: entry["source"] for key, entry in switches.items()}
    try:
        return Record.model_validate({**raw, "name": path.stem, "conventions": conventions, "sources": sources})
    except ValidationError as error:
        first = error.errors()[0]
        raise BadFileError(path, first["msg"], row=".".join(str(part) for part in first["loc"])) from None
