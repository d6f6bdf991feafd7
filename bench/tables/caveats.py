"""What an interval does not tell of a number: that it is of one training alone, or of code that no revision has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench import registry
from bench.records.result import Result, Tier
from bench.tables.model import Row, Value

ONE_SEED, EDITED = "‡", "§"
"""Marks; papers' own are * and †."""

CAVEATS = {
    ONE_SEED: "one seed: differences between seeds are not in the interval",
    EDITED: "from an edited checkout: no revision has the code that made it",
}


def find_tier(result: Result) -> Tier | None:
    """Return who made the predictions: as declared, or of a run of one of our methods we; None where nobody said."""
    is_ours = "prediction" in result.seconds and registry.is_shipped(result.method)
    return result.tier or ("here" if is_ours else None)


def list_caveats(results: Sequence[Result]) -> tuple[str, ...]:
    """Return the marks of a number that is the mean of these results; what learns nothing has no seed.

    An ensemble of runs learns nothing, but is as good or bad as the seeds of its runs.
    """
    learned = results[0].training is not None or bool(results[0].config.get("runs"))
    one_seed = learned and len({result.seed for result in results}) == 1
    edited = any(result.is_edited for result in results)
    return (ONE_SEED,) * one_seed + (EDITED,) * edited


def explain_caveats(rows: Iterable[Row]) -> dict[str, str]:
    """Return the notes of the marks that rows of a table have."""
    used = {mark for row in rows for cell in row for mark in cell.marks}
    return {mark: note for mark, note in CAVEATS.items() if mark in used}


FIELDS = {"one seed": ONE_SEED, "edited": EDITED}
"""The marks as fields for programs, by name."""


def caveat_fields(marks: Sequence[str]) -> dict[str, Value]:
    """Return the fields: `yes`, or None."""
    return {name: "yes" if mark in marks else None for name, mark in FIELDS.items()}
