"""A run: train, predict, score, record; each step only where the store does not hold what it would make.

Killed at any moment, the same call goes on where it stopped; two at once share the work, one training each.
"""

from __future__ import annotations

import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from bench.core import provenance
from bench.core.files import Places, read_json, write_json
from bench.core.progress import SILENT, Progress
from bench.errors import BenchError, DivergedError, LostError, RequestError, RunError, format_count
from bench.execution.resolve import CACHE, ResolvedRun, Request, DatasetCache, resolve_request
from bench.method import Attribution, MapMethod, Predictor, ProposalMethod, Task, TrainedConfig
from bench.predictions.formats import read_any
from bench.predictions.table import FOLDERS, About, locate_predictions, resolve, write
from bench.records.result import SUPERVISION, Result, read_result, write_result
from bench.records.store import Store
from bench.scoring.score import compute_result_address, make_result, score
from bench.training import collectives, process_group

if TYPE_CHECKING:
    import torch

__all__ = ["Report", "Request", "run"]


@dataclass(frozen=True)
class Report:
    """What a product of requests gave: results in the order of the requests, and what failed, by request."""

    results: list[Result] = field(default_factory=list)
    failed: dict[str, BenchError] = field(default_factory=dict)


@dataclass(frozen=True)
class ExecutionOptions:
    """What every step needs."""

    store: Store
    device: torch.device
    workers: int
    progress: Progress
    cache: int
    """Bytes of decoded images that a training keeps in memory."""
    diverged: dict[str, DivergedError] = field(default_factory=dict)
    """Trainings that failed in this call, by address: who shares one need not see it fail again."""


def run(
    requests: Sequence[Request],
    places: Places,
    *,
    progress: Progress = SILENT,
    device: str = "auto",
    workers: int = 2,
    threads: int | None = None,
    cache: int = CACHE,
) -> Report:
    """Run every request; what they share is trained and predicted once. A request that fails stops no other.

    `cache`: MiB of decoded images that a training keeps in memory.
    """
    import torch

    from bench.training.device import pick_device

    if threads is not None:
        torch.set_num_threads(threads)
    chosen = pick_device(device)
    shelf = DatasetCache(places, progress, workers)
    counted = torch.get_num_threads() if chosen.type == "cpu" else 0
    means = ExecutionOptions(Store(places), chosen, workers, progress, cache << 20)
    report = Report()
    jobs: list[ResolvedRun] = []
    kinds: defaultdict[str, set[str]] = defaultdict(set)
    with process_group.joined(chosen):
        for request in requests:
            with _reported(request, report):
                find = partial(resolve_request, request, shelf, device=chosen, threads=counted)
                job = process_group.main_first(find, lambda job: job.predictions.address)
                progress.say(_resolved(job))
                kinds[job.predictions.address].update(job.kinds)
                jobs.append(job)
        for job in jobs:
            with _reported(job.request, report):
                report.results.extend(_run(job, sorted(kinds[job.predictions.address]), means))
    return report


@contextmanager
def _reported(request: Request, report: Report) -> Iterator[None]:
    """What fails in the block goes into the report. Raises LostError: where a process is lost, nothing goes on."""
    import torch

    try:
        yield
    except LostError:
        raise
    except BenchError as error:
        report.failed[str(request)] = error
    except torch.OutOfMemoryError as error:
        said = str(error).splitlines()[0]
        report.failed[str(request)] = RunError(
            f"Not enough memory ({said}). Try a smaller batch_size, input_size or scales."
        )


def _resolved(job: ResolvedRun) -> str:
    """What a request came to, and where it will be."""
    learned = f"trained on {job.train.split} as {job.training.address}, " if job.training else ""
    name = job.cls.name if job.variant is None else f"{job.cls.name}:{job.variant}"
    return (
        f"{name}, seed {job.request.seed}: {job.bound.record.name} on {job.dataset.name} {job.test.split} "
        f"({format_count(len(job.test.ids), 'image')}), {learned}predicted as {job.predictions.address}"
    )


def _run(job: ResolvedRun, kinds: Sequence[str], means: ExecutionOptions) -> list[Result]:
    """The result of a job, from the store if it is there; `kinds` are predicted in one pass.

    Of several processes only the first one has it. Raises RequestError, when all is predicted, where the truth is kept
    by others.
    """
    address = compute_result_address(job.bound, job.test, job.predictions.address)
    path = means.store.result(address)
    there, missing = process_group.broadcast((path.exists(), _missing(job, kinds, means)))
    if not there and missing:
        with process_group.abort_together():
            _train(job, means)
            _predict(job, kinds, means)
    if not process_group.is_main():
        return []
    if there:  # kept under the name of who asked first; a variant may be asked for setting by setting
        return [_confessed(job, read_result(path), means).model_copy(update={"variant": job.variant})]
    if job.missing is not None:
        how = f"python -m bench export {job.predictions.address} --protocol {job.bound.record.name} --format ..."
        raise RequestError(f"{job.missing} Until then it is predicted, and not judged: {how}")
    return [_score(job, means)]


def _confessed(job: ResolvedRun, result: Result, means: ExecutionOptions) -> Result:
    """A stored result, with what is said now of what tuned it, if that is more than its record says."""
    if SUPERVISION.index(job.request.tuned_on) <= SUPERVISION.index(result.tuned_on):
        return result
    said = result.model_copy(update={"tuned_on": job.request.tuned_on})
    write_result(means.store.result(result.address), said)
    return said


def _missing(job: ResolvedRun, kinds: Sequence[str], means: ExecutionOptions) -> list[str]:
    """The kinds that are not predicted yet."""
    folder = means.store.predictions(job.predictions.address)
    return [kind for kind in kinds if not locate_predictions(folder, kind).exists()]


def _train(job: ResolvedRun, means: ExecutionOptions) -> None:
    if job.training is None:
        return
    if error := means.diverged.get(job.training.address):
        raise error
    from bench.training import checkpoint, loop
    from bench.training.batches import Images, make_batch_source

    folder = means.store.training(job.training.address)
    claim = means.store.claim(folder, unless=checkpoint.done(folder).exists, progress=means.progress)
    with process_group.claimed(claim) as check:
        if check is None:
            return
        if process_group.is_main():
            means.store.opened(folder, job.training)
        method = _learner(_built(job))
        feed, left_out = make_batch_source(method.config, Images(job.dataset, means.cache), job.train, job.proposals(job.train))
        if left_out:
            means.progress.say(f"Without proposals, and so left out: {format_count(left_out, 'image')} of {job.train.split}.")
        try:
            loop.fit(
                method,
                feed,
                folder,
                seed=job.request.seed,
                device=means.device,
                workers=means.workers,
                progress=means.progress,
                check=check,
            )
        except DivergedError as error:
            means.diverged[job.training.address] = error
            raise


def _predict(job: ResolvedRun, kinds: Sequence[str], means: ExecutionOptions) -> None:
    folder = means.store.predictions(job.predictions.address)
    claim = means.store.claim(folder, unless=lambda: not _missing(job, kinds, means), progress=means.progress)
    with process_group.claimed(claim) as check:
        if check is None:
            return
        if process_group.is_main():
            means.store.opened(folder, job.predictions)
        wanted = process_group.broadcast(_missing(job, kinds, means))
        tables, took = _predicted(job, wanted, means, check)
        if not process_group.is_main():
            return
        about = About(made_by=job.request.method, dataset=job.dataset.name, split=job.test.split, ids=job.test.ids)
        check()
        for kind in (kind for kind in wanted if kind in tables or kind in FOLDERS):
            write_json(folder / f"{kind}.json", took)
            if kind in FOLDERS:
                locate_predictions(folder / "parts", kind).rename(locate_predictions(folder, kind))
            else:
                write(locate_predictions(folder, kind), kind, tables[kind], about)
        shutil.rmtree(folder / "parts", ignore_errors=True)


def _predicted(
    job: ResolvedRun, kinds: Sequence[str], means: ExecutionOptions, check: Callable[[], None]
) -> tuple[Mapping[str, pa.Table], dict[str, float]]:
    """Tables of the kinds, and what they took. Raises RequestError where the job's own cannot be made."""
    if issubclass(job.cls, Predictor):
        begin = time.monotonic()
        tables = job.cls(job.config).predict(job.test, job.proposals(job.test))
        if lacking := [kind for kind in job.kinds if kind in kinds and kind not in tables]:
            raise RequestError(
                f"{job.cls.name} could make no {lacking[0]}: run what it builds on under {job.bound.record.name} first."
            )
        return tables, _took(len(job.test.ids), time.monotonic() - begin)
    from bench.training import checkpoint
    from bench.training.batches import Images
    from bench.training.predict import Split, predict

    method = _built(job)
    if job.training is not None and process_group.is_main():
        checkpoint.load_weights(
            means.store.training(job.training.address), _learner(method), method.config.checkpoint_epoch
        )
    collectives.broadcast_state(method)
    return predict(
        method,
        Split(job.test, Images(job.dataset, budget=0), job.proposals(job.test)),
        kinds,
        means.store.predictions(job.predictions.address),
        device=means.device,
        workers=means.workers,
        progress=means.progress,
        check=check,
    )


def _score(job: ResolvedRun, means: ExecutionOptions) -> Result:
    folder = means.store.predictions(job.predictions.address)
    predictions = {kind: read_any(locate_predictions(folder, kind), job.test, [kind]) for kind in job.kinds}
    begin = time.monotonic()
    judged = score(job.bound, job.test, {kind: resolve(found, job.test) for kind, found in predictions.items()})
    seconds = time.monotonic() - begin
    result = make_result(
        job.bound,
        job.test,
        judged,
        **_who(job, means),
        **_cost(job, means, seconds),
        predictions_digest={kind: found.digest for kind, found in predictions.items()},
        provenance=provenance.collect_provenance(str(means.device)) | {"processes": process_group.size()},
    )
    return means.store.record(result, judged.outcomes, judged.replicates)


def _who(job: ResolvedRun, means: ExecutionOptions) -> dict[str, Any]:
    """Who predicted, and from what."""
    proposals = job.proposals(job.test)
    return {
        "method": job.cls.name,
        "variant": job.variant,
        "seed": job.request.seed if job.learns else None,
        "config": job.public_config(),
        "weights": job.training.config["weights"] if job.training else None,
        "train_split": job.train.split if job.learns else None,
        "training": job.training.address if job.training else None,
        "predictions": job.predictions.address,
        "proposals_digest": None if proposals is None else proposals.digest,
        "tuned_on": job.request.tuned_on,
    }


def _cost(job: ResolvedRun, means: ExecutionOptions, scoring: float) -> dict[str, Any]:
    """Seconds and images a second of training, prediction and scoring, and the most memory, here or at training."""
    folder = means.store.predictions(job.predictions.address)
    took = {"prediction": read_json(folder / f"{job.kinds[0]}.json")}
    if job.training is not None and (done := means.store.training(job.training.address) / "done.json").exists():
        took["training"] = read_json(done)
    rates = {step: one["images_per_second"] for step, one in took.items() if one["images_per_second"]}
    return {
        "seconds": {step: one["seconds"] for step, one in took.items()} | {"scoring": scoring},
        "images_per_second": rates,
        "peak_memory_mib": max(provenance.peak_memory_mib(), took.get("training", {}).get("peak_memory_mib", 0.0)),
    }


def _built(job: ResolvedRun) -> MapMethod | ProposalMethod:
    """The method with its initial weights."""
    from bench.training.loop import build

    cls, config = cast("type[MapMethod | ProposalMethod]", job.cls), cast("TrainedConfig", job.config)
    return build(cls, config, Task(job.dataset.name, job.dataset.classes), job.request.seed)


def _learner(method: MapMethod | ProposalMethod) -> MapMethod | ProposalMethod:
    """What of a method is trained: all of it, or the base of an attribution."""
    return method.base if isinstance(method, Attribution) else method


def _took(images: int, seconds: float) -> dict[str, float]:
    return {"images": float(images), "seconds": seconds, "images_per_second": images / seconds if seconds else 0.0}
