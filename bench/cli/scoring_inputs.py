"""The options of verbs that read predictions from files (`score`, `audit`), and the reading of those files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from bench import registry
from bench.cli import options
from bench.errors import BadFileError, RequestError, WrongKindError, format_names

if TYPE_CHECKING:
    from bench.core.files import Places
    from bench.data.ground_truth import GroundTruth
    from bench.predictions.table import Predictions, ResolvedPredictions
    from bench.scoring.protocol import BoundProtocol, Record

FORMATS = "Parquet, COCO results JSON, CSV, or a folder of VOC text files, PNG masks, .npy maps or weakloc shards."


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


scoring_options = options.combine(
    click.option(
        "--protocol",
        required=True,
        metavar="NAME",
        shell_complete=options.make_completer("protocols"),
        help="Protocol to evaluate under.",
    ),
    click.option("--predictions", "file", type=options.FILE, required=True, help=FORMATS),
    click.option(
        "--scores", "scores_file", type=options.FILE, help="File with class scores, if they are in another file."
    ),
    options.conventions,
    options.data,
    click.option("--split", help="Evaluate on this split instead of the protocol's."),
    options.places,
    options.plugin,
)


def read_scoring_inputs(
    *,
    protocol: str,
    file: Path,
    scores_file: Path | None,
    conventions: dict[str, Any],
    data: str | None,
    data_options: dict[str, Any],
    split: str | None,
    places: Places,
) -> ScoringInputs:
    """Read the files that `scoring_options` name. Raises BadFileError if the protocol does not accept their kind."""
    from bench.data.dataset import read_split
    from bench.data.datasets import open_dataset
    from bench.predictions.formats import read_all

    bound = registry.bind(registry.protocol(protocol).with_conventions(conventions))
    dataset = open_dataset(data or bound.record.dataset, places, data_options)
    truth = read_split(dataset, split or bound.record.eval_split)
    try:
        predictions = read_all(file, truth, bound.record.predicts)
    except WrongKindError as error:
        raise _suggest_protocols(error, bound.record) from None
    if scores_file is not None:
        predictions += _read_scores(scores_file, truth, bound)
    return ScoringInputs(bound, truth, {table.kind: table for table in predictions})


def _suggest_protocols(error: WrongKindError, record: Record) -> BadFileError:
    """Return the error with the protocols that accept the file's kind, those of the same dataset first."""
    others = [registry.protocol(name) for name in registry.protocols()]
    accepting = [other for other in others if set(error.kinds) & set(other.predicts)]
    names = [other.name for other in sorted(accepting, key=lambda other: other.dataset != record.dataset)]
    kinds = " or ".join(error.kinds)
    rule = f"holds {kinds}, but {record.name} evaluates {' or '.join(record.predicts)}; {kinds} are evaluated by"
    return BadFileError(error.file, f"{rule} {format_names(names)} (python -m bench list protocols).")


def _read_scores(file: Path, truth: GroundTruth, bound: BoundProtocol) -> list[Predictions]:
    from bench.predictions.formats import read_all

    if "scores" not in bound.record.also:
        raise RequestError(
            f"--scores: {bound.record.name} does not accept class scores in addition to {bound.record.predicts[0]}."
        )
    return read_all(file, truth, ["scores"])
