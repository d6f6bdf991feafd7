"""Run requests: train, predict, score and record; a step whose files are stored is not repeated.

Killed at any moment, the same call continues where it stopped. Two calls at once share the work: each training has one
lease.
"""

from __future__ import annotations

import shutil
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from bench import registry
from bench.core import provenance
from bench.core.failures import describe_failure
from bench.core.files import IMAGE_CACHE_MIB, Places, digest, read_object, sweep, write_json
from bench.core.lease import find_holder
from bench.core.progress import SILENT, Countdown, Progress
from bench.errors import (
    BenchError,
    DivergedError,
    LostError,
    RequestError,
    RunError,
    format_count,
    format_names,
    group_errors,
)
from bench.execution.code_changes import Stored, discard, list_kept, settle_stored, write_code
from bench.execution.frozen_features import open_features
from bench.execution.rehearsal import count_uncomputed, find_obstacle
from bench.execution.remarks import add_remarks, list_warnings
from bench.execution.resolve import DatasetCache, Request, ResolvedRun, resolve_request
from bench.execution.threads import ThreadPool, find_begun, open_pool, use_threads
from bench.method import Attribution, MapMethod, Predictor, ProposalMethod, Task, TrainedConfig
from bench.predictions import prior_runs
from bench.predictions.formats import read_any
from bench.predictions.table import FOLDERS, About, locate_predictions, resolve, write
from bench.records.result import SUPERVISION, Result, read_result, write_result
from bench.records.store import Store, read_own_key
from bench.scoring.score import compute_result_address, make_result, score
from bench.training import collectives, process_group

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from bench.data.ground_truth import GroundTruth
    from bench.training.feature_cache import FeatureCache
    from bench.training.inputs import Images

__all__ = ["Report", "Request", "run"]


COSTS = ("seconds", "images_per_second")
"""The cost fields of the files that a run writes for each step."""


@dataclass(frozen=True)
class Report:
    """The results of a product of requests, in the order of the requests, and the errors by request.

    refused: the requests whose errors were reported before the others began. is_single: whether there is only one.
    """

    results: list[Result] = field(default_factory=list)
    failed: dict[str, BenchError] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    is_single: bool = False


@dataclass(frozen=True)
class ExecutionOptions:
    """Where and how every step computes."""

    store: Store
    device: torch.device
    workers: int
    progress: Progress
    cache: int
    """Bytes of decoded images that a training keeps in memory."""
    features: Path | None
    """Where features of frozen nets are kept; None: nowhere."""
    stored: Stored = "take"
    diverged: dict[str, DivergedError] = field(default_factory=dict)
    """Errors of trainings that diverged in this call, by address: runs that share one do not train it again."""


def run(
    requests: Sequence[Request],
    places: Places,
    *,
    progress: Progress = SILENT,
    device: str = "auto",
    workers: int = 2,
    threads: int | None = None,
    cache: int = IMAGE_CACHE_MIB,
    feature_cache: bool = True,
    datasets: DatasetCache | None = None,
    stored: Stored = "take",
    prepared: Callable[[], object] = lambda: None,
) -> Report:
    """Run every request; shared trainings and predictions are made once. A failing request does not stop the others.

    threads: the number that compute on a CPU; None: as many as are free, or those of an unfinished training. cache: MiB
    of decoded images that a training keeps in memory. feature_cache: whether features of frozen nets are kept on disk.
    datasets: a cache of datasets and requests resolved before. stored: what to do with stored runs. prepared: called
    once all requests are prepared, and stored runs reused, refused or deleted.
    """
    from bench.training.device import pick_device

    chosen = pick_device(device)
    datasets = replace(datasets or DatasetCache(places), progress=progress, workers=workers)
    features = places.cache / "features" if feature_cache else None
    options = ExecutionOptions(Store(places), chosen, workers, progress, cache << 20, features, stored)
    report = Report(is_single=len(requests) == 1)
    with process_group.join_group(chosen), open_pool(chosen, threads, progress) as pool:
        runs = _prepare_all(requests, datasets, pool, options, report)
        prepared()
        waiting = [resolved for resolved in runs if not _locate_result(resolved, options).exists()]
        kinds: defaultdict[str, set[str]] = defaultdict(set)
        for resolved in runs:
            kinds[resolved.predictions.address].update(resolved.kinds)
        for resolved in _count_down(runs, waiting, progress):
            with _collect_errors(resolved.request, report), use_threads(resolved, pool, options.store, progress):
                report.results.extend(_execute(resolved, sorted(kinds[resolved.predictions.address]), options))
    return report


def _prepare_all(
    requests: Sequence[Request], datasets: DatasetCache, pool: ThreadPool, options: ExecutionOptions, report: Report
) -> list[ResolvedRun]:
    """Resolve and announce all requests, and settle whether to reuse their stored runs, before anything is computed."""

    def settle(resolved: ResolvedRun) -> str:
        record = _locate_result(resolved, options)
        if options.stored == "again" and process_group.is_main():
            discard(resolved, options.store, record)
        return settle_stored(resolved, options.store, record, options.stored)

    prepared = _prepare_able(requests, datasets, pool, options, report)
    if edited := registry.list_edited_since():
        options.progress.say(f"note: this process loaded these files before they were edited: {format_names(edited)}.")
    settled = []
    for resolved in prepared:
        with _collect_errors(resolved.request, report):
            if message := process_group.main_first(partial(settle, resolved), lambda _: ""):
                options.progress.say(message)
            settled.append(resolved)
    if settled and report.failed:
        report.refused.update(report.failed)
        for line in group_errors(report.failed):
            options.progress.say(f"Error: {line}")
    return settled


def _prepare_able(
    requests: Sequence[Request], datasets: DatasetCache, pool: ThreadPool, options: ExecutionOptions, report: Report
) -> list[ResolvedRun]:
    """Resolve all requests, then prepare and announce those that can end in a result.

    An obstacle to a run that is already stored is ignored.
    """

    def resolve_and_try(request: Request) -> ResolvedRun:
        resolved = resolve_request(request, datasets, device=options.device, threads=pool.count)
        if (obstacle := find_obstacle(resolved)) is not None and count_uncomputed(resolved):
            raise obstacle
        return resolved

    def prepare(resolved: ResolvedRun) -> ResolvedRun:
        run = find_begun(resolved.prepare(), pool, options.store)
        if (obstacle := find_obstacle(run)) is not None and not _is_made(run, options):
            raise obstacle
        return run

    able, prepared = [], []
    for request in requests:
        with _collect_errors(request, report):
            able.append(process_group.main_first(partial(resolve_and_try, request), lambda run: run.dataset.name))
    for resolved in able:
        with _collect_errors(resolved.request, report):
            run = process_group.main_first(partial(prepare, resolved), lambda run: run.predictions.address)
            options.progress.say(describe_run(run))
            for line in list_warnings(run):
                options.progress.say(f"note: {line}.")
            prepared.append(run)
    return prepared


def _is_made(resolved: ResolvedRun, options: ExecutionOptions) -> bool:
    """Whether a run has its result, or all predictions that the result needs, and is not to be made again."""
    if options.stored == "again":
        return False
    return _locate_result(resolved, options).exists() or not _list_missing_kinds(resolved, resolved.kinds, options)


def _count_down(
    runs: Sequence[ResolvedRun], waiting: Sequence[ResolvedRun], progress: Progress
) -> Iterator[ResolvedRun]:
    """Yield the runs; before each one without a result, report its number and how long the rest may take."""
    unmade = {run.predictions.address for run in waiting if run.learns}
    countdown = Countdown(len(runs), len(runs) - len(waiting), len(unmade))
    for run in runs:
        if run in waiting and len(runs) > 1:
            line = countdown.announce(is_heavy=run.predictions.address in unmade)
            unmade.discard(run.predictions.address)
            progress.say(f"{line}: {run.request}")
        yield run


@contextmanager
def _collect_errors(request: Request, report: Report) -> Iterator[None]:
    """Put an error of the block into the report. Lets LostError pass: no run can continue without a lost process."""
    import torch

    try:
        yield
    except LostError:
        raise
    except BenchError as error:
        report.failed[str(request)] = error
    except torch.OutOfMemoryError as error:
        reason = str(error).splitlines()[0]
        advice = "Try a smaller batch_size, input_size or scales."
        report.failed[str(request)] = RunError(f"Not enough memory ({reason}). {advice}")
    except Exception as error:
        if process_group.size() > 1:
            raise  # ends this process, for which the others would otherwise wait
        if (line := registry.find_own_line(error)) is not None:
            failure = _describe_failure(error, request, line[0])
            failure.__cause__ = error
            report.failed[str(request)] = failure
        elif report.is_single:
            raise  # a bug of weakloc, which the traceback describes best
        else:
            report.failed[str(request)] = _describe_fault(error)


def _describe_failure(error: Exception, request: Request, file: str) -> RunError:
    """Describe an exception from a plugin's code, and what to do."""
    method = request.method.partition(":")[0]
    test = f"python -m bench check --method {method} --plugin {file}"
    return RunError(
        f"{method} failed: {describe_failure(error, [file])}. Correct it, and run or submit it again; {test} tests it."
    )


def _describe_fault(error: Exception) -> RunError:
    """Describe a bug of weakloc, with its traceback, as an error that does not end the other runs."""
    trace = "".join(traceback.format_exception(error)).rstrip()
    return RunError(f"{describe_failure(error)}. It is a fault of weakloc; please report it.\n{trace}")


def describe_run(resolved: ResolvedRun) -> str:
    """Describe a prepared run and where its files will be."""
    trained = f"trained on {resolved.train.split} as {resolved.training.address}, " if resolved.training else ""
    name = resolved.cls.name if resolved.variant is None else f"{resolved.cls.name}:{resolved.variant}"
    return (
        f"{name}, seed {resolved.request.seed}: {resolved.bound.record.name} on {resolved.dataset.name} "
        f"{resolved.test.split} ({format_count(len(resolved.test.ids), 'image')}), {trained}"
        f"predicted as {resolved.predictions.address}"
    )


def _execute(resolved: ResolvedRun, kinds: Sequence[str], options: ExecutionOptions) -> list[Result]:
    """Return the result of a run, from the store if it is there; otherwise predict all `kinds` in one pass.

    Of several processes, only the first returns a result. Raises RequestError, after predicting, if the ground truth of
    the split is withheld.
    """
    path = _locate_result(resolved, options)
    _require_own_folders(resolved, options.store)
    # The first process decides for all: the others may see an older state of a shared folder.
    exists, missing = process_group.broadcast((path.exists(), _list_missing_kinds(resolved, kinds, options)))
    if not exists and missing:
        with process_group.abort_together():
            train(resolved, options)
            _predict(resolved, kinds, options)
    if not process_group.is_main():
        return []
    if exists:  # stored under the variant first asked for; the same settings may have another name
        result = _update_supervision(resolved, read_result(path), options)
        return [result.model_copy(update={"variant": resolved.variant})]
    if resolved.withheld is not None:
        protocol = resolved.bound.record.name
        export = f"python -m bench export {resolved.predictions.address} --protocol {protocol} --format ..."
        raise RequestError(f"{resolved.withheld} The predictions are stored, but cannot be scored here: {export}")
    _remove_left(resolved, options)
    return [_score(resolved, options)]


def _remove_left(resolved: ResolvedRun, options: ExecutionOptions) -> None:
    """Remove the temporary files of a process that was killed after its last step."""
    from bench.training import checkpoint

    folder = options.store.predictions_folder(resolved.predictions.address)
    folders = [folder]
    if resolved.training is not None:
        folders.append(options.store.training_folder(resolved.training.address))
        checkpoint.remove_left(folders[-1])
    for one in folders:
        sweep(one)
        sweep(one / "lease")
    if find_holder(folder / "lease") is None:
        shutil.rmtree(folder / "parts", ignore_errors=True)


def _require_own_folders(resolved: ResolvedRun, store: Store) -> None:
    """Raise BadFileError if a folder at one of the run's addresses records a different address."""
    read_own_key(store.predictions_folder(resolved.predictions.address))
    if resolved.training is not None:
        read_own_key(store.training_folder(resolved.training.address))


def _locate_result(resolved: ResolvedRun, options: ExecutionOptions) -> Path:
    """Return where the result of a run is recorded."""
    address = compute_result_address(resolved.bound, resolved.test, resolved.predictions.address)
    return options.store.result_path(address)


def _update_supervision(resolved: ResolvedRun, result: Result, options: ExecutionOptions) -> Result:
    """Record the supervision declared now, if it exceeds that of the stored result."""
    if SUPERVISION.index(resolved.request.tuned_on) <= SUPERVISION.index(result.tuned_on):
        return result
    updated = result.model_copy(update={"tuned_on": resolved.request.tuned_on})
    write_result(options.store.result_path(result.address), updated)
    return updated


def _list_missing_kinds(resolved: ResolvedRun, kinds: Sequence[str], options: ExecutionOptions) -> list[str]:
    """List the kinds that are not predicted yet."""
    folder = options.store.predictions_folder(resolved.predictions.address)
    return [kind for kind in kinds if not locate_predictions(folder, kind).exists()]


def train(resolved: ResolvedRun, options: ExecutionOptions) -> None:
    """Train, unless the weights are stored; several runs that share a training wait for its lease."""
    if resolved.training is None:
        return
    if error := options.diverged.get(resolved.training.address):
        raise error
    from bench.training import checkpoint

    folder = options.store.training_folder(resolved.training.address)
    claim = options.store.claim(folder, unless=checkpoint.done_path(folder).exists, progress=options.progress)
    with process_group.hold_lease(claim) as check:
        if check is None:
            return
        if process_group.is_main():
            write_code(options.store.prepare_folder(folder, resolved.training), resolved.training_code)
        try:
            _fit(resolved, folder, options, check)
        except DivergedError as error:
            options.diverged[resolved.training.address] = error
            raise


def _fit(resolved: ResolvedRun, folder: Path, options: ExecutionOptions, check: Callable[[], None]) -> None:
    from bench.training import loop
    from bench.training.batches import make_batch_source
    from bench.training.inputs import Images

    method = _select_learner(_build_method(resolved))
    images, train = Images(resolved.dataset, options.cache), resolved.train
    source, skipped = make_batch_source(method.config, images, train, resolved.proposals(train))
    if skipped:
        options.progress.say(f"Skipped {format_count(skipped, 'image')} of {train.split} without proposals.")
    most = getattr(method.config, "max_proposals", None)
    source.features = _open_features(resolved, method, images, train, options, most)
    loop.fit(
        method,
        source,
        folder,
        seed=resolved.request.seed,
        device=options.device,
        workers=options.workers,
        progress=options.progress,
        check=check,
    )


def _open_features(
    resolved: ResolvedRun,
    method: MapMethod | ProposalMethod,
    images: Images,
    truth: GroundTruth,
    options: ExecutionOptions,
    most: int | None = None,
) -> FeatureCache | None:
    """Open the features of a frozen net for a split; None if the net learns."""
    return open_features(
        resolved,
        method,
        images,
        truth,
        root=options.features,
        most=most,
        device=options.device,
        workers=options.workers,
        progress=options.progress,
    )


def _predict(resolved: ResolvedRun, kinds: Sequence[str], options: ExecutionOptions) -> None:
    """Predict the kinds that are not stored and write them; the parts of a killed run are reused."""
    folder = options.store.predictions_folder(resolved.predictions.address)
    claim = options.store.claim(
        folder, unless=lambda: not _list_missing_kinds(resolved, kinds, options), progress=options.progress
    )
    with process_group.hold_lease(claim) as check:
        if check is None:
            return
        if process_group.is_main():
            write_code(options.store.prepare_folder(folder, resolved.predictions), resolved.code)
        missing = process_group.broadcast(_list_missing_kinds(resolved, kinds, options))
        tables, cost = _make_predictions(resolved, missing, options, check)
        if not process_group.is_main():
            return
        test = resolved.test
        about = About(made_by=resolved.request.method, dataset=resolved.dataset.name, split=test.split, ids=test.ids)
        check()
        for kind in (kind for kind in missing if kind in tables or kind in FOLDERS):
            write_json(folder / f"{kind}.json", {**cost, "provenance": provenance.read_code()})
            if kind in FOLDERS:
                locate_predictions(folder / "parts", kind).rename(locate_predictions(folder, kind))
            else:
                write(locate_predictions(folder, kind), kind, tables[kind], about)
        shutil.rmtree(folder / "parts", ignore_errors=True)


def _make_predictions(
    resolved: ResolvedRun, kinds: Sequence[str], options: ExecutionOptions, check: Callable[[], None]
) -> tuple[Mapping[str, pa.Table], dict[str, float]]:
    """Make tables of the kinds; also return their cost. Raises RequestError if a kind of the run cannot be made."""
    if issubclass(resolved.cls, Predictor):
        begin = time.monotonic()
        tables = resolved.cls(resolved.config).predict(resolved.test, resolved.proposals(resolved.test))
        if lacking := [kind for kind in resolved.kinds if kind in kinds and kind not in tables]:
            raise RequestError(
                f"{resolved.cls.name} made no {lacking[0]}: "
                f"run the runs that it builds on under {resolved.bound.record.name} first."
            )
        return tables, _measure_cost(len(resolved.test.ids), time.monotonic() - begin)
    from bench.training import checkpoint
    from bench.training.inputs import Images
    from bench.training.model_cost import measure_size
    from bench.training.predict import Split, predict

    method = _build_method(resolved)
    if resolved.training is not None and process_group.is_main():
        weights = options.store.training_folder(resolved.training.address)
        checkpoint.load_weights(weights, _select_learner(method), method.config.checkpoint_epoch)
    collectives.broadcast_state(method)
    images = Images(resolved.dataset, budget=0)
    features = _open_features(resolved, method, images, resolved.test, options)
    split = Split(resolved.test, images, resolved.proposals(resolved.test), features)
    tables, cost = predict(
        method,
        split,
        kinds,
        options.store.predictions_folder(resolved.predictions.address),
        device=options.device,
        workers=options.workers,
        progress=options.progress,
        check=check,
    )
    return tables, cost | (measure_size(method, split, kinds, options.device) if process_group.is_main() else {})


def _score(resolved: ResolvedRun, options: ExecutionOptions) -> Result:
    folder = options.store.predictions_folder(resolved.predictions.address)
    predictions = {kind: read_any(locate_predictions(folder, kind), resolved.test, [kind]) for kind in resolved.kinds}
    begin = time.monotonic()
    resolved_predictions = {kind: resolve(made, resolved.test) for kind, made in predictions.items()}
    scoring = score(resolved.bound, resolved.test, resolved_predictions)
    seconds = time.monotonic() - begin
    scoring = add_remarks(scoring, resolved, list_kept(resolved, options.store))
    result = make_result(
        resolved.bound,
        resolved.test,
        scoring,
        **_describe_origin(resolved, options),
        **_summarize_cost(resolved, options, seconds),
        predictions_digest={kind: made.digest for kind, made in predictions.items()},
        provenance=_collect_provenance(resolved, options),
    )
    return options.store.record(result, scoring.outcomes, scoring.replicates)


def _collect_provenance(resolved: ResolvedRun, options: ExecutionOptions) -> dict[str, Any]:
    """Return the provenance of a scoring, including edits of the code that trained or predicted, also in prior runs."""
    own = provenance.collect_provenance(str(options.device)) | {"processes": process_group.size()}
    own |= {"code": digest(resolved.code)}
    if resolved.training is not None and resolved.training.net is not None:
        own |= {"net": resolved.training.net}
    steps = prior_runs.list_steps(options.store, resolved.predictions.address, resolved.kinds)
    return provenance.add_edits(own, (read_object(step).get("provenance", {}) for step in steps if step.exists()))


def _describe_origin(resolved: ResolvedRun, options: ExecutionOptions) -> dict[str, Any]:
    """Return the fields of a record that identify the method, its settings and its training."""
    proposals = resolved.proposals(resolved.test)
    return {
        "method": resolved.cls.name,
        "variant": resolved.variant,
        "seed": resolved.request.seed if resolved.learns else None,
        "config": resolved.public_config(),
        "given": resolved.datasets.recipe(resolved.request).list_given(),
        "data_options": dict(resolved.request.data_options),
        "transforms": resolved.config.list_transforms() if isinstance(resolved.config, TrainedConfig) else (),
        "weights": resolved.training.config["weights"] if resolved.training else None,
        "train_split": resolved.train.split if resolved.learns else None,
        "training": resolved.training.address if resolved.training else None,
        "predictions": resolved.predictions.address,
        "proposals_digest": None if proposals is None else proposals.digest,
        "tuned_on": "test-oracle" if resolved.uses_truth else resolved.request.tuned_on,
    }


def _summarize_cost(resolved: ResolvedRun, options: ExecutionOptions, scoring_seconds: float) -> dict[str, Any]:
    """Return the cost of each step, the size of the method, and the peak memory, here or at training."""
    folder = options.store.predictions_folder(resolved.predictions.address)
    costs = {"prediction": read_object(folder / f"{resolved.kinds[0]}.json", *COSTS)}
    if (
        resolved.training is not None
        and (done := options.store.training_folder(resolved.training.address) / "done.json").exists()
    ):
        costs["training"] = read_object(done, *COSTS)
    rates = {step: rate for step, cost in costs.items() if (rate := cost["images_per_second"])}
    return {
        "seconds": {step: cost["seconds"] for step, cost in costs.items()} | {"scoring": scoring_seconds},
        "images_per_second": rates,
        "parameters": int(costs["prediction"].get("parameters", 0)) or None,
        "flops": costs["prediction"].get("flops") or None,
        "peak_memory_mib": max(provenance.peak_memory_mib(), costs.get("training", {}).get("peak_memory_mib", 0.0)),
    }


def _build_method(resolved: ResolvedRun) -> MapMethod | ProposalMethod:
    """Build the method with its initial weights."""
    from bench.training.loop import build

    cls, config = cast("type[MapMethod | ProposalMethod]", resolved.cls), cast("TrainedConfig", resolved.config)
    return build(cls, config, Task(resolved.dataset.name, resolved.dataset.classes), resolved.request.seed)


def _select_learner(method: MapMethod | ProposalMethod) -> MapMethod | ProposalMethod:
    """Return the part of a method that is trained: the method itself, or the base of an attribution."""
    return method.base if isinstance(method, Attribution) else method


def _measure_cost(images: int, seconds: float) -> dict[str, float]:
    return {"images": float(images), "seconds": seconds, "images_per_second": images / seconds if seconds else 0.0}
