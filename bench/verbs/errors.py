"""`errors`: the kinds of errors of results, or of a file of predictions, and pictures of each kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.core.progress import SILENT, Progress
from bench.verbs.cached import recall
from bench.verbs.results import find_each

if TYPE_CHECKING:
    from bench.analysis.errors import ErrorAnalysis
    from bench.core.files import Places
    from bench.gallery.contact_sheet import Sheet
    from bench.gallery.evaluated import Evaluated
    from bench.predictions.handover import Source
    from bench.records.collection import StoredResult
    from bench.records.result import Result


class AnalysedResult(NamedTuple):
    """A stored result, the evaluated predictions and ground truth, and its errors."""

    stored: StoredResult
    evaluated: Evaluated
    analysis: ErrorAnalysis


def analyse_results(
    names: Sequence[str | Result],
    *,
    places: Places,
    measured: Path,
    protocol: str | None = None,
    track: str | None = None,
    data_options: Mapping[str, Any] = MappingProxyType({}),
    progress: Progress = SILENT,
) -> list[AnalysedResult]:
    """Analyse stored results, each given as a result, its address, the path of its record or its method.

    For a method, its first seed is analysed. Raises RequestError, and MissingDataError if predictions are not kept.
    """
    addresses = (name if isinstance(name, str) else name.address for name in names)
    found = find_each([*addresses], places, measured, protocol=protocol, track=track)
    analysed = []
    with progress.task("errors", len(found), unit="results") as step:
        for stored in found:
            analysed.append(analyse_stored(stored, places, data_options))
            step()
    return analysed


def analyse_stored(
    stored: StoredResult, places: Places, data_options: Mapping[str, Any] = MappingProxyType({})
) -> AnalysedResult:
    """Analyse one stored result. Raises RequestError, and MissingDataError if its predictions are not kept."""
    from bench.analysis.errors import analyse_result
    from bench.gallery.evaluated import load_evaluated

    evaluated = load_evaluated(stored, places, data_options)
    return AnalysedResult(stored, evaluated, analyse_result(stored.result, evaluated.truth, evaluated.found))


def can_recall_errors(stored: StoredResult, places: Places) -> bool:
    """Return whether the kinds of errors of a result's protocol are known, and its predictions are here."""
    from bench.analysis.errors import can_analyse
    from bench.records.store import Store

    return can_analyse(stored.result) and Store(places).has_predictions(stored.result)


def recall_errors(stored: StoredResult, places: Places) -> ErrorAnalysis:
    """Analyse one stored result, or recall its analysis from the cache. Raises as `analyse_stored`."""
    from bench.analysis.errors import ErrorAnalysis, digest_analysis

    path = places.cache / "errors" / f"{digest_analysis(stored.result)}.json"
    return recall(path, ErrorAnalysis, lambda: analyse_stored(stored, places).analysis)


def analyse_file(
    predictions: Source,
    protocol: str,
    *,
    places: Places,
    data: str | None = None,
    data_options: Mapping[str, Any] = MappingProxyType({}),
    split: str | None = None,
) -> ErrorAnalysis:
    """Analyse predictions from elsewhere under a protocol. Raises as `score` does."""
    from bench.analysis.errors import analyse
    from bench.verbs.scoring import open_inputs

    with open_inputs(protocol, predictions, places=places, data=data, data_options=data_options, split=split) as inputs:
        return analyse(inputs.protocol, inputs.truth, inputs.resolve(), inputs.made_by)


def draw_errors(analysed: AnalysedResult, number: int, places: Places) -> Sheet:
    """Draw `number` images of each kind of error of a result."""
    from bench.gallery.contact_sheet import draw_images

    kinds = analysed.analysis.images.items()
    chosen = {kind: images[:number] for kind, images in kinds if images and kind != "correct"}
    return draw_images(analysed.stored, places, analysed.evaluated, lambda _: chosen)
