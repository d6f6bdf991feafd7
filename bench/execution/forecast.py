"""Forecasts of runs: what is stored, what would be trained, predicted and downloaded, and how long it may take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, cast

from bench import registry
from bench.core import provenance
from bench.core.progress import SILENT
from bench.errors import BenchError
from bench.execution.code_changes import Stored, describe_edited, find_edited
from bench.execution.rehearsal import count_uncomputed, find_obstacle
from bench.execution.remarks import list_warnings
from bench.execution.resolve import DatasetCache, Request, ResolvedRun, resolve_request
from bench.execution.threads import ThreadPool, find_begun, open_pool
from bench.predictions.table import locate_predictions
from bench.records.result import Result
from bench.records.store import Store
from bench.scoring.score import compute_result_address

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from bench.config import TrainedConfig

State = Literal["stored", "begun", "to do", "shared"]
"""The state of a training or of predictions; shared: made by an earlier run of the same call."""

LIKENESS = ("net", "input_size", "scales", "freeze_backbone", "base", "test_crops", "test_scales")
"""The settings that two runs must share for the speed and memory of one to predict those of the other."""


@dataclass(frozen=True)
class RunForecast:
    """The forecast of a run.

    training: None for a method that does not learn. images: the number of images of each step to do. seconds: the time
    of these steps; None if no record of a similar run has it. like: the address of the result whose speed and memory
    are used, and the device it was measured on. proposals: the number of images whose proposals are computed first.
    error: why the run would fail.
    """

    run: str
    training: State | None = None
    predictions: State = "to do"
    is_scored: bool = False
    images: Mapping[str, int] = field(default_factory=dict)
    seconds: float | None = None
    memory_mib: float | None = None
    like: str | None = None
    proposals: int = 0
    download: str = ""
    notes: tuple[str, ...] = ()
    error: str = ""


@dataclass
class _Call:
    """The state shared by the forecasts of one call. made: addresses that its earlier runs would make."""

    datasets: DatasetCache
    store: Store
    device: torch.device
    pool: ThreadPool
    known: Sequence[Result]
    stored: Stored
    made: set[str] = field(default_factory=set)


def forecast_runs(
    requests: Sequence[Request],
    datasets: DatasetCache,
    known: Sequence[Result],
    *,
    device: str = "auto",
    threads: int | None = None,
    stored: Stored = "take",
) -> list[RunForecast]:
    """Forecast each request. known: results that serve as estimates of time and memory for similar runs."""
    from bench.training.device import pick_device

    chosen = pick_device(device)
    with open_pool(chosen, threads, SILENT) as pool:
        call = _Call(datasets, Store(datasets.places), chosen, pool, known, stored)
        return [_forecast(request, call) for request in requests]


def find_errors(
    requests: Sequence[Request], datasets: DatasetCache, *, device: str = "auto", threads: int | None = None
) -> list[BenchError | None]:
    """Return the error that each request would end in, as far as it can be predicted; None for the others."""
    from bench.training.device import pick_device

    chosen, found = pick_device(device), list[BenchError | None]()
    for request in requests:
        try:
            resolved = resolve_request(request, datasets, device=chosen, threads=threads or 0)
            found.append(find_obstacle(resolved))
        except BenchError as error:
            found.append(error)
    return found


def _forecast(request: Request, call: _Call) -> RunForecast:
    try:
        resolved = resolve_request(request, call.datasets, device=call.device, threads=call.pool.count)
        obstacle, uncomputed = find_obstacle(resolved), count_uncomputed(resolved)
        if obstacle is not None and uncomputed:
            raise obstacle
        if uncomputed:  # the address contains a digest of the proposals, so it is not known yet
            return _describe(resolved, call, "to do" if resolved.learns else None, "to do", uncomputed)
        resolved = find_begun(resolved.prepare(), call.pool, call.store)
        address = compute_result_address(resolved.bound, resolved.test, resolved.predictions.address)
        record = call.store.result_path(address)
        edited = [] if call.stored != "take" else find_edited(resolved, call.store, record)
        if edited:
            return RunForecast(str(request), error=describe_edited(resolved, edited))
        if record.exists() and call.stored != "again":
            return RunForecast(str(request), "stored" if resolved.learns else None, "stored", is_scored=True)
        training, predictions = _find_states(resolved, call)
        if obstacle is not None and predictions != "stored":
            raise obstacle
        return _describe(resolved, call, training, predictions, 0)
    except BenchError as error:
        return RunForecast(str(request), error=str(error))


def _find_states(resolved: ResolvedRun, call: _Call) -> tuple[State | None, State]:
    """Return the states of training and predictions; a training whose predictions are stored is not needed."""
    folder = call.store.predictions_folder(resolved.predictions.address)
    is_complete = all(locate_predictions(folder, kind).exists() for kind in resolved.kinds)
    predictions = _find_state(folder, is_complete, (folder / "parts").exists(), call)
    if resolved.training is None:
        return None, predictions
    training = call.store.training_folder(resolved.training.address)
    state = _find_state(training, (training / "done.json").exists(), (training / "config.json").exists(), call)
    return ("stored" if predictions == "stored" else state), predictions


def _find_state(folder: Path, is_complete: bool, is_begun: bool, call: _Call) -> State:
    is_made, is_again = folder.name in call.made, call.stored == "again"
    call.made.add(folder.name)
    if is_made:
        return "shared"
    if is_complete and not is_again:
        return "stored"
    return "begun" if is_begun and not is_again else "to do"


def _describe(
    resolved: ResolvedRun, call: _Call, training: State | None, predictions: State, proposals: int
) -> RunForecast:
    images = {}
    if training in ("begun", "to do"):
        images["training"] = _count_training_images(resolved)
    if predictions in ("begun", "to do"):
        images["prediction"] = len(resolved.test.ids)
    like = _find_like(resolved, images, call) if images and resolved.learns else None
    rates = {} if like is None else like.images_per_second
    seconds = [count / rates[step] for step, count in images.items() if rates.get(step)]
    weights = getattr(resolved.config, "weights", None)
    return RunForecast(
        run=str(resolved.request),
        training=training,
        predictions=predictions,
        images=images,
        seconds=sum(seconds) if len(seconds) == len(images) or not resolved.learns else None,
        memory_mib=None if like is None else like.peak_memory_mib,
        like=None if like is None else f"{like.address}, {like.provenance.get('device', 'unknown device')}",
        proposals=proposals,
        download=registry.find_download(resolved.config.net) if images and weights == "imagenet" else "",  # type: ignore[attr-defined]
        notes=(*_note_features(resolved, images), *list_warnings(resolved)),
    )


def _note_features(resolved: ResolvedRun, images: Mapping[str, int]) -> list[str]:
    is_frozen = bool(getattr(resolved.config, "freezes_features", False))
    return ["times are without those of the features of frozen nets, which are kept"] if is_frozen and images else []


def _count_training_images(resolved: ResolvedRun) -> int:
    config = cast("TrainedConfig", resolved.config)
    return config.iterations * config.batch_size or config.epochs * len(resolved.train.ids)


def _find_like(resolved: ResolvedRun, images: Mapping[str, int], call: _Call) -> Result | None:
    """Find a similar run's result with the speed of each step, preferring this device, then the latest."""
    settings = resolved.config.model_dump(mode="json")
    like = [
        result
        for result in call.known
        if result.method == resolved.cls.name
        and all(result.config.get(key) == settings.get(key) for key in LIKENESS)
        and {*images} <= {*result.images_per_second}
    ]
    here = provenance.describe_device(str(call.device))["device"]
    return max(like, key=lambda one: (one.provenance.get("device") == here, one.created), default=None)
