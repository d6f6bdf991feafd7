"""Checks of a record against the files beside it, before it is published or becomes a baseline."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from bench import registry
from bench.core.bootstrap import Metrics, class_mean, draw_weights
from bench.core.boxes import FloatArray
from bench.core.files import array_digest
from bench.errors import BadFileError
from bench.records.collection import StoredResult, leave_out, require_replicates
from bench.records.outcomes import OLD, OTHER, UNREADABLE, Outcomes, read_outcomes
from bench.records.replicates import read_replicates, replicates_path

_SAME = 1e-9
"""How far a metric recomputed from outcomes may be from the recorded one: only rounding is allowed."""

REDRAWN = 3
"""Replicates that are recomputed: enough to detect those of other outcomes, or in another order."""


def require_whole(stored: StoredResult) -> StoredResult:
    """Return a result. Raise BadFileError unless its metrics agree with the replicates and outcomes beside it."""
    require_replicates(stored)
    outcomes = read_outcomes(stored.record, stored.result)
    if outcomes is None:
        return stored
    if stored.result.outcomes_digest is None:
        raise BadFileError(stored.record.with_suffix(".parquet"), OTHER)
    drawn, replicates = _draw_first(stored)
    for name, values in summarise_again(stored, outcomes, drawn).items():
        recorded, (value, *redrawn) = stored.result.metrics[name], class_mean(values)
        if not is_same(value, recorded):
            rule = f"{name} is {recorded}, but its outcomes give {value}: score the predictions again"
            raise BadFileError(stored.record, rule)
        if redrawn and name in replicates and not is_same(redrawn, replicates[name][: len(redrawn)]):
            raise BadFileError(replicates_path(stored.record), f"its outcomes give other replicates of {name}")
    return stored


def summarise_again(stored: StoredResult, outcomes: Outcomes, weights: FloatArray) -> Metrics:
    """Compute the metrics of a record from its outcomes, for weights (b, N).

    Raises BadFileError for outcomes that its scoring cannot read.
    """
    result = stored.result
    family = registry.family(result.family)
    try:
        conventions = family.Conventions.model_validate_json(json.dumps(result.conventions))
        values = family.summarise(outcomes.table, outcomes.classes, conventions, weights)
        return {name: values[name] for name in result.metrics}
    except UNREADABLE:
        raise BadFileError(stored.record.with_suffix(".parquet"), OLD) from None


def is_same(values: Any, recorded: Any) -> bool:
    """Return whether numbers, None or NaN where undefined, equal the recorded ones up to rounding."""
    numbers, known = (np.asarray(each, dtype=np.float64) for each in (values, recorded))
    return np.allclose(numbers, known, rtol=0, atol=_SAME, equal_nan=True)


def _draw_first(stored: StoredResult) -> tuple[FloatArray, Metrics]:
    """Return weights (b, N): all images once, then the first replicates' if they were drawn like ours; and these."""
    whole, images = np.ones((1, stored.result.images)), stored.result.images
    replicates = read_replicates(stored.record)
    first = next(draw_weights(images, REDRAWN, 0)) if images else whole
    if replicates is None or array_digest(first[:1]) != replicates.draws:
        return whole, {}
    return np.concatenate([whole, first]), replicates.values


def select_whole(
    known: Iterable[StoredResult], require: Callable[[StoredResult], StoredResult] = require_whole
) -> list[StoredResult]:
    """Return the results that `require` accepts, as it returns them; leave out the others, with a warning."""
    whole, bad = [], {}
    for stored in known:
        try:
            whole.append(require(stored))
        except BadFileError as error:
            bad[stored.record] = str(error)
    leave_out(bad)
    return whole
