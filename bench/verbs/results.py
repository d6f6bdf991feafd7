"""`table` and `compare`: results of the runs folder and published ones, side by side; and the folder of the latter."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench import registry
from bench.errors import RequestError, UnknownNameError

if TYPE_CHECKING:
    from bench.analysis.compare import Comparison, Side
    from bench.core.files import Places
    from bench.records.collection import StoredResult
    from bench.records.result import Result
    from bench.scoring.protocol import BoundProtocol
    from bench.tables.model import Table

RESULTS = registry.ROOT / "results"
"""The published results of the checkout; of an installed weakloc, those that came with it."""

MEASURED, BASELINES = "measured", "baselines"
"""Folders below: published results, and what `gate` compares results with."""

LEADERBOARD = "leaderboard"

_SHOWN = 10
"""Results that a message lists; the rest are only counted."""

SHOW_TRIALS = "; --trials shows them"
"""Hint for a message about left-out trials, where the option exists."""


def find_results(given: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of published results: the given one, or BENCH_RESULTS, or `RESULTS`."""
    return Path(given or os.environ.get("BENCH_RESULTS") or RESULTS)


def list_rankable(places: Places, measured: Path) -> list[StoredResult]:
    """Return the results that can be ranked, including trials of `tune`; warn of those left out.

    Left out are records that cannot be believed, and those of unknown protocols.
    """
    from bench.records.collection import leave_out, list_results

    known, names = list_results(places, measured, with_replicates=True), registry.protocols().keys()
    protocols = {
        name: registry.bind(registry.protocol(name)) for name in {one.result.protocol for one in known} & names
    }
    reasons = {stored.record: _find_obstacle(stored.result, protocols) for stored in known}
    leave_out({record: f"{record}: {reason}" for record, reason in reasons.items() if reason})
    return [stored for stored in known if not reasons[stored.record]]


def _find_obstacle(result: Result, protocols: Mapping[str, BoundProtocol]) -> str:
    """Return why a result cannot be ranked by these protocols; empty if it can."""
    if result.protocol not in protocols:
        return f"protocol {result.protocol} is not known here; a --plugin of others may have it"
    return protocols[result.protocol].find_mismatch(result)


def compare(
    a: str | Result,
    b: str | Result,
    *,
    places: Places,
    measured: Path,
    protocol: str | None = None,
    data: str | None = None,
    per_class: bool = False,
    anyway: bool = False,
) -> Comparison:
    """Compare two results, each given as a result, its address, the path of its record or its method.

    A method stands for all its seeds. protocol, data: which to compare, if methods have results of several.
    Raises RequestError.
    """
    from bench.analysis.compare import compare as compare_both

    names = (one if isinstance(one, str) else one.address for one in (a, b))
    one, other = _find_sides(*names, places=places, measured=measured, protocol=protocol, data=data)
    return compare_both(one, other, per_class=per_class, anyway=anyway)


def find_each(
    names: Sequence[str], places: Places, measured: Path, *, protocol: str | None = None, track: str | None = None
) -> list[StoredResult]:
    """Return the result that each name stands for: an address, the path of a record, or a method's first seed.

    protocol, track: which to take, if methods have results of several. Raises RequestError if one still has several.
    """
    from bench.tracks.track import read_track

    ranked = list_rankable(places, measured)
    known = [stored for stored in ranked if protocol in (None, stored.result.protocol)]
    if track is not None:
        includes = read_track(track).includes
        known = [stored for stored in known if includes(stored.result)]
    return [_find_one(name, known) for name in names]


def _find_one(name: str, known: Sequence[StoredResult]) -> StoredResult:
    sides = _list_sides(name, known)
    if len(sides) > 1:
        choices = [f"\n  {_describe_side(side)}" for side in sides[:_SHOWN]]
        more = f"\n  and {len(sides) - _SHOWN} more" if len(sides) > _SHOWN else ""
        how = "Choose one by --protocol, --track or its address."
        raise RequestError(f"{name} has {len(sides)} results:{''.join(choices)}{more}\n{how}")
    return sides[0][0]


def _describe_side(side: Side) -> str:
    result = side[0].result
    return f"{result.protocol} on {result.dataset} {result.split}: {', '.join(one.result.address for one in side)}"


def _find_sides(
    a: str, b: str, *, places: Places, measured: Path, protocol: str | None, data: str | None
) -> tuple[Side, Side]:
    """Find the one pair of results, or of several seeds each, that two names stand for."""
    from bench.analysis.compare import list_differences

    known = list_rankable(places, measured)
    sides = [_list_sides(name, known) for name in (a, b)]
    pairs = [(one, other) for one in sides[0] for other in sides[1]]
    if len(pairs) == 1 and protocol is data is None:
        return pairs[0]
    alike = [pair for pair in pairs if not list_differences(pair[0][0].result, pair[1][0].result)]
    fitting = [
        pair
        for pair in alike
        if protocol in (None, pair[0][0].result.protocol) and data in (None, pair[0][0].result.dataset)
    ]
    if len(fitting) != 1:
        under = (f" under {protocol}" if protocol else "") + (f" on {data}" if data else "")
        raise RequestError(
            f"{a} and {b} have {len(fitting) or 'no'} pairs of results that can be compared{under}"
            + "".join(f"\n  {_describe_pair(*pair)}" for pair in fitting or alike)
            + ("\nChoose one by --protocol, --data or the addresses." if fitting or alike else ": see list runs.")
        )
    return fitting[0]


def _list_sides(name: str, known: Sequence[StoredResult]) -> list[Side]:
    """List what a name stands for: one result, or each row of a leaderboard that a method has."""
    from bench.records.collection import choose_result
    from bench.tables.leaderboard import group_rows
    from bench.tables.trials import leave_out_trials

    stored = {each.result.address: each for each in known}
    ranked = [each.result for each in leave_out_trials(known)]
    rows = group_rows([result for result in ranked if name in (result.label, result.method)])
    if not rows:
        if any(name in (each.result.label, each.result.method) for each in known):
            raise RequestError(f"{name} has only trials of tune: name trials by their addresses (list runs).")
        return [[choose_result(name, known)]]
    exact = [row for row in rows if row[0].label == name or row[0].variant == _find_default_variant(name)] or rows
    trained = [row for row in exact if row[0].config.get("epochs") != 0] or exact  # an untrained one is a floor
    return [[stored[result.address] for result in row] for row in trained]


def _find_default_variant(method: str) -> str | None:
    """Return the variant that a method's name alone stands for; None for an unknown method."""
    return registry.parse(method)[1] if method in registry.methods() else None


def _describe_pair(a: Side, b: Side) -> str:
    result = a[0].result
    addresses = (", ".join(each.result.address for each in side) for side in (a, b))
    return f"{result.protocol} on {result.dataset} {result.split}: {' and '.join(addresses)}"


def is_leaderboard(name: str) -> bool:
    """Return whether a table's name stands for leaderboards: all, a protocol's or a track's."""
    from bench.tracks.track import list_tracks

    return name == LEADERBOARD or name in registry.protocols() or name in list_tracks()


def make_tables(
    name: str = LEADERBOARD,
    *,
    track: str | None = None,
    protocols: Sequence[str] = (),
    data: str | None = None,
    trials: bool = False,
    places: Places,
    measured: Path,
    say: Callable[[str], None],
) -> list[Table]:
    """Make the leaderboards of protocols, those of a track, or a paper's table. say: gets notes on missing results.

    name: `LEADERBOARD`, a paper's table, or the one protocol or track to show. trials: whether to include `tune`'s.

    Raises RequestError, and UnknownNameError for a name.
    """
    from bench.tracks.track import list_tracks

    if track is None and name in list_tracks():
        track, name = name, LEADERBOARD
    if track is not None:
        if data or trials or name != LEADERBOARD:
            raise RequestError("--track has leaderboards of its own data and splits: give --protocol only.")
        return _make_track_leaderboards(track, protocols, places, measured, say)
    if name in registry.protocols():
        protocols, name = [*protocols, name], LEADERBOARD
    if name == LEADERBOARD:
        return _make_leaderboards(protocols, data, places, measured, say, trials=trials)
    if protocols:
        raise RequestError("--protocol applies to the leaderboard only.")
    return [_make_paper_table(name, data, places, measured, say, trials=trials)]


def _make_track_leaderboards(
    name: str, protocols: Sequence[str], places: Places, measured: Path, say: Callable[[str], None]
) -> list[Table]:
    from bench.tracks.leaderboards import make_leaderboards
    from bench.tracks.track import read_track

    tables = make_leaderboards(read_track(name), list_rankable(places, measured), protocols)
    if not tables:
        say(f"No results of track {name} yet: python -m bench run --track {name} --method all")
    return tables


def _make_paper_table(
    name: str, data: str | None, places: Places, measured: Path, say: Callable[[str], None], *, trials: bool
) -> Table:
    from bench.tables.leaderboards import paper_table
    from bench.tables.papers import reported_tables
    from bench.tables.trials import leave_out_trials
    from bench.tracks.track import list_tracks

    if name not in (tables := reported_tables()):
        names = [LEADERBOARD, *tables, *registry.protocols(), *list_tracks()]
        raise UnknownNameError("table, protocol or track", name, names, hint="python -m bench list tables")
    every = list_rankable(places, measured)
    known = every if trials else leave_out_trials(every, say, SHOW_TRIALS)
    if data is not None:
        _require_dataset(data, [stored.result for stored in every])
    return paper_table(name, known, data)


def _make_leaderboards(
    protocols: Sequence[str],
    data: str | None,
    places: Places,
    measured: Path,
    say: Callable[[str], None],
    *,
    trials: bool,
) -> list[Table]:
    from bench.tables.leaderboards import board
    from bench.tables.trials import leave_out_trials

    every = list_rankable(places, measured)
    wanted = [one for one in every if not protocols or one.result.protocol in protocols]
    known = wanted if trials else leave_out_trials(wanted, say, SHOW_TRIALS)
    results = [stored.result for stored in known]
    if data is not None:
        _require_dataset(data, [stored.result for stored in every])
    if not every:
        say(f"No results in {places.runs / 'results'} or {measured}.")
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
    """Return the only dataset on which a protocol for any dataset has results. Raises RequestError unless it is one."""
    names = sorted({result.dataset for result in results if result.protocol == protocol})
    if len(names) != 1:
        raise RequestError(f"{protocol} has results on {', '.join(names) or 'no dataset'}: add --data NAME.")
    return names[0]


def _suggest_datasets(protocol: str, results: Sequence[Result]) -> str:
    others = sorted({result.dataset for result in results if result.protocol == protocol})
    return f" It has results on {', '.join(others)}: add --data {others[0]}." if others else ""
