"""The record of one scoring, and the migration of records of older schemas."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json

from bench.core.files import require_regular_file, write_json
from bench.core.setting_names import RENAMED
from bench.errors import BadFileError, RequestError, format_names
from bench.records.names import check_line, check_name, check_provenance, compute_address

SCHEMA = 2

_ROUNDING = 1e-9

_MOST = 1e12
"""Upper bound on the seconds, images per second, parameters and MiB of any run."""

_MOST_FLOPS = 1e18
"""Upper bound on the floating-point operations per image."""

SYNTHETIC = frozenset({"shapes"})
"""Datasets of generated images: their results are labelled synthetic and never ranked with others."""


OTHER_IMAGES = "not the protocol's images"
"""The remark on results that are `partial`."""

TRAINED_ON = "evaluated_images_trained_on"
"""The key in `counts` of evaluated images that were also trained on, under a protocol that separates the two."""

Supervision = Literal["none", "unknown", "val-boxes", "test-oracle"]
"""The supervision beyond image labels that a result was tuned with; unknown for predictions from elsewhere."""

SUPERVISION: tuple[Supervision, ...] = get_args(Supervision)
"""From the least to the most."""


Tier = Literal["author", "here", "others"]
"""Who made predictions: the method's author, this project's implementation, or others who reproduced it."""

TIERS: tuple[Tier, ...] = get_args(Tier)

Extra = Literal["pseudo-boxes", "other-pretraining", "extra-data", "multi-scale-test"]
"""What a method used beyond image labels, initial weights and one look at each image."""

EXTRAS: tuple[Extra, ...] = get_args(Extra)


class Result(BaseModel):
    """One scoring. Metrics are fractions in full precision; `None` where a metric is undefined."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)

    schema_number: int = Field(SCHEMA, alias="schema")
    address: str
    """Digest of predictions and protocol; the store files the result under it."""
    status: Literal["done"] = "done"

    protocol: str
    family: str
    digest: str
    """Convention digest."""
    conventions: dict[str, Any]
    truth_digest: str
    ids_digest: str
    dataset: str
    split: str
    images: int = Field(ge=0)
    partial: bool
    """Whether it was evaluated on other images than the protocol's: fewer, more, or others of the same name."""

    method: str
    variant: str | None = None
    seed: int | None = Field(None, ge=0, strict=True)
    config: dict[str, Any] = {}
    given: tuple[str, ...] | None = None
    """Settings in which the run differs from its method and variant on that dataset; None if not recorded."""
    data_options: dict[str, Any] = {}
    transforms: tuple[str, ...] = ()
    """The transforms of training images, in order, as expressions of `torchvision.transforms.v2`."""
    weights: str | None = None
    train_split: str | None = None
    training: str | None = None
    """Address of the training; None for predictions from elsewhere and for methods that learn nothing."""
    predictions: str
    """Digest of a predictions file, or the address of predictions from the runs folder."""
    made_from: dict[Literal["predictions", "training"], dict[str, Any]] = {}
    """The keys whose digests are the addresses of a run's predictions and training; `publish` adds them."""
    predictions_digest: dict[str, str] = {}
    proposals_digest: str | None = None
    tuned_on: Supervision = "none"
    tier: Tier | None = None
    """Who made predictions from elsewhere, None if not declared. For runs, see `bench.tables.caveats.find_tier`."""
    uses: tuple[Extra, ...] = ()
    """As declared for predictions from elsewhere. For runs, see `used`."""

    metrics: dict[str, float | None]
    """Primary first."""
    higher_is_better: dict[str, bool]
    intervals: dict[str, tuple[float, float]] = {}
    """95 %, from a bootstrap over images (`bench.core.bootstrap.interval`)."""
    per_class: dict[str, dict[str, float | None]] = {}
    class_intervals: dict[str, dict[str, tuple[float, float]]] = {}
    """By metric and class, from the same draws; only for classes with a value."""
    undefined: dict[str, tuple[str, ...]] = {}
    """For each metric, the classes on which it is undefined, which are left out of it."""
    counts: dict[str, int] = {}
    notes: tuple[str, ...] = ()

    provenance: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    images_per_second: dict[str, float] = {}
    parameters: int | None = None
    """Of the method; None without a net, and in records from before they were counted."""
    flops: float | None = None
    """Floating-point operations of the prediction of one image, as `bench.training.model_cost` counts them."""
    peak_memory_mib: float | None = None
    """Peak host memory of one of its processes, even if a GPU computed."""
    outcomes_digest: str | None = None
    """Digest of the parquet file of outcomes per image, which lies beside the record if it is small."""
    created: str = ""

    @model_validator(mode="after")
    def _require_directions(self) -> Result:
        if undirected := [name for name in self.metrics if name not in self.higher_is_better]:
            raise ValueError(f"higher_is_better has no entry for metric {undirected[0]}")
        return self

    @property
    def file_name(self) -> str:
        """The name of its published record; a method from elsewhere may have any name, so it is sanitised."""
        method = re.sub(r"[^\w.+-]", "_", self.method)
        return f"{self.protocol}.{method}.{self.address}.json"

    @property
    def is_edited(self) -> bool:
        """Whether it was made in an edited checkout, so that its code is in no revision."""
        return bool(self.provenance.get("dirty"))

    @property
    def used(self) -> tuple[Extra, ...]:
        """What was used beyond image labels: as declared, and as the settings of a run show."""
        sizes = self.config.get("test_scales") or self.config.get("scales") or ()
        known: dict[Extra, bool] = {
            "pseudo-boxes": bool(self.config.get("pseudo")),
            "multi-scale-test": isinstance(sizes, list | tuple) and len(sizes) > 1,
        }
        return tuple(extra for extra in EXTRAS if extra in self.uses or known.get(extra, False))

    @property
    def label(self) -> str:
        """`method:variant`, as typed on the command line."""
        return self.method if self.variant is None else f"{self.method}:{self.variant}"

    @property
    def evaluated_on(self) -> str:
        """Dataset and split, marked if its images are not the protocol's."""
        return f"{self.dataset} {self.split}{f' ({OTHER_IMAGES})' if self.partial else ''}"

    @property
    def seed_suffix(self) -> str:
        """`, seed 1`, to go after other words; empty where the predictions had no seed."""
        return "" if self.seed is None else f", seed {self.seed}"


def require_committed(results: Iterable[Result]) -> None:
    """Raise RequestError if the code of a result is in no revision."""
    for result in results:
        if result.is_edited:
            files = result.provenance.get("changed")
            which = format_names(files) if files else "its record does not say which files"
            raise RequestError(
                f"Result {result.address} was made in an edited checkout ({which}), so no revision has its code. "
                "Commit the changes and run it again, or add --allow-dirty: it is then marked wherever it is shown."
            )


def migrate(raw: dict[str, Any]) -> dict[str, Any]:
    """Migrate a record of any older schema to the current one, step by step."""
    number = raw.get("schema", 0)
    while number < SCHEMA:
        raw = _STEPS[number](raw)
        number += 1
    return {**raw, "schema": number}


def list_records(folder: Path) -> list[Path]:
    """Return the result records in a folder and below, sorted; hidden files are still being written."""
    return sorted(folder.rglob("[!.]*.json"))


def read_result(path: Path) -> Result:
    """Read a result record of any schema up to the current one.

    Raises BadFileError if it is no record, has a later schema, or contradicts itself.
    """
    return parse_result(path, read_record(path))


def read_record(path: Path) -> bytes:
    """Return the bytes of a record. Raises BadFileError."""
    try:
        return require_regular_file(path).read_bytes()
    except OSError as error:
        raise BadFileError(path, f"not a result record ({error})") from None


def parse_result(path: Path, content: bytes, *, check: bool = True) -> Result:
    """Parse the content of a record, as `read_result` does; check: False if it was checked before."""
    try:
        raw = from_json(content)
    except ValueError as error:
        raise BadFileError(path, f"not a result record ({error})") from None
    number = raw.get("schema", 0) if isinstance(raw, dict) else None
    if type(number) is not int or number < 0:
        raise BadFileError(path, "not a result record (expected a JSON object with a schema number)")
    if number > SCHEMA:
        raise BadFileError(path, f"written by a later weakloc (schema {number}, this one reads up to {SCHEMA})")
    try:
        result = Result.model_validate(migrate(raw))
        if check:
            check_record(result)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadFileError(path, first["msg"].removeprefix("Value error, "), row=where) from None
    except ValueError as error:
        raise BadFileError(path, str(error)) from None
    return result


def check_address(result: Result) -> None:
    """Raise ValueError if a record's address is not that of its predictions, protocol and ground truth."""
    address = compute_address(result.predictions, result.protocol, result.digest, result.truth_digest)
    if result.address != address:
        raise ValueError(f"the address of its predictions, protocol and ground truth is {address}")


def check_record(result: Result) -> None:
    """Raise ValueError if a record cannot be believed: for its names, or because it contradicts itself."""
    _check_names(result)
    check_address(result)
    counted = {name: getattr(result, name) or 0.0 for name in ("peak_memory_mib", "parameters")}
    costs = {**counted, **result.seconds, **result.images_per_second}
    if beyond := [name for name, cost in costs.items() if not 0 <= cost < _MOST]:
        raise ValueError(f"{beyond[0]} is {costs[beyond[0]]:g}: expected a cost")
    if not 0 <= (result.flops or 0.0) < _MOST_FLOPS:
        raise ValueError(f"flops is {result.flops:g}: expected a cost")
    if not result.metrics:
        raise ValueError("metrics: expected at least one")
    _check_fractions("", result.metrics, result.intervals)
    if negative := [name for name, count in result.counts.items() if count < 0]:
        raise ValueError(f"counts.{negative[0]} is {result.counts[negative[0]]}: expected a count")
    if result.counts.get("images", result.images) != result.images:
        raise ValueError(f"images is {result.images}, but counts.images {result.counts['images']}")
    for metric, names in result.undefined.items():
        if named := [name for name in names if result.per_class.get(metric, {}).get(name) is not None]:
            raise ValueError(f"{metric} of {named[0]} has a value, but is among the undefined")
    for metric, values in result.per_class.items():
        _check_fractions(f"{metric} of ", values, result.class_intervals.get(metric, {}))
        known = [value for value in values.values() if value is not None]
        mean, recorded = (fmean(known) if known else None), result.metrics.get(metric)
        if metric in result.metrics and not _is_close(mean, recorded):
            raise ValueError(f"{metric} is {recorded}, but the mean over its classes is {mean}")


def _check_names(result: Result) -> None:
    for field, check in _NAMES.items():
        if (text := getattr(result, field)) is not None:
            try:
                check(text)
            except ValueError as error:
                raise ValueError(f"{field}: {error}") from None
    for name in result.metrics:
        check_line(name)
    check_provenance(result.provenance)


def _check_fractions(of: str, values: Mapping[str, float | None], intervals: Mapping[str, tuple[float, float]]) -> None:
    for name, value in values.items():
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{of}{name} is {value}: expected a fraction")
        low, high = intervals.get(name, (value, value))
        if None not in (value, low, high) and not low - _ROUNDING <= value <= high + _ROUNDING:  # type: ignore[operator]
            raise ValueError(f"{of}{name} is {value}, outside of its interval [{low}, {high}]")


def _is_close(a: float | None, b: float | None) -> bool:
    return a == b if a is None or b is None else abs(a - b) <= _ROUNDING


def write_result(path: Path, result: Result) -> None:
    """Write a result record, atomically."""
    write_json(path, result.model_dump(mode="json", by_alias=True))


def _migrate_from_0(raw: dict[str, Any]) -> dict[str, Any]:
    """Rename `scores` to `metrics`. Schema 0 was never released; it keeps the migration path tested."""
    moved = {key: value for key, value in raw.items() if key != "scores"}
    return {**moved, "metrics": raw.get("scores", {})}


def _from_1(raw: dict[str, Any]) -> dict[str, Any]:
    """Rename the settings of schema 1 (release 0.1)."""
    config = raw.get("config")
    if not isinstance(config, dict):
        return raw
    return {**raw, "config": {RENAMED.get(name, name): value for name, value in config.items()}}


_STEPS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {0: _migrate_from_0, 1: _from_1}

_NAMES = {
    **dict.fromkeys(("address", "protocol", "family", "digest", "truth_digest", "predictions", "training"), check_name),
    **dict.fromkeys(("dataset", "split", "method", "variant", "train_split", "created"), check_line),
}
"""The check of each name in a record."""
