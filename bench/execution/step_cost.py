"""The cost of training steps and predictions, measured on this machine by `measure` and stored with the runs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from bench.core.files import Places, digest, read_json, write_json
from bench.errors import BadFileError

# fmt: off
FREE = frozenset({
    "delta", "divergence", "epochs", "epsilon", "first", "foreground", "grad_clip_norm", "halve",
    "head_lr_multiplier", "hidden", "iterations", "k_minus", "k_plus", "kept", "lr", "lr_drop", "lr_steps",
    "momentum", "nms_iou", "positives", "tau", "weight_decay", "weights",
})
# fmt: on
"""Settings that change what is learned, or for how long, but not the cost of a step."""

_DRIFT = 0.15
"""The relative drift of a machine's speed between a few steps and many."""


class Span(NamedTuple):
    """An estimate, `middle`, with its bounds `low` and `high`."""

    low: float
    middle: float
    high: float

    def scale(self, factor: float) -> Span:
        """Multiply by a positive factor.

        >>> Span(1, 2, 3).scale(2)
        Span(low=2, middle=4, high=6)
        """
        return Span(*(value * factor for value in self))

    def __add__(self, other: object) -> Span:
        """Add another span: both may be off to the same side."""
        if not isinstance(other, Span):
            return NotImplemented
        return Span(self.low + other.low, self.middle + other.middle, self.high + other.high)


def estimate_mean(values: Sequence[float]) -> Span:
    """Estimate the mean of many values from a few; the bounds cover two standard errors and the machine's drift.

    >>> estimate_mean([1.0, 1.0])
    Span(low=0.85, middle=1.0, high=1.15)
    """
    mean = statistics.fmean(values)
    error = 2 * statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else mean / 2
    share = _DRIFT + min(error / mean, 0.6)
    return Span(mean * (1 - share), mean, mean * (1 + share))


@dataclass(frozen=True)
class StepCost:
    """The cost of one configuration.

    training, prediction: seconds per image. epoch: seconds for the checkpoint of an epoch. proposals: seconds per image
    for computing region proposals; None if none are computed. memory_mib: peak memory. weights_mib: size of the trained
    weights. checkpoint_mib: size of a checkpoint during training. stored_kib: size of an image's predictions. data: the
    images that it was measured on.
    """

    training: Span | None
    prediction: Span
    epoch: float
    proposals: float | None
    memory_mib: float
    weights_mib: float
    checkpoint_mib: float
    stored_kib: float
    device: str
    data: str


def compute_cost_key(method: str, settings: Mapping[str, str], dataset: str, kinds: str) -> str:
    """Compute a key that configurations of equal cost share. kinds: the kinds of prediction that the protocol takes."""
    paid = {key: value for key, value in settings.items() if key not in FREE}
    return digest([method, dict(sorted(paid.items())), dataset, kinds])


def read_cost(places: Places, key: str) -> StepCost | None:
    """Read the cost of a configuration; None if it was not measured here, or the file is damaged."""
    path = _locate(places, key)
    if not path.is_file():
        return None
    try:
        content = read_json(path)
        spans = {name: content[name] and Span(*content[name]) for name in ("training", "prediction")}
        return StepCost(**{**content, **spans})
    except (BadFileError, TypeError, KeyError, ValueError):
        return None


def write_cost(places: Places, key: str, cost: StepCost) -> None:
    """Keep the cost of a configuration."""
    write_json(_locate(places, key), asdict(cost))


def _locate(places: Places, key: str) -> Path:
    return places.cache / "steps" / f"{key}.json"
