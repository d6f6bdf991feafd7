"""Precision-recall curves of a stored result, from its outcomes."""

from __future__ import annotations

from bench import registry
from bench.core.boxes import FloatArray
from bench.errors import BadFileError
from bench.records.collection import StoredResult
from bench.records.outcomes import OLD, UNREADABLE, read_outcomes
from bench.scoring.average_precision import precision_recall


def read_curves(stored: StoredResult) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Return recall and precision (h,) at each hit, best first, of each class with positives.

    Empty if the family does not rank, or no outcomes are stored. Raises BadFileError.
    """
    ranked = getattr(registry.family(stored.result.family), "rank_hits", None)
    outcomes = read_outcomes(stored.record, stored.result) if ranked else None
    if ranked is None or outcomes is None:
        return {}
    try:
        rows = ranked(outcomes.table, len(outcomes.classes))
        curves = zip(outcomes.classes, precision_recall(rows), rows.positives, strict=True)
        return {name: curve for name, curve, positives in curves if positives}
    except UNREADABLE:
        raise BadFileError(stored.record.with_suffix(".parquet"), OLD) from None
