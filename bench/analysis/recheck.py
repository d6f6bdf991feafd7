"""A record held against all that lies beside it, before it is published or becomes a baseline."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench import registry
from bench.core.bootstrap import Metrics, class_mean
from bench.core.files import file_digest
from bench.errors import BadFileError
from bench.records.collection import StoredResult, leave_out, require_replicates
from bench.records.outcomes import Outcomes, read_outcomes

_SAME = 1e-9


def require_whole(stored: StoredResult) -> StoredResult:
    """Return a result. Raise BadFileError unless its metrics are those of the replicates and outcomes beside it."""
    require_replicates(stored)
    outcomes = read_outcomes(stored.record)
    if outcomes is None:
        return stored
    path = stored.record.with_suffix(".parquet")
    if file_digest(path) != stored.result.outcomes_digest:
        raise BadFileError(path, "not the outcomes that the record was made with: score the predictions again")
    for name, value in _summarise(stored, outcomes, path).items():
        recorded = stored.result.metrics[name]
        expected = np.nan if recorded is None else recorded
        if not np.isclose(class_mean(value)[0], expected, rtol=0, atol=_SAME, equal_nan=True):
            rule = f"{name} is {recorded}, but its outcomes give {class_mean(value)[0]}: score the predictions again"
            raise BadFileError(stored.record, rule)
    return stored


def select_whole(
    known: Iterable[StoredResult], require: Callable[[StoredResult], object] = require_whole
) -> list[StoredResult]:
    """Return the results that `require` lets pass; the others are left out, with a warning."""
    whole, bad = [], {}
    for stored in known:
        try:
            require(stored)
            whole.append(stored)
        except BadFileError as error:
            bad[stored.record] = str(error)
    leave_out(bad)
    return whole


def _summarise(stored: StoredResult, outcomes: Outcomes, path: Path) -> Metrics:
    """Compute the metrics of a record from its outcomes. Raises BadFileError."""
    result = stored.result
    family = registry.family(result.family)
    try:
        conventions = family.Conventions.model_validate_json(json.dumps(result.conventions))
        values = family.summarise(outcomes.table, outcomes.classes, conventions, np.ones((1, result.images)))
        return {name: values[name] for name in result.metrics}
    except (pa.ArrowException, KeyError, IndexError, TypeError, ValueError):
        rule = "outcomes of another version of the scoring: score the predictions again"
        raise BadFileError(path, rule) from None
