"""Pictures of a run: the images that it did worst and best on, with what it said of them and what was true.

Everything is read from what the runs folder keeps; maps that were not kept are made again from the kept weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench import registry
from bench.core.files import Places
from bench.data.dataset import read_split
from bench.data.datasets import Dataset, open_dataset
from bench.data.ground_truth import GroundTruth, Part
from bench.data.pixels import read_pixels
from bench.errors import BenchError, MissingDataError, RequestError
from bench.gallery.drawing import canvas
from bench.gallery.image_card import TAU, Example, Maps, Run, example, goodness
from bench.predictions.formats import read_any
from bench.predictions.table import ResolvedPredictions, locate_predictions, resolve
from bench.records.collection import StoredResult
from bench.records.result import Result
from bench.records.store import Store


@dataclass(frozen=True)
class Sheet:
    """The images of a run, by what they are: `Worst`, `Best`."""

    result: Result
    examples: dict[str, tuple[Example, ...]]
    notes: tuple[str, ...]


def sheet(kept: StoredResult, places: Places, number: int, options: Mapping[str, Any] = MappingProxyType({})) -> Sheet:
    """Draw the `number` worst and best images of a stored result; options: those of its dataset.

    Raises MissingDataError where predictions, outcomes or truth are not here, RequestError for another truth.
    """
    result = kept.result
    outcomes, folder = _locate_files(kept, places)
    dataset = open_dataset(result.dataset, places, options)
    truth = read_split(dataset, result.split)
    if result.truth_digest not in (truth.digest, *map(truth.digest_part, get_args(Part))):
        raise RequestError(
            f"{result.dataset} {result.split} is not what result {result.address} was evaluated on: its truth is "
            f"{truth.digest}, not {result.truth_digest}. Give the dataset's options (--data-option), or run it again."
        )
    found = {
        kind: resolve(read_any(locate_predictions(folder, kind), truth, [kind]), truth)
        for kind in result.predictions_digest
    }
    table = pq.read_table(outcomes)
    chosen, values = _choose_images(table, truth, number)
    rows = [row for some in chosen.values() for row in some]
    missing = dataset.list_missing_images([truth.ids[row] for row in rows])
    maps, notes = _maps(result, Store(places), dataset, truth, [row for row in rows if truth.ids[row] not in missing])
    run = Run(truth, found, table, _masks(found, rows), maps, result.config.get("tau", TAU))
    if missing:
        where = dataset.image_path(missing[0]).parent
        notes = (*notes, f"Photographs that are not in {where.name}: {', '.join(missing)}. {dataset.how_to_get}")

    def make_example(row: int) -> Example:
        absent = truth.ids[row] in missing
        pixels = canvas(*truth.size[row].tolist()) if absent else read_pixels(dataset.image_path(truth.ids[row]))
        return example(run, row, float(values[row]), pixels)

    examples = {title: tuple(map(make_example, some)) for title, some in chosen.items()}
    return Sheet(result, examples, notes)


def _locate_files(kept: StoredResult, places: Places) -> tuple[Path, Path]:
    """Outcomes and predictions of a result. Raises MissingDataError."""
    result = kept.result
    again = f"Run it again: python -m bench run --method {result.label} --protocol {result.protocol} ..."
    if result.method not in registry.methods():
        again = "They were scored from a file, of which nothing is kept: only runs have pictures."
    outcomes, folder = kept.record.with_suffix(".parquet"), Store(places).predictions_folder(result.predictions)
    if not folder.is_dir():
        raise MissingDataError(f"The predictions of result {result.address}", folder, again)
    if not outcomes.is_file():
        raise MissingDataError(f"The outcomes per image of result {result.address}", outcomes, again)
    return outcomes, folder


def _choose_images(
    outcomes: pa.Table, truth: GroundTruth, number: int
) -> tuple[dict[str, list[int]], NDArray[np.float64]]:
    """Rows of the images to show, by title, and what every image (N,) was evaluated as; NaN: not by itself."""
    image = outcomes["image"].to_numpy()
    good = goodness(outcomes)
    with np.errstate(invalid="ignore"):
        values = np.bincount(image, good, len(truth.ids)) / np.bincount(image, minlength=len(truth.ids))
    evaluated = np.flatnonzero(np.isfinite(values))
    if not len(evaluated):
        return {"First": np.argsort(truth.id_rank)[:number].tolist()}, values
    ordered = evaluated[np.lexsort((truth.id_rank[evaluated], values[evaluated]))]
    backward = evaluated[np.lexsort((truth.id_rank[evaluated], -values[evaluated]))]
    worst = ordered[: (number + 1) // 2].tolist()
    return {"Worst": worst, "Best": [row for row in backward.tolist() if row not in worst][: number // 2]}, values


def _masks(found: Mapping[str, ResolvedPredictions], rows: Sequence[int]) -> dict[int, NDArray[Any]]:
    if "masks" not in found:
        return {}
    pairs = zip(found["masks"].image.tolist(), found["masks"].arrays(), strict=True)
    return {image: mask for image, mask in pairs if image in rows}


def _maps(
    result: Result, store: Store, dataset: Dataset, truth: GroundTruth, rows: Sequence[int]
) -> tuple[Maps, tuple[str, ...]]:
    """Return the maps of some images, stored or recomputed, and notes on why any are missing."""
    from bench.gallery.recompute_maps import recompute_maps

    ids, folder = {truth.ids[row] for row in rows}, store.predictions_folder(result.predictions)
    for kind in ("maps", "objectness"):
        if locate_predictions(folder, kind).is_dir():
            found = resolve(read_any(locate_predictions(folder, kind), truth, [kind]), truth)
            named = zip(found.image.tolist(), found.label.tolist(), found.arrays(), strict=True)
            kept = ((truth.ids[image], truth.classes[label] if label >= 0 else "", map) for image, label, map in named)
            return {(image, label): map for image, label, map in kept if image in ids}, ()
    try:
        return recompute_maps(
            result, store, dataset, truth.subset([truth.ids[row] for row in rows], split=truth.split)
        ), ()
    except BenchError as error:
        return {}, (f"Without maps: {error}",)
