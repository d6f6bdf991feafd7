"""Checks of a run before it trains: whether its data, net, weights, layers and schedule are compatible.

The method is built without values, on torch's device `meta`, and one image is sent through it, so that hours of
training do not end in an error of the prediction.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bench import registry
from bench.core.failures import describe_failure
from bench.data.ground_truth import ABSENT
from bench.data.proposals import estimate_uncomputed
from bench.errors import BenchError, RequestError
from bench.method import Attribution, MapConfig, MapMethod, Method, Task
from bench.predictions.prior_runs import FIELDS
from bench.predictions.table import locate_predictions
from bench.training.batches import MapBatchSource, effective_labels
from bench.training.inputs import Images
from bench.training.pseudo_labels import pseudo_objects
from bench.training.schedule import Schedule

if TYPE_CHECKING:
    from bench.config import TrainedConfig
    from bench.execution.resolve import ResolvedRun


def find_obstacle(resolved: ResolvedRun) -> BenchError | None:
    """Return the error that a run would end in, as far as it can be predicted; equal runs of a call are checked once.

    Does not cover weights that have to be downloaded.
    """
    key = (resolved.cls.name, resolved.config.model_dump_json(), id(resolved.train), id(resolved.test), resolved.kinds)
    known = resolved.datasets.obstacles
    if key not in known:
        known[key] = _find_error(lambda: check_run(resolved))
    return known[key]


def count_uncomputed(resolved: ResolvedRun) -> int:
    """Estimate the number of images whose region proposals are still to be computed."""
    spec = getattr(resolved.config, "proposals", None)
    if spec is None:
        return 0
    places, truths = resolved.datasets.places, {id(truth): truth for truth in (resolved.train, resolved.test)}
    return sum(estimate_uncomputed(spec, resolved.dataset, truth.ids, places) for truth in truths.values())


def check_run(resolved: ResolvedRun) -> None:
    """Raise the error that a run would end in."""
    _require_kinds(resolved)
    if not resolved.learns:
        return
    _require_labels(resolved)
    _check_schedule(resolved)
    if (run := getattr(resolved.config, "pseudo", None)) is not None:
        pseudo_objects(run, resolved.train)
    _rehearse(
        cast("type[Method]", resolved.cls), resolved.config, Task(resolved.dataset.name, resolved.dataset.classes)
    )


def _find_error(check: Callable[[], None]) -> BenchError | None:
    try:
        check()
    except BenchError as error:
        return error
    return None


def _require_kinds(resolved: ResolvedRun) -> None:
    """Raise RequestError if a run that a predictor averages lacks one of the kinds that the protocol takes."""
    runs: Sequence[str] = getattr(resolved.config, FIELDS[0], ())
    for run in (Path(run) for run in runs if Path(run).is_dir()):
        if lacking := [kind for kind in resolved.kinds if not locate_predictions(run, kind).exists()]:
            protocol = resolved.bound.record.name
            raise RequestError(f"Run {run.name} has no {lacking[0]}: run it under {protocol} first, and name that run.")


def _require_labels(resolved: ResolvedRun) -> None:
    train = resolved.train
    if not (train.labels != ABSENT).any():
        raise RequestError(
            f"There is nothing to learn from: none of {len(train.ids)} images of {train.dataset} {train.split} has a "
            "label. Choose another --train-split."
        )


def _check_schedule(resolved: ResolvedRun) -> None:
    """Raise RequestError for a warm-up longer than a training on all images would be."""
    config, train = cast("TrainedConfig", resolved.config), resolved.train
    labels = cast("Any", effective_labels(train.labels, config.difficult_labels))
    source = MapBatchSource(Images(resolved.dataset, 0), train.ids, labels, config)
    Schedule(config, source.total_steps, source.epochs, source.steps)


def _rehearse(cls: type[Method], config: Any, task: Task) -> None:
    """Build a method on the device `meta` and send an image through it; raise its error.

    An error on `meta` proves nothing, since a method may need actual values: it is then tried on the CPU.
    """
    for device in ("meta", "cpu"):
        try:
            with warnings.catch_warnings(action="ignore"):
                _try_method(cls, config, task, device)
        except BenchError:
            raise
        except Exception as error:
            if device == "cpu":
                raise _describe(error, cls, config) from error
            if isinstance(error, _Unsaid):
                return
        else:
            return


def _describe(error: Exception, cls: type[Method], config: Any) -> RequestError:
    line = registry.find_own_line(error)
    what = describe_failure(error, [line[0]] if line else ())
    if line:
        return RequestError(
            f"{cls.name} fails before it is trained: {what}. Correct it: python -m bench check tests it."
        )
    size = f"input_size={config.input_size}" if isinstance(config, MapConfig) else "these settings"
    return RequestError(f"{cls.name} does not work on {config.net} with {size}: {what}. Change one of them.")


class _Unsaid(Exception):  # noqa: N818
    """Raised when a pass on the device `meta` needs an actual value, so that the rehearsal is inconclusive."""


def _try_method(cls: type[Method], config: Any, task: Task, device: str) -> None:
    import torch

    with registry.without_weights(), torch.device(device):
        method = cls(config, task)
    method.eval()
    if not isinstance(method, MapMethod) or not isinstance(config, MapConfig):
        return
    image = torch.zeros((1, 3, config.input_size, config.input_size), device=device)
    classes = [[0]] if isinstance(method, Attribution) else []
    try:
        with torch.inference_mode(), _without_autocast(device):
            method(image, *classes)
    except (RuntimeError, TypeError, ValueError) as error:
        if device == "meta" and "meta" in str(error).lower():
            raise _Unsaid from error
        raise


@contextmanager
def _without_autocast(device: str) -> Iterator[None]:
    """Let `torch.autocast`, which does not know the device `meta`, do nothing there."""
    import torch

    before = torch.autocast
    if device == "meta":
        setattr(torch, "autocast", lambda *_, **__: nullcontext())  # noqa: B010
    try:
        yield
    finally:
        setattr(torch, "autocast", before)  # noqa: B010
