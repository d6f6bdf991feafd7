"""Leaderboards of a site, kept from the earlier site: ranking a thousand results takes longer than reading them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.records.collection import StoredResult
from bench.records.result import SYNTHETIC
from bench.site.folder import Earlier
from bench.site.parts import Board, make_board
from bench.tables.model import Cell, Table
from bench.tracks.leaderboards import make_leaderboards
from bench.tracks.track import Track, list_tracks, read_track


def recall_boards(known: Sequence[StoredResult], digests: Mapping[str, str], earlier: Earlier) -> list[Board]:
    """Return the leaderboard of each protocol and dataset with results, real data first.

    digests: by address, of each result together with the code.
    """
    places = {(one.result.protocol, one.result.dataset) for one in known}
    of, boards = {one.result.address: one.result for one in known}, []
    for protocol, dataset in sorted(places, key=lambda place: (place[0], place[1] in SYNTHETIC, place[1])):
        own = [one for one in known if (one.result.protocol, one.result.dataset) == (protocol, dataset)]

        def make(protocol: str = protocol, dataset: str = dataset) -> list[Any]:
            board = make_board(protocol, dataset, known)
            return [_dump_table(board.plain), [[result.address for result in group] for group in board.of]]

        names = f"board {protocol} {dataset}"
        table, groups = earlier.recall(names, [digests[one.result.address] for one in own], make)
        rows = tuple(tuple(of[address] for address in group) for group in groups)
        boards.append(Board(protocol, dataset, _load_table(table), rows))
    return boards


def recall_tracks(
    known: Sequence[StoredResult], digests: Mapping[str, str], earlier: Earlier
) -> list[tuple[Track, list[Table]]]:
    """Return the leaderboards of each track, the track with most rows first."""
    found = []
    for track in map(read_track, list_tracks()):
        tables: list[Any] = []
        for protocol in track.protocols:
            own = [one for one in known if one.result.protocol == protocol]

            def make(track: Track = track, protocol: str = protocol, own: Sequence[StoredResult] = own) -> list[Any]:
                return [*map(_dump_table, make_leaderboards(track, own, [protocol]))]

            depends = [digests[one.result.address] for one in own]
            tables += earlier.recall(f"track {track.name} {protocol}", depends, make)
        found.append((track, [*map(_load_table, tables)]))
    return sorted(found, key=lambda pair: -sum(len(table.rows) for table in pair[1]))


def _dump_table(table: Table) -> dict[str, Any]:
    """Return a table as a JSON value."""
    rows = [
        [[cell.value, cell.text, cell.marks, cell.best, dict(cell.extra), cell.link] for cell in row]
        for row in table.rows
    ]
    return {**vars(table), "notes": dict(table.notes), "rows": rows}


def _load_table(raw: Mapping[str, Any]) -> Table:
    """Return the table of a JSON value."""
    rows = tuple(
        tuple(Cell(value, text, tuple(marks), best, extra, link) for value, text, marks, best, extra, link in row)
        for row in raw["rows"]
    )
    tuples = {name: tuple(raw[name]) for name in ("columns", "remarks", "heads", "groups")}
    return Table(raw["title"], rows=rows, notes=raw["notes"], **tuples)
