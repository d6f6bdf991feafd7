"""What the runs of a plan cost, from steps measured here or from similar runs, and what they need that is missing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bench import registry
from bench.core.toml import read_toml
from bench.data.datasets import DATASETS
from bench.errors import BenchError, MissingDataError
from bench.execution.step_cost import Span, StepCost, compute_cost_key, read_cost
from bench.tables.method_settings import write_value
from bench.tables.operations import GPU, count_prediction, count_training
from bench.tables.plan import Changes, Plan, PlannedRun, PlannedTraining, find_needed_files

if TYPE_CHECKING:
    from bench.core.files import Places
    from bench.data.dataset import Dataset
    from bench.execution.dataset_cache import DatasetCache
    from bench.records.result import Result

ReadResults = Callable[[str], "Sequence[Result]"]
"""Returns the results of a method."""

OTHER_SPLITS = {
    "voc2010": {"test": 9637},
    "voc2012": {"test": 10991},
    "ilsvrc2013-det": {"val1": 9887, "val2": 10234},
}
"""Numbers of images of published splits that this project does not check."""

FROM_FILES = ("cnn-s", "vgg-f")
"""Nets whose ImageNet weights cannot be downloaded automatically."""

WITHOUT_WEIGHTS = ("tiny",)
"""Nets without published weights."""

_FILES = {"googlenetgap": "googlenet", "vgg16-stride8": "vgg16"}
"""Nets that use the weights file of another net."""

_OTHER_RUN = 2.0
"""Factor by which the speed of a new run may differ from that of one recorded at another time or on another machine."""


@dataclass(frozen=True)
class RunCost:
    """What a run takes for all its seeds, apart from its trainings.

    trained: images passed in one training. predicted: images of its split. prediction: seconds. memory_mib, disk_mib:
    of the run alone. source: where the estimate comes from; empty without one. missing: what it needs that is not
    here. failure: why measuring it failed just now; empty if it succeeded or was not requested.
    """

    trained: int | None
    predicted: int | None
    prediction: Span | None
    memory_mib: float | None
    disk_mib: float | None
    source: str
    missing: tuple[str, ...]
    failure: str = ""


@dataclass(frozen=True)
class CostedPlan:
    """A plan with the costs of its runs. trainings: seconds; searches: those of region proposals, by dataset and split.

    operations: floating-point operations of each training and of the predictions of each run.
    """

    plan: Plan
    runs: Mapping[PlannedRun, RunCost]
    trainings: Mapping[PlannedTraining, Span | None]
    searches: Mapping[tuple[str, str], Span | None]
    operations: Mapping[PlannedTraining | PlannedRun, float | None]
    has_gpu: bool

    @property
    def gpu_seconds(self) -> Span | None:
        """The seconds that the operations take on a GPU, each training once; None if any are unknown."""
        return _divide_among_gpu(self.operations.values())

    def get_gpu_seconds(self, runs: Iterable[PlannedRun]) -> Span | None:
        """Return `gpu_seconds` for some of the runs."""
        keys: dict[PlannedTraining | PlannedRun, None] = {}
        for run in runs:
            keys |= dict.fromkeys((run, *run.trainings))
        return _divide_among_gpu(self.operations[key] for key in keys)

    @property
    def seconds(self) -> Span:
        """The sum of all known seconds, with each training and search once."""
        spans = (*self.trainings.values(), *self.searches.values(), *(cost.prediction for cost in self.runs.values()))
        return sum((span for span in spans if span is not None), Span(0.0, 0.0, 0.0))

    @property
    def unknown(self) -> list[PlannedRun]:
        """The runs whose time is unknown."""
        return [run for run in self.runs if self.get_seconds(run) is None]

    @property
    def missing(self) -> dict[str, int]:
        """What is missing here, with the number of runs that need it."""
        return Counter(one for cost in self.runs.values() for one in cost.missing)

    @property
    def failures(self) -> dict[str, int]:
        """The reasons why runs could not be measured, each with the number of runs."""
        return Counter(cost.failure for cost in self.runs.values() if cost.failure)

    def get_seconds(self, run: PlannedRun) -> Span | None:
        """Return the seconds of a run with its trainings, as if no other run shared them; None if unknown."""
        parts = [self.trainings[training] for training in run.trainings] + [self.runs[run].prediction]
        known = [part for part in parts if part is not None]
        return sum(known, Span(0.0, 0.0, 0.0)) if len(known) == len(parts) else None


def _divide_among_gpu(operations: Iterable[float | None]) -> Span | None:
    counted = list(operations)
    known = [one for one in counted if one is not None]
    return Span(*(sum(known) / rate for rate in reversed(GPU))) if len(known) == len(counted) else None


def cost_plan(
    plan: Plan, places: Places, changes: Changes, *, known: ReadResults, failures: Mapping[str, str]
) -> CostedPlan:
    """Estimate the costs of a plan's runs, from steps measured here or from recorded runs.

    known: reads the results of a method. failures: why configurations could not be measured, by their key.
    """
    sizes = SplitSizes(places, changes)
    runs = {run: _look_up(run, sizes, known, failures) for run in plan.runs}
    trainings: dict[PlannedTraining, Span | None] = {}
    searches: dict[tuple[str, str], Span | None] = {}
    operations: dict[PlannedTraining | PlannedRun, float | None] = {}
    for run, found in runs.items():
        operations[run] = count_prediction(run, found.cost.predicted)
        for training in run.trainings:
            operations[training] = count_training(run, found.cost.trained)
            trainings[training] = trainings.get(training) or found.estimate_training(training)
        searches |= {key: span for key, span in found.estimate_searches().items() if searches.get(key) is None}
    return CostedPlan(
        plan, {run: found.cost for run, found in runs.items()}, trainings, searches, operations, find_gpu()
    )


def find_gpu() -> bool:
    """Return whether this machine seems to have a GPU, without asking torch."""
    return any(Path(path).exists() for path in ("/proc/driver/nvidia/version", "/dev/nvidia0", "/dev/kfd"))


def list_known_results(places: Places, published: Path) -> ReadResults:
    """Return a function that reads the results of a method, once per method."""
    from bench.records.collection import read_each
    from bench.records.result import list_records

    @cache
    def read(method: str) -> Sequence[Result]:
        own = [path for path in list_records(published) if path.name.split(".")[1] == method]
        return [stored.result for stored in read_each([*own, *list_records(places.runs / "results")])]

    return read


@dataclass
class SplitSizes:
    """The numbers of images in splits: those on this disk, or as published."""

    places: Places
    changes: Changes

    @cached_property
    def datasets(self) -> DatasetCache:
        """The opened datasets."""
        from bench.execution.dataset_cache import DatasetCache

        return DatasetCache(self.places)

    def _open(self, dataset: str) -> Dataset:
        """Open a dataset. Raises as `open_dataset`; without a data root at once, since opening imports readers."""
        if self.places.data_root is None and dataset in DATASETS and dataset != "shapes":
            raise MissingDataError(dataset, Path("nowhere (no data root is set)"), "Give --data-root DIR.")
        return self.datasets.dataset(dataset, self.changes.data_options)

    def count(self, dataset: str, split: str) -> int | None:
        """Count the images of a split; None if unknown."""
        from bench.data.published import PUBLISHED

        try:
            opened = self._open(dataset)
            return len(self.datasets.ground_truth(opened, split).ids)
        except (BenchError, OSError):
            published = PUBLISHED.get(dataset, {}).get(split, {}).get("images")
            return published or OTHER_SPLITS.get(dataset, {}).get(split)

    def list_missing(self, dataset: str, splits: Iterable[str]) -> list[str]:
        """List what is missing on disk of a dataset; of the images of a split, only a sample is looked for."""
        try:
            opened = self._open(dataset)
        except MissingDataError:
            return [f"data: {dataset}"]
        except (BenchError, OSError) as error:
            return [f"data: {dataset}: {error}"]
        return [one for split in dict.fromkeys(splits) for one in self._list_missing_of(opened, split)]

    def _list_missing_of(self, dataset: Dataset, split: str) -> list[str]:
        try:
            truth = self.datasets.ground_truth(dataset, split)
        except (BenchError, OSError):
            return [f"annotations of {dataset.name} {split}"]
        sample = truth.ids[:: -(-len(truth.ids) // 50) or 1]
        is_whole = not dataset.list_missing_images(sample)
        return [] if is_whole else [f"photographs of {dataset.name} {split}"]


@dataclass(frozen=True)
class _Found:
    """What is known of a run's cost. rates: seconds per image in training and in prediction; None if unknown."""

    run: PlannedRun
    cost: RunCost
    step: StepCost | None
    rates: tuple[Span | None, Span | None]
    sizes: SplitSizes

    def estimate_training(self, training: PlannedTraining) -> Span | None:
        images, rate = training.count_images(self.sizes.count(training.dataset, training.split)), self.rates[0]
        if images is None or rate is None:
            return None
        size = self.sizes.count(training.dataset, training.split) or images
        epochs = images / size * (self.step.epoch if self.step else 0.0)
        return rate.scale(images) + Span(epochs / 2, epochs, epochs * 2)

    def estimate_searches(self) -> dict[tuple[str, str], Span | None]:
        """Estimate the seconds of region proposals for each split that needs them."""
        if not any(key == "proposals" for training in self.run.trainings for key, _ in training.settings):
            return {}
        splits = dict.fromkeys((self.run.split, *(training.split for training in self.run.trainings)))
        return {(self.run.dataset, split): self._estimate_search(split) for split in splits}

    def _estimate_search(self, split: str) -> Span | None:
        images, each = self.sizes.count(self.run.dataset, split), self.step and self.step.proposals
        return Span(each / 1.5, each, each * 1.5).scale(images) if each and images else None


def compute_run_key(run: PlannedRun) -> str:
    """Compute the key of a run's cost."""
    settings = dict(run.trainings[0].settings) if run.trainings else {}
    return compute_cost_key(run.method, settings | dict(run.prediction), run.dataset, _read_kinds(run.protocol))


def _read_kinds(protocol: str) -> str:
    return str(read_toml(registry.find_protocol_file(protocol))["predicts"])


def _look_up(run: PlannedRun, sizes: SplitSizes, known: ReadResults, failures: Mapping[str, str]) -> _Found:
    """Look up what is known of a run: measured steps, or else the speed of a similar run."""
    step = read_cost(sizes.places, key := compute_run_key(run))
    like = None if step else _find_like(run, known(run.method.partition(":")[0]))
    rates = (step.training, step.prediction) if step else _read_rates(like)
    trained = run.trainings[0].count_images(sizes.count(run.dataset, run.trainings[0].split)) if run.trainings else 0
    predicted = sizes.count(run.dataset, run.split)
    cost = RunCost(
        trained=trained,
        predicted=predicted,
        prediction=rates[1].scale(predicted * len(run.seeds)) if rates[1] and predicted is not None else None,
        memory_mib=step.memory_mib if step else None if like is None else like.peak_memory_mib,
        disk_mib=_estimate_disk(step, predicted, len(run.seeds)),
        source=_describe_source(step, like),
        missing=tuple(_list_missing(run, sizes)),
        failure=failures.get(key, ""),
    )
    return _Found(run, cost, step, rates, sizes)


def _estimate_disk(step: StepCost | None, predicted: int | None, seeds: int) -> float | None:
    if step is None or predicted is None:
        return None
    return (step.weights_mib + step.checkpoint_mib + step.stored_kib * predicted / 1024) * seeds


def _describe_source(step: StepCost | None, like: Result | None) -> str:
    if step is not None:
        return f"steps measured on {step.device}, {step.data}"
    return "" if like is None else f"as in {like.address[:8]} on {like.provenance.get('device', 'unknown device')}"


def _read_rates(like: Result | None) -> tuple[Span | None, Span | None]:
    if like is None:
        return None, None
    training, prediction = (like.images_per_second.get(step) for step in ("training", "prediction"))
    return _invert(training), _invert(prediction)


def _invert(rate: float | None) -> Span | None:
    return Span(1 / rate / _OTHER_RUN, 1 / rate, _OTHER_RUN / rate) if rate else None


LIKENESS = ("net", "input_size", "scales", "freeze_backbone", "base", "test_crops", "test_scales", "batch_size")
"""The settings that a recorded run must share with a planned one for their speeds to be comparable."""


def _find_like(run: PlannedRun, results: Sequence[Result]) -> Result | None:
    """Find the latest result of a run similar to this one in its known settings of `LIKENESS`."""
    settings = (dict(run.trainings[0].settings) if run.trainings else {}) | dict(run.prediction)
    wanted = {key: value for key, value in settings.items() if key in LIKENESS}
    needed = {"training", "prediction"} if run.trainings else {"prediction"}
    alike = [
        result
        for result in results
        if run.method in (result.label, result.method)
        and all(write_value(result.config.get(key)) == value for key, value in wanted.items())
        and needed <= {*result.images_per_second}
    ]
    return max(alike, key=lambda result: result.created, default=None)


def _list_missing(run: PlannedRun, sizes: SplitSizes) -> Iterable[str]:
    """List what a run needs and is missing here."""
    splits = [run.split, *(training.split for training in run.trainings)]
    yield from sizes.list_missing(run.dataset, splits)
    settings = dict(run.trainings[0].settings) if run.trainings else {}
    yield from find_needed_files(run)
    if settings and settings.get("weights", "imagenet") == "imagenet":
        yield from _list_missing_weights(settings["net"])
    if dict(run.settings).get("crf") == "true":
        from bench.predictions import dense_crf

        if not dense_crf.is_installed():
            yield "package: pydensecrf2 (pip install 'weakloc[crf]')"


def _list_missing_weights(net: str) -> Iterable[str]:
    if net in WITHOUT_WEIGHTS:
        yield f"weights: {net} has none (--set weights=none)"
        return
    if net in FROM_FILES:
        yield f"weights: {net} (from a published file: --weights FILE)"
        return
    home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "torch"
    if not any(Path(home, "hub", "checkpoints").glob(f"{_FILES.get(net, net)}-*.pth")):
        yield f"weights: {net} (downloaded when first used)"
