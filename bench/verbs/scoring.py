"""`score` and `audit`: predictions from anywhere, evaluated under a protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import registry
from bench.core.progress import SILENT, Progress
from bench.errors import (
    BadFileError,
    BenchError,
    RequestError,
    UnknownImageError,
    UnknownNameError,
    WrongKindError,
    format_names,
)

if TYPE_CHECKING:
    import pandas as pd

    from bench.analysis.audit import Audit
    from bench.core.files import Places
    from bench.data.dataset import Dataset
    from bench.data.ground_truth import GroundTruth
    from bench.predictions.handover import Source
    from bench.predictions.table import Predictions, ResolvedPredictions
    from bench.records.result import Extra, Result, Supervision, Tier
    from bench.scoring.protocol import BoundProtocol, Record
    from bench.tables.model import Table


SETTINGS_OF = {
    "boxes": ("box_rule", "box_threshold"),
    "points": (),
    "masks": ("mask_rule", "mask_threshold", "mask_score"),
}
"""The kinds that maps are decoded into, each with the settings of map methods that control the decoding."""


_TRIED = ("test", "val", "train", "trainval", "minival")
"""Splits in which to look for an image that is missing from the evaluated one."""


class ScoringInputs(NamedTuple):
    """Predictions by kind, with the protocol and the ground truth to evaluate them by.

    sources: predictions as read, by kind. decoding: the kind that maps were decoded into (`into`), and the settings
    used; None if nothing was decoded.
    """

    protocol: BoundProtocol
    truth: GroundTruth
    predictions: dict[str, Predictions]
    sources: dict[str, Predictions]
    decoding: Mapping[str, Any] | None

    @property
    def made_by(self) -> str:
        """The method that made the predictions, as named in their file."""
        return next(iter(self.predictions.values())).about.made_by

    def resolve(self) -> dict[str, ResolvedPredictions]:
        """Match the predictions to the images and classes of the ground truth. Raises BadFileError."""
        from bench.predictions.table import resolve

        return {kind: resolve(predictions, self.truth) for kind, predictions in self.predictions.items()}


@dataclass(frozen=True, repr=False)
class AuditReport:
    """The audit of predictions: what was evaluated, under which conventions, and what each of them changes."""

    method: str
    protocol: str
    dataset: str
    split: str
    conventions: Mapping[str, Any]
    audit: Audit

    def make_table(self) -> Table:
        """Build a table with a row for each convention."""
        from bench.analysis.audit import make_table

        where = f"{self.protocol} on {self.dataset} {self.split}"
        return make_table(self.audit, f"{self.method} · {where}, each convention changed alone, per cent")

    def to_frame(self) -> pd.DataFrame:
        """Make a pandas DataFrame with a row for each convention; numbers are fractions."""
        from bench.tables.frames import list_rows, make_frame

        return make_frame(list_rows(self.make_table()))

    def __str__(self) -> str:
        from bench.tables.frames import tables_to_text

        return tables_to_text([self.make_table()])

    def __repr__(self) -> str:
        return f"<audit of {self.method} under {self.protocol} on {self.dataset} {self.split}>"

    def _repr_html_(self) -> str:
        """Show the table in a notebook."""
        from bench.tables.frames import tables_to_html

        return tables_to_html([self.make_table()])


@contextmanager
def open_inputs(
    protocol: str,
    predictions: Source,
    *,
    places: Places,
    scores: Source | None = None,
    conventions: Mapping[str, Any] = MappingProxyType({}),
    data: str | None = None,
    data_options: Mapping[str, Any] = MappingProxyType({}),
    split: str | None = None,
    name: str | None = None,
    decoding: Mapping[str, Any] = MappingProxyType({}),
    progress: Progress = SILENT,
) -> Iterator[ScoringInputs]:
    """Read predictions, and class scores if they are separate, to be used within the block.

    Maps are decoded if the protocol does not evaluate maps; decoding: settings for it that override the defaults of map
    methods. Raises BadFileError for a file that breaks a rule or is of a kind that the protocol does not accept;
    RequestError for a split without the ground truth that the protocol needs.
    """
    from bench.data.datasets import open_dataset
    from bench.predictions.formats import read_all
    from bench.predictions.handover import as_file

    bound = registry.bind(registry.protocol(protocol).with_conventions(conventions))
    record, scratch = bound.record, places.cache / "handover"
    dataset = open_dataset(data or record.dataset, places, data_options)
    truth = _read_truth(bound, dataset, split)
    into = next((kind for kind in record.predicts if kind in SETTINGS_OF and "maps" not in record.predicts), None)
    with ExitStack() as files:
        files.enter_context(_name_split(dataset, truth))

        def read(given: Source, kinds: list[str], others: Sequence[str] = ()) -> list[Predictions]:
            accepted = [*kinds, *others]
            file = files.enter_context(as_file(given, truth, accepted, scratch, made_by=name, progress=progress))
            try:
                return read_all(file, truth, kinds)
            except WrongKindError as error:
                if not {*others} & {*error.kinds}:
                    raise
                return read_all(file, truth, others)

        try:
            found = read(predictions, list(record.predicts), ["maps"] if into else [])
        except WrongKindError as error:
            raise _suggest_protocols(error, record) from None
        sources = {table.kind: table for table in found}
        is_decoded = into is not None and "maps" in sources
        if scores is not None:
            _require_scores(record, is_decoded=is_decoded)
            sources |= {"scores": read(scores, ["scores"])[0]}
        settings = _choose_decoding(into if is_decoded else None, decoding, record, has_scores=scores is not None)
        evaluated = _decode(sources, truth, settings, progress) if settings else sources
        used = {kind: table for kind, table in evaluated.items() if kind in (*record.predicts, *record.also)}
        yield ScoringInputs(bound, truth, used, sources, settings)


@contextmanager
def _name_split(dataset: Dataset, truth: GroundTruth) -> Iterator[None]:
    """Add to the error about an image that is not in the split which split has it."""
    try:
        yield
    except UnknownImageError as error:
        others = [name for name in _TRIED if name in dataset.splits() and name != truth.split]
        split = next((name for name in others if _has_image(dataset, name, error.image)), None)
        if split is None:
            raise
        rule = f"{error.rule.rstrip('.')}. {error.image!r} is of {split}, which --split {split} evaluates"
        raise UnknownImageError(error.file, rule, error.image, row=error.row) from None


def _has_image(dataset: Dataset, split: str, image: str) -> bool:
    """Whether a split has an image of this name; a split that cannot be read has none."""
    try:
        return bool(image) and dataset.ground_truth(split).names.find(image) is not None
    except BenchError:
        return False


def _read_truth(bound: BoundProtocol, dataset: Dataset, split: str | None) -> GroundTruth:
    """Read the ground truth that a protocol evaluates on; raises the error for parts that it needs and are missing."""
    from bench.data.dataset import read_split

    truth = read_split(dataset, split or bound.record.eval_split)
    if (lacking := bound.find_missing_truth(dataset, truth)) is not None:
        raise lacking
    return truth


def score(
    protocol: str,
    predictions: Source,
    *,
    places: Places,
    name: str | None = None,
    tuned_on: Supervision = "unknown",
    tier: Tier | None = None,
    uses: Sequence[Extra] = (),
    allow_missing: bool = False,
    **chosen: Any,
) -> Result:
    """Score predictions and record the result. chosen: as `open_inputs`."""
    from bench.records.result import EXTRAS
    from bench.records.store import Store
    from bench.scoring.score import make_result
    from bench.scoring.score import score as evaluate

    if unknown := [extra for extra in uses if extra not in EXTRAS]:
        raise UnknownNameError("thing that can be used", unknown[0], EXTRAS, hint="--uses")
    with open_inputs(protocol, predictions, places=places, name=name, **chosen) as inputs:
        evaluation = evaluate(inputs.protocol, inputs.truth, inputs.resolve(), allow_missing=allow_missing)
        source = _describe_source(inputs, name) | {
            "tuned_on": tuned_on,
            "tier": tier,
            "uses": tuple(uses),
            "data_options": dict(chosen.get("data_options", {})),
        }
        result = make_result(inputs.protocol, inputs.truth, evaluation, **source)
        return Store(places).record(result, evaluation.outcomes, evaluation.replicates)


def audit(
    protocol: str,
    predictions: Source,
    *,
    places: Places,
    allow_missing: bool = False,
    progress: Progress = SILENT,
    **chosen: Any,
) -> AuditReport:
    """Score predictions under every convention; nothing is recorded. chosen: as `open_inputs`."""
    from bench.analysis.audit import audit as audit_all

    with open_inputs(protocol, predictions, places=places, progress=progress, **chosen) as inputs:
        bound, truth = inputs.protocol, inputs.truth
        audited = audit_all(bound, truth, inputs.resolve(), allow_missing=allow_missing, progress=progress)
        conventions = bound.conventions.model_dump(mode="json")
        return AuditReport(inputs.made_by, bound.record.name, truth.dataset, truth.split, conventions, audited)


def _describe_source(inputs: ScoringInputs, name: str | None) -> dict[str, Any]:
    """Return the fields of the record that describe the origin of the predictions."""
    from bench.core.files import digest
    from bench.core.provenance import read_revision
    from bench.records.names import check_line

    digests = {kind: table.digest for kind, table in inputs.sources.items()}
    decoding = {} if inputs.decoding is None else {"decoding": inputs.decoding}
    method = name or inputs.made_by
    try:
        check_line(method)
    except ValueError as error:
        raise RequestError(f"The name of the method: {error}. Give another --name.") from None
    return {
        "method": method,
        "config": {key: value for key, value in (inputs.decoding or {}).items() if key != "into"},
        "predictions": digest({**digests, **decoding}),
        "predictions_digest": digests,
        "provenance": read_revision(registry.ROOT),
    }


def _suggest_protocols(error: WrongKindError, record: Record) -> BadFileError:
    """Return the error with the protocols that accept the file's kind, those on the same dataset first."""
    others = [registry.protocol(name) for name in registry.protocols()]
    accepting = [other for other in others if set(error.kinds) & set(other.predicts)]
    names = [other.name for other in sorted(accepting, key=lambda other: other.dataset != record.dataset)]
    kinds = " or ".join(error.kinds)
    rule = f"holds {kinds}, but {record.name} evaluates {' or '.join(record.predicts)}; {kinds} are evaluated by"
    return BadFileError(error.file, f"{rule} {format_names(names)} (python -m bench list protocols).")


def _require_scores(record: Record, *, is_decoded: bool) -> None:
    """Raise RequestError if a protocol takes no additional class scores, unless they are for decoded maps."""
    if "scores" not in record.also and not is_decoded:
        raise RequestError(f"--scores: {record.name} does not accept class scores in addition to {record.predicts[0]}.")


def _choose_decoding(
    into: str | None, given: Mapping[str, Any], record: Record, *, has_scores: bool
) -> dict[str, Any] | None:
    """Return the kind that maps are decoded into, and the settings for it; None if they are not decoded.

    Raises RequestError for a setting that has no effect, or a value that is not allowed.
    """
    settings = [key for key in SETTINGS_OF[into or "points"] if has_scores or key != "mask_score"]
    for key in given:
        if key not in settings:
            reason = f"maps become {into}" if into else f"{record.name} evaluates these predictions as they are"
            reason = "it is a score of --scores, which is not given" if key == "mask_score" and into else reason
            raise RequestError(f"--{key.replace('_', '-')} has no effect here: {reason}.")
    if into is None:
        return None
    from pydantic import ValidationError

    from bench.config import MapConfig

    try:
        config = MapConfig(**given)
    except ValidationError as error:
        first = error.errors()[0]
        raise RequestError(f"{first['loc'][0]}={first['input']} is not allowed: {first['msg']}.") from None
    return {"into": into, **{key: getattr(config, key) for key in settings}}


def _decode(
    sources: dict[str, Predictions], truth: GroundTruth, settings: Mapping[str, Any], progress: Progress
) -> dict[str, Predictions]:
    """Decode the maps among predictions; leave the others as they are."""
    from bench.predictions.map_decoding import decode_boxes, decode_masks, decode_points
    from bench.predictions.table import resolve

    scores = resolve(sources["scores"], truth) if "scores" in sources else None
    kind, maps = settings["into"], sources["maps"]
    if kind == "boxes":
        rule, threshold = settings["box_rule"], settings["box_threshold"]
        decoded = decode_boxes(maps, truth, scores, rule=rule, threshold=threshold, progress=progress)
    elif kind == "points":
        decoded = decode_points(maps, truth, scores, progress=progress)
    else:
        rule, threshold, least = (settings.get(key, 0.0) for key in SETTINGS_OF["masks"])
        decoded = decode_masks(maps, truth, scores, rule=rule, threshold=threshold, least_score=least)
    return {kind: decoded, **{other: table for other, table in sources.items() if other != "maps"}}
