"""The curve behind a result: its metrics against one numeric convention, with all others as recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from bench import registry
from bench.analysis.code import digest_evaluation_code
from bench.analysis.recheck import is_same
from bench.core.bootstrap import class_mean
from bench.core.boxes import FloatArray
from bench.core.files import digest
from bench.data.ground_truth import GroundTruth
from bench.errors import RequestError
from bench.predictions.table import ResolvedPredictions
from bench.records.outcomes import Outcomes
from bench.records.result import Result
from bench.scoring.protocol import Family


@dataclass(frozen=True)
class Switch:
    """A numeric convention that metrics are drawn against.

    values: those tried. of_outcomes: whether it affects only what is computed from outcomes, not the outcomes.
    """

    name: str
    label: str
    values: tuple[float, ...]
    of_outcomes: bool = False


SWITCHES = (
    Switch("iou_threshold", "IoU threshold", tuple(step / 20 for step in range(1, 20))),
    Switch("tolerance", "tolerance in pixels", (1.0, *(5.0 * step for step in range(1, 13)))),
    Switch("fixed_threshold", "map threshold", tuple(step / 50 for step in range(50)), of_outcomes=True),
)


@dataclass(frozen=True)
class Curve:
    """Metrics against a switch.

    own: the recorded value of the switch, one of `values`. metrics: by name, the primary first, one for each of
    `values`, None where it is undefined.
    """

    label: str
    own: float
    values: tuple[float, ...]
    metrics: Mapping[str, tuple[float | None, ...]]

    @property
    def moved(self) -> list[str]:
        """The metrics that the switch moves, the primary first."""
        return [name for name, line in self.metrics.items() if len({*line}) > 1]


def find_switch(result: Result) -> Switch | None:
    """Return the switch that a result's metrics are drawn against, if its family has one."""
    return next((one for one in SWITCHES if one.name in result.conventions), None)


def digest_curve(result: Result) -> str:
    """Compute the digest of what a stored result's curve depends on: evaluated files, protocol and code."""
    evaluated = [result.predictions_digest, result.outcomes_digest, result.metrics]
    return digest([result.address, *evaluated, digest_evaluation_code()])


def evaluate_predictions(
    result: Result, switch: Switch, truth: GroundTruth, found: Mapping[str, ResolvedPredictions]
) -> Curve:
    """Evaluate the predictions of a stored result at each value of a switch, as its family scores them.

    Raises RequestError as `evaluate_outcomes`.
    """
    family = registry.family(result.family)

    def evaluate(conventions: Any) -> Mapping[str, FloatArray]:
        scored = family.score(truth, found, conventions)
        if scored.whole is not None:
            return {name: values[None] for name, values in scored.whole.items()}
        return family.summarise(scored.outcomes, scored.classes or truth.classes, conventions, _count_once(result))

    return _evaluate(result, switch, family, evaluate)


def evaluate_outcomes(result: Result, switch: Switch, outcomes: Outcomes) -> Curve:
    """Evaluate the stored outcomes of a result at each value of a switch with `of_outcomes`.

    Raises RequestError if they do not give the recorded metrics at the recorded value.
    """
    family = registry.family(result.family)
    summarise = partial(family.summarise, outcomes.table, outcomes.classes, weights=_count_once(result))
    return _evaluate(result, switch, family, summarise)


def _evaluate(
    result: Result, switch: Switch, family: Family, evaluate: Callable[[Any], Mapping[str, FloatArray]]
) -> Curve:
    conventions = family.Conventions.model_validate_json(json.dumps(result.conventions))
    own = float(getattr(conventions, switch.name))
    values = tuple(sorted({*switch.values, own}))
    try:
        evaluated = [evaluate(conventions.model_copy(update={switch.name: value})) for value in values]
        lines = {name: tuple(_finite(class_mean(one[name])) for one in evaluated) for name in result.metrics}
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise RequestError(f"result {result.address} is of another version of the scoring: score it again") from error
    for name, recorded in result.metrics.items():
        if not is_same(drawn := lines[name][values.index(own)], recorded):
            rule = f"{name} is {recorded}, but its curve has {drawn} there: score the predictions again"
            raise RequestError(f"result {result.address}: {rule}")
    return Curve(switch.label, own, values, lines)


def _count_once(result: Result) -> FloatArray:
    """Return the weights (1, N) that count each image once."""
    return np.ones((1, result.images))


def _finite(values: FloatArray) -> float | None:
    return float(values[0]) if np.isfinite(values[0]) else None
