"""The images of a split, with each run's predictions on them, or its outcomes alone where predictions are missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import registry
from bench.core.files import Places, digest, file_digest, list_files
from bench.core.progress import SILENT, Progress
from bench.core.source_code import digest_code
from bench.data.dataset import Dataset, read_split
from bench.data.datasets import open_dataset
from bench.data.ground_truth import ONLY_DIFFICULT, GroundTruth
from bench.data.pixels import read_indices
from bench.errors import BenchError
from bench.gallery.contact_sheet import KINDS_OF_MAPS, choose_images, read_maps
from bench.gallery.evaluated import read_predictions, require_truth
from bench.gallery.image_card import Run, evaluate_images
from bench.gallery.layers import MAP_SIDE, MASK_SIDE, Cell, keep_cells, make_map_cell, make_mask_cell
from bench.predictions.table import ResolvedPredictions, locate_predictions
from bench.records.collection import StoredResult, read_or_leave_out
from bench.records.outcomes import Outcomes, read_outcomes
from bench.records.result import Result
from bench.records.store import Store

BOXES, SCORES = 5, 3
"""The most boxes of a class, and the most classes of an image by score, that a page shows."""


SECONDS, SLOW = 5, 1
"""The most seconds that recomputing a run's maps may take; the images per second assumed of an untimed run."""

_DRAWING = ("bench/data/pixels.py", "bench/gallery", "bench/predictions")
"""The code that cells of maps and masks depend on."""


class Where(NamedTuple):
    """The images that results share. ids: the digest of the split's ids. options: of the dataset, as JSON."""

    dataset: str
    split: str
    ids: str
    options: str


@dataclass(frozen=True, eq=False)
class RunImages:
    """A run's predictions and outcomes on a split.

    values: (N,), the mean of each image's rated outcomes, NaN without any. chosen: rows by title, `Worst` and `Best`;
    empty if predictions are missing. masks, maps: cells, by `ROW` and by `ROW-CLASS`. state: digest of the files that
    all this is read from. describe: makes the value of `said`.
    """

    result: Result
    values: NDArray[np.float64]
    chosen: Mapping[str, Sequence[int]]
    masks: Mapping[str, Cell]
    maps: Mapping[str, Cell]
    state: str
    describe: Callable[[], Mapping[int, str]]

    @cached_property
    def said(self) -> Mapping[int, str]:
        """By row, what `describe_said` returns, as JSON; predictions are read on first access."""
        return self.describe()


@dataclass(frozen=True, eq=False)
class SplitImages:
    """Images of a split, as rows of its ground truth, and the predictions of runs on them."""

    where: Where
    dataset: Dataset
    truth: GroundTruth
    rows: tuple[int, ...]
    runs: tuple[RunImages, ...]

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """Mean over runs (N,) of each image's value; NaN if no run has one."""
        values = np.stack([run.values for run in self.runs])
        count = np.isfinite(values).sum(axis=0)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.nansum(values, axis=0) / count)

    @cached_property
    def shown(self) -> dict[int, list[int]]:
        """The classes that each image shows, by row."""
        return {row: list_shown(self.truth, row) for row in self.rows}


def list_shown(truth: GroundTruth, row: int) -> list[int]:
    """List the classes that an image shows, difficult ones too."""
    shown: list[int] = np.flatnonzero(truth.labels[row] >= ONLY_DIFFICULT).tolist()
    return shown


def list_rows(chosen: Iterable[Mapping[str, Sequence[int]]]) -> list[int]:
    """List every chosen row once."""
    return sorted({row for titles in chosen for some in titles.values() for row in some})


def collect_splits(
    known: Sequence[StoredResult], places: Places, number: int, progress: Progress = SILENT
) -> Iterator[SplitImages]:
    """Collect the `number` worst and best images of each run with stored predictions, by split.

    Results without stored predictions contribute their outcomes. What cannot be shown is reported and left out.
    """
    store = Store(places)
    ordered = sorted(known, key=lambda one: (_find_where(one.result), one.result.address))
    for where, group in groupby(ordered, key=lambda one: _find_where(one.result)):
        some = [*group]
        if any(store.has_predictions(one.result) for one in some):
            try:
                yield _Collector(where, store, number, progress).collect(some)
            except BenchError as error:
                progress.say(f"note: no images of {where.dataset} {where.split}: {error}")


def _find_where(result: Result) -> Where:
    options = json.dumps(result.data_options, sort_keys=True, default=str)
    return Where(result.dataset, result.split, result.ids_digest, options)


class _Collector:
    """Collects one split. Raises BenchError if its dataset or ground truth is missing."""

    def __init__(self, where: Where, store: Store, number: int, progress: Progress) -> None:
        self.where, self.store, self.number, self.progress = where, store, number, progress
        self.dataset = open_dataset(where.dataset, store.places, json.loads(where.options))
        self.truth = read_split(self.dataset, where.split)
        self.cache = store.places.cache / "layers"
        self._shown = [list_shown(self.truth, row) for row in range(len(self.truth.ids))]

    def collect(self, group: Sequence[StoredResult]) -> SplitImages:
        """Choose images of each run with predictions, then read every run's predictions on all chosen images."""
        runs, chosen = [], dict[str, dict[str, list[int]]]()
        for one in group:
            try:
                require_truth(one.result, self.truth)
            except BenchError as error:
                self.progress.say(f"note: no images of result {one.result.address}: {error}")
                continue
            if (found := read_or_leave_out(_read_outcomes, one)) is not None:
                runs.append((one, found))
                if self.store.has_predictions(one.result):
                    chosen[one.result.address] = choose_images(found.table, self.truth, self.number)
        rows = list_rows(chosen.values())
        own = {one.result.predictions: list[Mapping[str, Sequence[int]]]() for one, _ in runs}
        for one, _ in runs:
            own[one.result.predictions].append(chosen.get(one.result.address, {}))
        with self.progress.task(f"images of {self.where.dataset} {self.where.split}", len(runs), unit="runs") as step:
            read = []
            for one, found in runs:
                mapped = list_rows(own[one.result.predictions])
                read.append(self._read_run(one, found, chosen.get(one.result.address, {}), rows, mapped))
                step()
        return SplitImages(self.where, self.dataset, self.truth, tuple(rows), tuple(read))

    def _read_run(
        self,
        one: StoredResult,
        outcomes: Outcomes,
        chosen: Mapping[str, Sequence[int]],
        rows: Sequence[int],
        mapped: Sequence[int],
    ) -> RunImages:
        """Read a run's predictions on `rows`. mapped: the rows whose maps are recomputed if none were kept."""
        values = evaluate_images(outcomes.table, len(self.truth.ids))
        masks = self._keep_masks(one.result) if chosen and "masks" in one.result.predictions_digest else {}
        maps = self._keep_maps(one.result, rows, mapped) if chosen else {}
        state = digest([self._list_files(one), chosen, [*masks], [*maps]])
        describe = partial(self._describe, one, outcomes, values, rows, bool(chosen))
        return RunImages(one.result, values, chosen, masks, maps, state, describe)

    def _list_files(self, one: StoredResult) -> list[Any]:
        """List a record, the digest of its outcomes, and its stored prediction files."""
        files = self._list_predictions(one.result) if self.store.has_predictions(one.result) else []
        return [one.result.model_dump_json(), file_digest(one.record.with_suffix(".parquet")), files]

    def _list_predictions(self, result: Result) -> list[Any]:
        """List prediction files with size and time, which differ once they are made again at the same address."""
        files = list_files(self.store.predictions_folder(result.predictions))
        return [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]

    def _describe(
        self, one: StoredResult, outcomes: Outcomes, values: NDArray[np.float64], rows: Sequence[int], is_here: bool
    ) -> dict[int, str]:
        """Describe a run's predictions on each row, as JSON."""
        is_drawn = is_here and {"boxes", "points", "scores"} & one.result.predictions_digest.keys()
        run = Run(self.truth, self._read_predictions(one.result) if is_drawn else {}, outcomes.table, {}, {})
        return {row: json.dumps(describe_said(run, row, values[row], self._shown[row])) for row in rows}

    def _read_predictions(self, result: Result) -> dict[str, ResolvedPredictions]:
        try:
            return read_predictions(result, self.store.predictions_folder(result.predictions), self.truth)
        except BenchError as error:
            self.progress.say(f"note: no predictions of result {result.address}: {error}")
            return {}

    def _keep_masks(self, result: Result) -> Mapping[str, Cell]:
        def make(_: Sequence[int]) -> Iterator[tuple[str, Cell]]:
            found = read_predictions(result, self.store.predictions_folder(result.predictions), self.truth)["masks"]
            for row, mask in zip(found.image.tolist(), found.arrays(), strict=True):
                yield str(row), make_mask_cell(mask, *self.measure(row, mask))

        return self._keep_cells(result, "masks", MASK_SIDE, [*range(len(self.truth.ids))], make)

    def _keep_maps(self, result: Result, rows: Sequence[int], mapped: Sequence[int]) -> Mapping[str, Cell]:
        """Cache the stored maps of `rows`, or else recomputed ones of `mapped`, if that takes only seconds."""
        folder = self.store.predictions_folder(result.predictions)
        if not any(locate_predictions(folder, kind).is_dir() for kind in KINDS_OF_MAPS):
            rows = mapped
            if len(rows) > SECONDS * result.images_per_second.get("prediction", SLOW):
                return {}
        missing = {*self.dataset.list_missing_images([self.truth.ids[row] for row in rows])}
        rows = [row for row in rows if self.truth.ids[row] not in missing]

        def make(rows: Sequence[int]) -> Iterator[tuple[str, Cell]]:
            for (image, name), map in read_maps(result, self.store, self.dataset, self.truth, rows).items():
                row, label = self.truth.index[image], self.truth.class_index.get(name, -1)
                if label < 0 or label in self._shown[row]:
                    yield f"{row}-{label}", make_map_cell(map, *self.measure(row, map))

        return self._keep_cells(result, "maps", MAP_SIDE, rows, make)

    def _keep_cells(
        self, result: Result, kind: str, side: int, rows: Sequence[int], make: Callable[[Sequence[int]], Any]
    ) -> Mapping[str, Cell]:
        files, code = self._list_predictions(result), digest_code(registry.ROOT, *_DRAWING)
        key = [result.predictions, files, self.where, kind, side, code]
        try:
            return keep_cells(self.cache / f"{digest(key)}.parquet", rows, make)
        except BenchError as error:
            self.progress.say(f"note: no {kind} of result {result.address}: {error}")
            return {}

    def measure(self, row: int, array: NDArray[Any]) -> tuple[int, int]:
        """Return the width and height of an image, or of an array (h, w) on it where they are unknown."""
        width, height = self.truth.size[row].tolist()
        return width or array.shape[1], height or array.shape[0]


def _read_outcomes(one: StoredResult) -> Outcomes | None:
    return read_outcomes(one.record, one.result)


def describe_said(run: Run, row: int, value: float, shown: Sequence[int]) -> dict[str, Any]:
    """Describe a run's predictions on an image, with classes as indices into `shown`; empty parts are left out."""
    truth, described = run.truth, dict[str, Any]()
    hits = {place: hit for place, label in enumerate(shown) if (hit := run.is_hit(row, label)) is not None}
    boxes = [[n, *_round(box)] for n, label in enumerate(shown) for box in _first(run, "boxes", row, label, BOXES)]
    points = [[n, *_round(point)] for n, label in enumerate(shown) for point in _first(run, "points", row, label, 1)]
    if "scores" in run.found and not {"points", "boxes"} & run.found.keys():
        described["scores"] = _list_scores(run.found["scores"], truth, row)
    described |= {"hits": hits, "boxes": boxes, "points": points}
    described["value"] = round(float(value), 3) if np.isfinite(value) else None
    return {name: part for name, part in described.items() if part not in ([], {}, None)}


def _first(run: Run, kind: str, row: int, label: int, number: int) -> list[list[float]]:
    """List the best boxes or points of an image and class, clipped to twice the image's larger side."""
    found = run.select(kind, row, label)
    if found is None:
        return []
    most = 2.0 * max(*run.truth.size[row].tolist(), 1)
    listed: list[list[float]] = np.clip(found[:number], -most, most).tolist()
    return listed


def _round(numbers: Sequence[float]) -> list[float]:
    return [int(number) if number == int(number) else round(number, 1) for number in numbers]


def _list_scores(found: ResolvedPredictions, truth: GroundTruth, row: int) -> list[tuple[str, float]]:
    """List the classes that score best on an image, with their scores."""
    mine = np.flatnonzero(found.image == row)
    best = mine[np.argsort(-found.score[mine], kind="stable")][:SCORES].tolist()
    return [(truth.classes[found.label[at]], round(float(found.score[at]), 2)) for at in best]


def read_true_mask(truth: GroundTruth, row: int) -> Cell | None:
    """Read an image's true class mask as a cell; None if it has none."""
    if truth.masks is None or not truth.masks.indexed or not truth.masks.files[row]:
        return None
    mask = read_indices(truth.masks.files[row][0])
    width, height = truth.size[row].tolist()
    return make_mask_cell(mask, width or mask.shape[1], height or mask.shape[0])
