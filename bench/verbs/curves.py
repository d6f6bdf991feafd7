"""The curve behind a result: its metrics against the overlap, distance or threshold of its protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.verbs.cached import recall

if TYPE_CHECKING:
    from bench.analysis.curves import Curve
    from bench.core.files import Places
    from bench.records.collection import StoredResult


def can_draw(stored: StoredResult, places: Places) -> bool:
    """Return whether a result has a curve, and the files to compute it from are here."""
    from bench.analysis.curves import find_switch
    from bench.records.store import Store

    switch = find_switch(stored.result)
    if switch is None:
        return False
    is_here = switch.of_outcomes or Store(places).has_predictions(stored.result)
    return is_here and stored.record.with_suffix(".parquet").is_file()


def recall_curve(stored: StoredResult, places: Places) -> Curve | None:
    """Evaluate the curve of a stored result, or recall it from the cache; None if it has none.

    Raises BadFileError, RequestError, and MissingDataError where predictions or truth are not here.
    """
    from bench.analysis.curves import Curve, Switch, digest_curve, evaluate_outcomes, evaluate_predictions, find_switch
    from bench.gallery.evaluated import load_evaluated
    from bench.records.outcomes import read_outcomes

    def make(switch: Switch) -> Curve:
        if switch.of_outcomes and (outcomes := read_outcomes(stored.record, stored.result)):
            return evaluate_outcomes(stored.result, switch, outcomes)
        evaluated = load_evaluated(stored, places)
        return evaluate_predictions(stored.result, switch, evaluated.truth, evaluated.found)

    switch = find_switch(stored.result)
    if switch is None:
        return None
    path = places.cache / "curves" / f"{digest_curve(stored.result)}.json"
    return recall(path, Curve, lambda: make(switch))
