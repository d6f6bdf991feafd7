"""Pictures of a run: the images it did worst and best on, with its predictions and the ground truth.

Everything is read from the runs folder; maps that were not kept are recomputed from the kept weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.core.files import Places
from bench.data.datasets import Dataset
from bench.data.ground_truth import GroundTruth
from bench.data.pixels import read_pixels
from bench.errors import BenchError
from bench.gallery.drawing import canvas
from bench.gallery.evaluated import Evaluated, load_evaluated
from bench.gallery.image_card import TAU, Example, Maps, Run, evaluate_images, example
from bench.predictions.formats import read_any
from bench.predictions.table import ResolvedPredictions, locate_predictions, resolve
from bench.records.collection import StoredResult
from bench.records.result import Result
from bench.records.store import Store

KINDS_OF_MAPS = ("maps", "objectness")


@dataclass(frozen=True)
class Sheet:
    """Drawn images of a run by title, such as `Worst` and `Best`."""

    result: Result
    examples: dict[str, tuple[Example, ...]]
    notes: tuple[str, ...]


def sheet(kept: StoredResult, places: Places, number: int, options: Mapping[str, Any] = MappingProxyType({})) -> Sheet:
    """Draw the `number` worst and best images of a stored result. options: for its dataset.

    Raises MissingDataError if predictions, outcomes or ground truth are missing, RequestError if the truth differs.
    """
    evaluated = load_evaluated(kept, places, options)
    return draw_images(kept, places, evaluated, lambda outcomes: choose_images(outcomes, evaluated.truth, number))


def draw_images(
    kept: StoredResult, places: Places, evaluated: Evaluated, choose: Callable[[pa.Table], Mapping[str, Sequence[int]]]
) -> Sheet:
    """Draw images of a stored result. choose: maps its outcomes to image indices by title."""
    result, (dataset, truth, found, outcomes) = kept.result, evaluated
    table = pq.read_table(outcomes)
    chosen, values = choose(table), evaluate_images(table, len(truth.ids))
    rows = list(dict.fromkeys(row for some in chosen.values() for row in some))
    missing = dataset.list_missing_images([truth.ids[row] for row in rows])
    maps, notes = _find_maps(
        result, Store(places), dataset, truth, [row for row in rows if truth.ids[row] not in missing]
    )
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


def choose_images(outcomes: pa.Table, truth: GroundTruth, number: int) -> dict[str, list[int]]:
    """Return the rows of the worst and best images by title, or of the first ones if no image has a value of its own.

    Titles without images are left out.
    """
    values = evaluate_images(outcomes, len(truth.ids))
    evaluated = np.flatnonzero(np.isfinite(values))
    if not len(evaluated):
        return {"First": np.argsort(truth.id_rank)[:number].tolist()}
    ordered = evaluated[np.lexsort((truth.id_rank[evaluated], values[evaluated]))]
    backward = evaluated[np.lexsort((truth.id_rank[evaluated], -values[evaluated]))]
    worst = ordered[: (number + 1) // 2].tolist()
    chosen = {"Worst": worst, "Best": [row for row in backward.tolist() if row not in worst][: number // 2]}
    return {title: rows for title, rows in chosen.items() if rows}


def _masks(found: Mapping[str, ResolvedPredictions], rows: Sequence[int]) -> dict[int, NDArray[Any]]:
    if "masks" not in found:
        return {}
    pairs = zip(found["masks"].image.tolist(), found["masks"].arrays(), strict=True)
    return {image: mask for image, mask in pairs if image in rows}


def _find_maps(
    result: Result, store: Store, dataset: Dataset, truth: GroundTruth, rows: Sequence[int]
) -> tuple[Maps, tuple[str, ...]]:
    """Return the maps of some images, and notes on why any are missing."""
    try:
        return read_maps(result, store, dataset, truth, rows), ()
    except BenchError as error:
        return {}, (f"Without maps: {error}",)


def read_maps(result: Result, store: Store, dataset: Dataset, truth: GroundTruth, rows: Sequence[int]) -> Maps:
    """Read the kept maps of some images, or recompute them. Raises BenchError if neither works."""
    from bench.gallery.recompute_maps import recompute_maps

    ids, folder = {truth.ids[row] for row in rows}, store.predictions_folder(result.predictions)
    for kind in KINDS_OF_MAPS:
        if locate_predictions(folder, kind).is_dir():
            found = resolve(read_any(locate_predictions(folder, kind), truth, [kind]), truth)
            named = zip(found.image.tolist(), found.label.tolist(), found.arrays(), strict=True)
            kept = ((truth.ids[image], truth.classes[label] if label >= 0 else "", map) for image, label, map in named)
            return {(image, label): map for image, label, map in kept if image in ids}
    return recompute_maps(result, store, dataset, truth.subset([truth.ids[row] for row in rows], split=truth.split))
