"""`table` and `compare`: results of the runs folder and published ones, side by side; and where those lie."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench import registry
from bench.errors import RequestError, UnknownNameError

if TYPE_CHECKING:
    from bench.analysis.compare import Comparison
    from bench.core.files import Places
    from bench.records.result import Result
    from bench.tables.model import Table

RESULTS = registry.ROOT / "results"
"""The published results of the checkout; of an installed weakloc, those that came with it."""

MEASURED, BASELINES = "measured", "baselines"
"""Folders below: published results, and what `gate` compares results with."""

LEADERBOARD = "leaderboard"


def find_results(given: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of published results: the given one, or BENCH_RESULTS, or `RESULTS`."""
    return Path(given or os.environ.get("BENCH_RESULTS") or RESULTS)


def compare(
    a: str | Result, b: str | Result, *, places: Places, measured: Path, per_class: bool = False, anyway: bool = False
) -> Comparison:
    """Compare two results, each given as such, by its address or by the path of its record. Raises RequestError."""
    from bench.analysis.compare import compare as compare_both
    from bench.records.collection import find_result

    names = (one if isinstance(one, str) else one.address for one in (a, b))
    stored_a, stored_b = (find_result(name, places, measured) for name in names)
    return compare_both(stored_a, stored_b, per_class=per_class, anyway=anyway)


def make_tables(
    name: str = LEADERBOARD,
    *,
    track: str | None = None,
    protocols: Sequence[str] = (),
    data: str | None = None,
    places: Places,
    measured: Path,
    say: Callable[[str], None],
) -> list[Table]:
    """Make the leaderboards of protocols, those of a track, or a paper's table. say: gets notes on missing results.

    Raises RequestError, and UnknownNameError for a name.
    """
    if track is not None:
        if data or name != LEADERBOARD:
            raise RequestError("--track has leaderboards of its own data: give --protocol only.")
        return _make_track_leaderboards(track, protocols, places, measured, say)
    if name == LEADERBOARD:
        return _make_leaderboards(protocols, data, places, measured, say)
    if protocols or data:
        raise RequestError("--protocol and --data apply to the leaderboard only.")
    return [_make_paper_table(name, places, measured)]


def _make_track_leaderboards(
    name: str, protocols: Sequence[str], places: Places, measured: Path, say: Callable[[str], None]
) -> list[Table]:
    from bench.records.collection import list_results
    from bench.tracks.leaderboards import make_leaderboards
    from bench.tracks.track import read_track

    tables = make_leaderboards(read_track(name), list_results(places, measured), protocols)
    if not tables:
        say(f"No results of track {name} yet: python -m bench run --track {name} --method all")
    return tables


def _make_paper_table(name: str, places: Places, measured: Path) -> Table:
    from bench.records.collection import list_results
    from bench.tables.leaderboards import paper_table
    from bench.tables.papers import reported_tables

    if name not in (known := reported_tables()):
        raise UnknownNameError("table", name, [LEADERBOARD, *known], hint="python -m bench list tables")
    return paper_table(name, list_results(places, measured))


def _make_leaderboards(
    protocols: Sequence[str], data: str | None, places: Places, measured: Path, say: Callable[[str], None]
) -> list[Table]:
    from bench.records.collection import list_results
    from bench.tables.leaderboards import board

    known = list_results(places, measured)
    results = [stored.result for stored in known]
    if data is not None:
        _require_dataset(data, results)
    tables = []
    for protocol in protocols or dict.fromkeys(result.protocol for result in results):
        dataset = data or registry.protocol(protocol).dataset or _choose_dataset(protocol, results)
        has_results = any((result.protocol, result.dataset) == (protocol, dataset) for result in results)
        if has_results or protocols:
            tables.append(board(protocol, dataset, known))
        if not has_results:
            say(f"No results of {protocol} on {dataset}.{_suggest_datasets(protocol, results)}")
    return tables


def _require_dataset(name: str, results: Sequence[Result]) -> None:
    """Raise UnknownNameError for a dataset that is neither known nor one of the results'."""
    from bench.data.datasets import list_datasets

    if name not in (known := {*list_datasets(), *(result.dataset for result in results)}):
        raise UnknownNameError("dataset", name, known, hint="python -m bench list datasets")


def _choose_dataset(protocol: str, results: Sequence[Result]) -> str:
    """Return the one dataset on which a protocol for any dataset has results. Raises RequestError if it is not one."""
    names = sorted({result.dataset for result in results if result.protocol == protocol})
    if len(names) != 1:
        raise RequestError(f"{protocol} has results on {', '.join(names) or 'no dataset'}: add --data NAME.")
    return names[0]


def _suggest_datasets(protocol: str, results: Sequence[Result]) -> str:
    others = sorted({result.dataset for result in results if result.protocol == protocol})
    return f" It has results on {', '.join(others)}: add --data {others[0]}." if others else ""
