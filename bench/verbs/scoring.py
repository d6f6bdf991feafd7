"""`score` and `audit`: predictions from anywhere, evaluated under a protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import registry
from bench.core.progress import SILENT, Progress
from bench.errors import BadFileError, RequestError, WrongKindError, format_names

if TYPE_CHECKING:
    import pandas as pd

    from bench.analysis.audit import Audit
    from bench.core.files import Places
    from bench.data.ground_truth import GroundTruth
    from bench.predictions.handover import Source
    from bench.predictions.table import Predictions, ResolvedPredictions
    from bench.records.result import Result, Supervision
    from bench.scoring.protocol import BoundProtocol, Record
    from bench.tables.model import Table


class ScoringInputs(NamedTuple):
    """Predictions by kind, with the protocol and the ground truth to evaluate them by."""

    protocol: BoundProtocol
    truth: GroundTruth
    predictions: dict[str, Predictions]

    @property
    def made_by(self) -> str:
        """The method that made the predictions, as their file says."""
        return next(iter(self.predictions.values())).about.made_by

    def resolve(self) -> dict[str, ResolvedPredictions]:
        """Match the predictions to the images and classes of the ground truth. Raises BadFileError."""
        from bench.predictions.table import resolve

        return {kind: resolve(predictions, self.truth) for kind, predictions in self.predictions.items()}


@dataclass(frozen=True)
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
    progress: Progress = SILENT,
) -> Iterator[ScoringInputs]:
    """Read predictions, and class scores if those are apart, to be used within the block.

    Raises BadFileError for what breaks a rule, and if the protocol does not accept their kind; RequestError for a split
    without the ground truth that the protocol needs.
    """
    from bench.data.dataset import read_split
    from bench.data.datasets import open_dataset
    from bench.predictions.formats import read_all
    from bench.predictions.handover import as_file

    bound = registry.bind(registry.protocol(protocol).with_conventions(conventions))
    record, scratch = bound.record, places.cache / "handover"
    dataset = open_dataset(data or record.dataset, places, data_options)
    truth = read_split(dataset, split or record.eval_split)
    if (lacking := bound.find_missing_truth(dataset, truth)) is not None:
        raise lacking
    with ExitStack() as files:

        def read(given: Source, kinds: list[str]) -> list[Predictions]:
            file = files.enter_context(as_file(given, truth, kinds, scratch, made_by=name, progress=progress))
            return read_all(file, truth, kinds)

        try:
            found = read(predictions, list(record.predicts))
        except WrongKindError as error:
            raise _suggest_protocols(error, record) from None
        if scores is not None:
            _require_scores(record)
            found += read(scores, ["scores"])
        yield ScoringInputs(bound, truth, {table.kind: table for table in found})


def score(
    protocol: str,
    predictions: Source,
    *,
    places: Places,
    name: str | None = None,
    tuned_on: Supervision = "unknown",
    allow_missing: bool = False,
    **chosen: Any,
) -> Result:
    """Score predictions and record the result. chosen: as `open_inputs`."""
    from bench.records.store import Store
    from bench.scoring.score import make_result
    from bench.scoring.score import score as evaluate

    with open_inputs(protocol, predictions, places=places, name=name, **chosen) as inputs:
        evaluation = evaluate(inputs.protocol, inputs.truth, inputs.resolve(), allow_missing=allow_missing)
        source = _describe_source(inputs, name) | {"tuned_on": tuned_on}
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
    """Return the fields of the record that say where the predictions come from."""
    from bench.core.files import digest
    from bench.core.provenance import read_revision

    digests = {kind: table.digest for kind, table in inputs.predictions.items()}
    return {
        "method": name or inputs.made_by,
        "predictions": digest(digests),
        "predictions_digest": digests,
        "provenance": read_revision(registry.ROOT),
    }


def _suggest_protocols(error: WrongKindError, record: Record) -> BadFileError:
    """Return the error with the protocols that accept the file's kind, those of the same dataset first."""
    others = [registry.protocol(name) for name in registry.protocols()]
    accepting = [other for other in others if set(error.kinds) & set(other.predicts)]
    names = [other.name for other in sorted(accepting, key=lambda other: other.dataset != record.dataset)]
    kinds = " or ".join(error.kinds)
    rule = f"holds {kinds}, but {record.name} evaluates {' or '.join(record.predicts)}; {kinds} are evaluated by"
    return BadFileError(error.file, f"{rule} {format_names(names)} (python -m bench list protocols).")


def _require_scores(record: Record) -> None:
    """Raise RequestError if a protocol takes no class scores in addition."""
    if "scores" not in record.also:
        raise RequestError(f"--scores: {record.name} does not accept class scores in addition to {record.predicts[0]}.")
