"""Measure the cost of a run from a few of its steps: the training itself, stopped early, then a few predictions.

If the data is not on disk, generated images with the same number of classes take its place.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from bench import registry
from bench.core import provenance
from bench.core.files import IMAGE_CACHE_MIB, Places
from bench.core.progress import SILENT, Step
from bench.data.dataset import Dataset
from bench.data.ground_truth import ABSENT, PRESENT, GroundTruth
from bench.data.shapes import open_shapes
from bench.errors import MissingDataError
from bench.execution.dataset_cache import DatasetCache
from bench.execution.resolve import ResolvedRun, resolve_request
from bench.execution.step_cost import Span, StepCost, estimate_mean
from bench.execution.threads import open_pool
from bench.method import Attribution, Predictor, Task
from bench.tables.operations import count_classes
from bench.training import loop
from bench.training.batches import BatchSource, make_batch_source, plan
from bench.training.device import pick_device
from bench.training.inputs import Images, sizes
from bench.training.predict import Split, predict

if TYPE_CHECKING:
    import torch

    from bench.execution.request import Request
    from bench.method import MapMethod, ProposalMethod, TrainedConfig

STEPS = 40
"""The most steps that are taken."""

_BATCHES = 4
"""Batches in the sample, and so steps per epoch."""

_SIDE = 480
"""The side of generated images, in pixels: about that of the photographs of VOC and COCO."""

_MIB = 2**20


class _EnoughError(Exception):
    """Ends a training whose steps have been timed."""


@dataclass
class _Stopwatch:
    """A `Progress` that records when each step ended, and ends the work after `seconds` and at least `least` steps."""

    seconds: float
    least: int
    device: torch.device
    ends: list[float] = field(default_factory=list)

    @contextmanager
    def task(self, title: str, total: int, *, start: int = 0, unit: str = "images") -> Iterator[Step]:
        """Record the end of each step."""
        begin = time.monotonic()

        def step(done: int = 1, **figures: float) -> None:
            if self.device.type == "cuda":
                import torch

                torch.cuda.synchronize(self.device)
            self.ends.append(time.monotonic())
            if len(self.ends) > max(STEPS, self.least) or (
                len(self.ends) > self.least and self.ends[-1] - begin > self.seconds
            ):
                raise _EnoughError

        yield step

    def say(self, text: str) -> None:
        """Ignore a message of the run."""


class _Sample(Dataset):
    """A few images of a dataset, or generated ones in their place; all splits have the same images."""

    how_to_get = ""

    def __init__(self, name: str, truth: GroundTruth, images: Dataset, recipe: dict[str, Any]) -> None:
        self.name, self.classes, self.recipe = name, truth.classes, recipe
        self._truth, self._images = truth, images

    def splits(self) -> tuple[str, ...]:
        return (self._truth.split,)

    def ground_truth(self, split: str) -> GroundTruth:
        return replace(self._truth, split=split)

    def image_path(self, image: str) -> Path:
        return self._images.image_path(image)


class _SampledCache(DatasetCache):
    """A cache that returns the sample in place of any dataset."""

    def __init__(self, places: Places, sample: _Sample, workers: int, device: torch.device) -> None:
        self.searched = _Stopwatch(math.inf, STEPS * STEPS, device)
        super().__init__(places, self.searched, workers)
        self._sample = sample

    def dataset(self, name: str | None, options: Any) -> Dataset:
        """Return the sample."""
        return self._sample


def measure(
    request: Request,
    places: Places,
    *,
    images_of_split: int | None,
    device: str = "auto",
    threads: int | None = None,
    workers: int = 2,
    seconds: float = 8.0,
) -> StepCost:
    """Measure a request's training steps for about `seconds`, and its predictions for as long.

    images_of_split: the size of the training split, which determines whether decoded images would stay in memory.
    Raises a subclass of RequestError for a request that cannot be run.
    """
    chosen, folder = pick_device(device), Path(tempfile.mkdtemp(prefix="weakloc-measure-"))
    try:
        with open_pool(chosen, threads, SILENT) as pool, registry.without_weights():
            resolved, data = _resolve(request, places, folder, chosen, pool.count, workers)
            return _measure(resolved, data, folder, images_of_split, chosen, workers, seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _resolve(
    request: Request, places: Places, folder: Path, device: torch.device, threads: int, workers: int
) -> tuple[ResolvedRun, str]:
    """Resolve a request on a sample of its data; also return a description of the sample."""
    size = _choose_sample_size(request, places)
    try:
        sample, data = _sample_dataset(request, places, size), "its own images"
    except MissingDataError:
        sample, data = _generate(str(request.protocol.dataset), folder, size), "generated images"
        if "hierarchy" in registry.parse(request.method, request.settings)[0].Config.model_fields:
            hierarchy = str(write_hierarchy(folder, sample.classes))
            request = replace(request, settings={**request.settings, "hierarchy": hierarchy})
    cache = _SampledCache(Places(folder, places.data_root), sample, workers, device)  # without cached proposals
    return resolve_request(request, cache, device=device, threads=threads), data


def _choose_sample_size(request: Request, places: Places) -> int:
    """Choose the number of images: a few batches, and at least 8 for region methods, whose batches are small."""
    cls, variant = registry.parse(request.method, request.settings)
    settings = {key: value for key, value in request.settings.items() if key in cls.Config.model_fields}
    name = request.data or str(request.protocol.dataset)
    settled = registry.settle(cls, variant, dataset=name, recipe={}, settings=settings, paper=request.recipe == "paper")
    batch = settled.get("batch_size")
    return max(8, _BATCHES * int(batch.value)) if batch else 64


def _sample_dataset(request: Request, places: Places, size: int) -> _Sample:
    """Take the first images of the training split that are on disk. Raises MissingDataError if there are too few."""
    dataset = DatasetCache(places).dataset(request.data or request.protocol.dataset, request.data_options)
    truth = dataset.ground_truth(request.train_split or request.protocol.train_split)
    there = [image for image in truth.ids[: 20 * size] if dataset.image_path(image).is_file()][:size]
    if len(there) < min(size, len(truth.ids), 8):
        raise MissingDataError(f"Images of {dataset.name}", dataset.image_path(truth.ids[0]), dataset.how_to_get)
    return _Sample(dataset.name, truth.subset(there, split=truth.split), dataset, dataset.recipe)


def _generate(name: str, folder: Path, size: int) -> _Sample:
    """Generate images in place of a dataset's, each of one class."""
    shapes = open_shapes(Places(folder), {"size": _SIDE, "train": size, "val": 1, "test": 1})
    truth = shapes.ground_truth("train")
    classes = _name_classes(name)
    labels = np.full((len(truth.ids), len(classes)), ABSENT, dtype=np.int8)
    labels[np.arange(len(labels)), truth.labels.argmax(axis=1)] = PRESENT
    return _Sample(name, replace(truth, dataset=name, classes=classes, labels=labels), shapes, {})


def write_hierarchy(folder: Path, classes: Sequence[str]) -> Path:
    """Write a three-level hierarchy of classes that have none, in the format of hierarchy=FILE."""
    path = folder / "hierarchy.tsv"
    lines = (f"{name}\torder {number // 20}\tfamily {number // 5}" for number, name in enumerate(classes))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _name_classes(dataset: str) -> tuple[str, ...]:
    """Name as many classes as a dataset has."""
    return tuple(f"class {number}" for number in range(count_classes(dataset)))


def _measure(
    resolved: ResolvedRun,
    data: str,
    folder: Path,
    images_of_split: int | None,
    device: torch.device,
    workers: int,
    seconds: float,
) -> StepCost:
    proposals = resolved.proposals(resolved.train)
    ends = cast("_SampledCache", resolved.datasets).searched.ends
    searched = (ends[-1] - ends[0]) / (len(ends) - 1) if len(ends) > 1 else None
    with _watch_memory(device) as memory:
        if issubclass(resolved.cls, Predictor):
            return _measure_predictor(resolved, data, searched, device, memory)
        task = Task(resolved.dataset.name, resolved.dataset.classes)
        method = loop.build(resolved.cls, cast("TrainedConfig", resolved.config), task, 0)
        learner = cast("MapMethod | ProposalMethod", method.base if isinstance(method, Attribution) else method)
        budget = IMAGE_CACHE_MIB * _MIB if _fits_in_memory(learner.config, images_of_split) else 0
        source, _ = make_batch_source(learner.config, Images(resolved.dataset, budget), resolved.train, proposals)
        training, epoch, weights, state = _time_training(learner, source, folder, device, workers, seconds)
        prediction, stored = _time_prediction(method, resolved, folder, device, workers, seconds)  # type: ignore[arg-type]
        return StepCost(
            training=training,
            prediction=prediction,
            epoch=epoch,
            proposals=searched,
            memory_mib=memory(),
            weights_mib=weights / _MIB,
            checkpoint_mib=(weights + state) / _MIB,
            stored_kib=stored / 2**10,
            device=str(provenance.describe_device(str(device))["device"]),
            data=data,
        )


def _measure_predictor(
    resolved: ResolvedRun, data: str, searched: float | None, device: torch.device, memory: Any
) -> StepCost:
    begin = time.monotonic()
    cls = cast("type[Predictor]", resolved.cls)
    tables = cls(resolved.config).predict(resolved.test, resolved.proposals(resolved.test))
    spent = (time.monotonic() - begin) / len(resolved.test.ids)
    stored = sum(table.nbytes for table in tables.values()) / len(resolved.test.ids) / 2**10
    name = str(provenance.describe_device(str(device))["device"])
    return StepCost(None, Span(spent / 2, spent, spent * 2), 0.0, searched, memory(), 0.0, 0.0, stored, name, data)


def _fits_in_memory(config: Any, images: int | None) -> bool:
    """Return whether the decoded images of a split stay in memory during a training."""
    sides = sizes(config) if getattr(config, "augment", "none") == "none" else (config.resize_to,)
    return images is not None and 3 * sum(side**2 for side in sides) * images <= IMAGE_CACHE_MIB * _MIB


def _time_training(
    method: MapMethod | ProposalMethod,
    source: BatchSource,
    folder: Path,
    device: torch.device,
    workers: int,
    seconds: float,
) -> tuple[Span, float, float, float]:
    """Time enough training steps; return seconds per image and per epoch, and bytes of weights and of the optimiser.

    The learning rate is 0: random weights would diverge at rates that suit pretrained ones.
    """
    changes = {"iterations": STEPS + 2, "lr": 0.0, "lr_steps": (), "warmup_steps": 0, "ema": 0.0}
    config = method.config.model_copy(update=changes)
    method.config = source.config = config
    steps, scales = source.steps, len(sizes(config))
    watch = _Stopwatch(seconds, max(3, scales), device)
    seed = _find_even_seed(config, len(source.ids), scales)
    _decode(source, seed)
    with suppress(_EnoughError):
        loop.fit(method, source, folder / "training", seed=seed, device=device, workers=workers, progress=watch)
    gaps = np.diff(watch.ends)
    inside = [gap for index, gap in enumerate(gaps, start=1) if index % steps]
    inside = inside[: len(inside) // scales * scales] if scales > 1 else inside
    between = [gap for index, gap in enumerate(gaps, start=1) if index % steps == 0]
    step = estimate_mean(inside)
    weights = sum(value.nbytes for value in method.state_dict().values())
    state = sum(value.nbytes for value in method.parameters() if value.requires_grad)
    epoch = max(0.0, float(np.mean(between)) - step.middle) if between else 0.0
    return step.scale(1 / config.batch_size), epoch, float(weights), float(state)


def _decode(source: BatchSource, seed: int) -> None:
    """Load the images of an epoch, so that those kept in memory are there already, as in all epochs but the first."""
    chosen = plan(source.config, len(source.ids), seed, 0)
    for number in range(source.steps):
        source.step(chosen, number)


def _find_even_seed(config: Any, images: int, scales: int) -> int:
    """Find a seed with which the timed steps use each scale once, if there are several."""
    if scales == 1:
        return 0
    wanted = sorted(sizes(config))
    return next(
        (seed for seed in range(1000) if sorted(plan(config, images, seed, 0).size[1 : 1 + scales]) == wanted), 0
    )


def _time_prediction(
    method: MapMethod | ProposalMethod,
    resolved: ResolvedRun,
    folder: Path,
    device: torch.device,
    workers: int,
    seconds: float,
) -> tuple[Span, float]:
    """Time predictions of a few images at a time; return seconds and stored bytes per image."""
    images = Images(resolved.dataset, budget=0)
    count, most = 2, max(2, getattr(method.config, "batch_size", 2))
    spent, stored, begin = list[float](), 0.0, time.monotonic()
    for turn in range(12):
        ids = [resolved.test.ids[(turn * count + number) % len(resolved.test.ids)] for number in range(count)]
        truth = resolved.test.subset([*dict.fromkeys(ids)], split=resolved.test.split)
        part = folder / f"predictions-{turn}"
        start = time.monotonic()
        predict(
            method,
            Split(truth, images, resolved.proposals(resolved.test)),
            resolved.kinds,
            part,
            device=device,
            workers=workers,
        )
        spent.append((time.monotonic() - start) / len(truth.ids))
        stored = sum(file.stat().st_size for file in part.rglob("*") if file.is_file()) / len(truth.ids)
        if turn >= 2 and time.monotonic() - begin > seconds:
            break
        count = min(most, max(2, int(seconds / 4 / spent[0])))  # the first turn is a warm-up
    return estimate_mean(spent[1:]), stored


@contextmanager
def _watch_memory(device: torch.device) -> Iterator[Any]:
    """Yield a function that returns the peak memory of this process within the block, in MiB."""
    import torch

    reset = Path("/proc/self/clear_refs")
    with suppress(OSError):
        reset.write_text("5", encoding="ascii")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)

    def read() -> float:
        if device.type == "cuda":
            return torch.cuda.max_memory_allocated(device) / _MIB
        with suppress(OSError, StopIteration):
            lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
            return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**10
        return provenance.peak_memory_mib()

    yield read
