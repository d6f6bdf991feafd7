"""The data behind a stored result: its dataset, ground truth, predictions and outcomes, read from the runs folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, get_args

from bench import registry
from bench.core.files import Places
from bench.data.dataset import read_split
from bench.data.datasets import Dataset, open_dataset
from bench.data.ground_truth import GroundTruth, Part
from bench.errors import MissingDataError, RequestError
from bench.predictions.formats import read_any
from bench.predictions.table import ResolvedPredictions, locate_predictions, resolve
from bench.records.collection import StoredResult
from bench.records.result import Result
from bench.records.store import Store


class Evaluated(NamedTuple):
    """The data behind a result. found: predictions by kind. outcomes: the file of outcomes per image."""

    dataset: Dataset
    truth: GroundTruth
    found: dict[str, ResolvedPredictions]
    outcomes: Path


def load_evaluated(kept: StoredResult, places: Places, options: Mapping[str, Any] = MappingProxyType({})) -> Evaluated:
    """Load the data behind a stored result. options: for its dataset, overriding the recorded ones.

    Raises MissingDataError if predictions, outcomes or ground truth are missing, RequestError if the truth differs.
    """
    result = kept.result
    outcomes, folder = _locate_files(kept, places)
    dataset = open_dataset(result.dataset, places, {**result.data_options, **options})
    truth = read_split(dataset, result.split)
    require_truth(result, truth)
    return Evaluated(dataset, truth, read_predictions(result, folder, truth), outcomes)


def require_truth(result: Result, truth: GroundTruth) -> None:
    """Raise RequestError if a result was evaluated on another ground truth."""
    if result.truth_digest not in (truth.digest, *map(truth.digest_part, get_args(Part))):
        raise RequestError(
            f"{result.dataset} {result.split} is not what result {result.address} was evaluated on: its truth is "
            f"{truth.digest}, not {result.truth_digest}. Give the dataset's options (--data-option), or run it again."
        )


def read_predictions(result: Result, folder: Path, truth: GroundTruth) -> dict[str, ResolvedPredictions]:
    """Read the predictions that a result evaluated, by kind. Raises BadFileError."""
    return {
        kind: resolve(read_any(locate_predictions(folder, kind), truth, [kind]), truth)
        for kind in result.predictions_digest
    }


def _locate_files(kept: StoredResult, places: Places) -> tuple[Path, Path]:
    """Return the outcomes file and the predictions folder of a result. Raises MissingDataError."""
    result = kept.result
    again = f"Run it again: python -m bench show run {result.address} ends with the command."
    if result.method not in registry.methods():
        again = "They were scored from a file, of which nothing is kept: only runs have pictures."
    outcomes, folder = kept.record.with_suffix(".parquet"), Store(places).predictions_folder(result.predictions)
    if not folder.is_dir():
        raise MissingDataError(f"The predictions of result {result.address}", folder, again)
    if not outcomes.is_file():
        raise MissingDataError(f"The outcomes per image of result {result.address}", outcomes, again)
    return outcomes, folder
