"""The leaderboards of a track: its results only, a table for each protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.records.replicates import read_replicates
from bench.tables.caveats import find_tier
from bench.tables.leaderboard import leaderboard
from bench.tracks.selection import check_protocols

if TYPE_CHECKING:
    from bench.records.collection import StoredResult
    from bench.records.result import Result
    from bench.tables.model import Table
    from bench.tracks.track import Track


def make_leaderboards(track: Track, known: Sequence[StoredResult], protocols: Sequence[str] = ()) -> list[Table]:
    """Build the table of each protocol of the track, or of these, that has results. Raises UnknownNameError."""
    check_protocols(track, protocols)
    included = [stored for stored in known if track.includes(stored.result)]
    groups = {
        name: [stored for stored in included if stored.result.protocol == name] for name in protocols or track.protocols
    }
    return [_make_leaderboard(track, name, group) for name, group in groups.items() if group]


def _make_leaderboard(track: Track, protocol: str, included: Sequence[StoredResult]) -> Table:
    results = [_name_entry(track, stored.result) for stored in included]
    draws = {stored.result.address: read_replicates(stored.record) for stored in included}
    table = leaderboard(protocol, track.dataset, results, track.conventions[protocol], draws)
    head = f"{track.name}, version {track.version}"
    return replace(table, title=f"{head}: {protocol} on {track.dataset} {track.find_split(protocol)}, per cent")


def _name_entry(track: Track, result: Result) -> Result:
    """Return a result under its entry's name, if the entry names a method; not partial, as the track sets the split."""
    entry = track.find_entry(result)
    named = entry is not None and track.methods[entry].method is not None
    renamed = {"method": entry, "variant": None, "tier": find_tier(result)} if named else {}
    return result.model_copy(update={"partial": False, **renamed})
