"""Caveats that an interval does not show: a single training seed, or code that is in no revision."""

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
    """Return who made the predictions: the declared tier, else `here` for a run of one of our methods, else None."""
    is_ours = "prediction" in result.seconds and registry.is_shipped(result.method)
    return result.tier or ("here" if is_ours else None)


def list_caveats(results: Sequence[Result]) -> tuple[str, ...]:
    """Return the marks for the mean of these results; a method that learns nothing gets no mark for its seed.

    An ensemble of runs learns nothing itself, but counts as learned, since it depends on the seeds of its runs.
    """
    learned = results[0].training is not None or bool(results[0].config.get("runs"))
    one_seed = learned and len({result.seed for result in results}) == 1
    edited = any(result.is_edited for result in results)
    return (ONE_SEED,) * one_seed + (EDITED,) * edited


def explain_caveats(rows: Iterable[Row]) -> dict[str, str]:
    """Return the notes for the marks used in rows of a table."""
    used = {mark for row in rows for cell in row for mark in cell.marks}
    return {mark: note for mark, note in CAVEATS.items() if mark in used}


FIELDS = {"one seed": ONE_SEED, "edited": EDITED}
"""The marks as fields for programs, by name."""


def caveat_fields(marks: Sequence[str]) -> dict[str, Value]:
    """Return every field of `FIELDS`: `yes` if its mark is given, else None."""
    return {name: "yes" if mark in marks else None for name, mark in FIELDS.items()}
