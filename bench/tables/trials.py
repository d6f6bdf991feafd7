"""Trials of `tune`, recognised by their splits, since records do not mark them as trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bench.data.dataset import PART
from bench.errors import format_count

if TYPE_CHECKING:
    from bench.records.collection import StoredResult
    from bench.records.result import Result


def is_trial(result: Result) -> bool:
    """Return whether a result was trained on a part of a split and evaluated on another part of it."""
    trained, evaluated = PART.fullmatch(result.train_split or ""), PART.fullmatch(result.split)
    share_split = trained is not None and evaluated is not None and trained["split"] == evaluated["split"]
    return share_split and result.train_split != result.split


def leave_out_trials(
    known: Sequence[StoredResult], say: Callable[[str], None] = lambda _: None, hint: str = ""
) -> list[StoredResult]:
    """Return the results that are not trials; report how many are left out, if any."""
    kept = [stored for stored in known if not is_trial(stored.result)]
    if len(kept) < len(known):
        trials = format_count(len(known) - len(kept), "trial")
        say(f"Left out: {trials} of tune, evaluated on another part of the split that they were trained on{hint}.")
    return kept
