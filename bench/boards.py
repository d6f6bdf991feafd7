"""Leaderboards and the papers' tables from kept results: what `table`, `list tables` and `report` show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from bench import registry
from bench.tables.papers import reported_tables

if TYPE_CHECKING:
    from bench.kept import Kept
    from bench.protocol import BoundProtocol
    from bench.tables.matching import Matches
    from bench.tables.model import Table
    from bench.tables.reported import ReportedTable


def board(protocol: str, dataset: str, known: Sequence[Kept]) -> Table:
    """The leaderboard of a protocol on a dataset. Raises UnknownNameError."""
    from bench.replicates import read_replicates
    from bench.tables.leaderboard import leaderboard

    bound = registry.bind(registry.protocol(protocol))
    chosen = [one for one in known if (one.result.protocol, one.result.dataset) == (protocol, dataset)]
    says = bound.conventions.model_dump(mode="json")
    draws = {one.result.address: read_replicates(one.record) for one in chosen}
    return leaderboard(protocol, dataset, [one.result for one in chosen], says, draws)


def paper_table(name: str, known: Sequence[Kept]) -> Table:
    """A paper's table with the measured numbers beneath the printed ones. Raises UnknownNameError."""
    from bench.tables.beside import table_beside
    from bench.tables.reported import load_table

    table = load_table(name)
    bound = {protocol: registry.bind(registry.protocol(protocol)) for protocol in table.protocols()}
    directions = {
        (protocol, metric): higher for protocol, one in bound.items() for metric, higher in one.family.METRICS.items()
    }
    return table_beside(table, _matches(table, known, bound), directions)


def counted(known: Sequence[Kept]) -> Iterator[tuple[str, str, dict[str, int]]]:
    """Name and caption of every paper table, how many numbers it has, and of how many something was measured."""
    from bench.tables.reported import load_table

    names = registry.protocols().keys() & {one.result.protocol for one in known}
    bound = {name: registry.bind(registry.protocol(name)) for name in names}
    for name, listed in reported_tables().items():
        table = load_table(name)
        found = [*_matches(table, known, bound).cells()]
        measured = {(row, key) for row, key, one in found if not one.reasons}
        marked = {(row, key) for row, key, _ in found} - measured
        cells = sum(1 for _ in table.numbers())
        yield name, listed.summary, {"cells": cells, "measured": len(measured), "marked": len(marked)}


def _matches(table: ReportedTable, known: Sequence[Kept], bound: Mapping[str, BoundProtocol]) -> Matches:
    from bench.replicates import read_replicates
    from bench.tables.matching import matches

    records = {one.result.address: one.record for one in known}
    return matches(table, [one.result for one in known], bound, lambda address: read_replicates(records[address]))
