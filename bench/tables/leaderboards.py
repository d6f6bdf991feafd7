"""Leaderboards and the papers' tables from kept results: what `table`, `list tables` and `report` show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from bench import registry
from bench.tables.papers import reported_tables

if TYPE_CHECKING:
    from bench.records.collection import StoredResult
    from bench.scoring.protocol import BoundProtocol
    from bench.tables.matching import Matches
    from bench.tables.model import Table
    from bench.tables.reported import ReportedTable


def board(protocol: str, dataset: str, known: Sequence[StoredResult]) -> Table:
    """Build the leaderboard of a protocol on a dataset. Raises UnknownNameError."""
    from bench.records.replicates import read_replicates
    from bench.scoring.protocol import dump_conventions
    from bench.tables.leaderboard import leaderboard

    bound = registry.bind(registry.protocol(protocol))
    chosen = [one for one in known if (one.result.protocol, one.result.dataset) == (protocol, dataset)]
    conventions = dump_conventions(bound.conventions)
    draws = {one.result.address: read_replicates(one.record) for one in chosen}
    return leaderboard(protocol, dataset, [one.result for one in chosen], conventions, draws)


def paper_table(name: str, known: Sequence[StoredResult], data: str | None = None) -> Table:
    """Build a paper's table with the measured numbers below the printed ones. Raises UnknownNameError.

    data: the dataset of a try-out, whose results are shown in place of those on the table's own.
    """
    from bench.tables.reported import load_table

    table = load_table(name)
    bound = {protocol: registry.bind(registry.protocol(protocol)) for protocol in table.protocols()}
    return with_measured(table, _matches(table, known, bound, data))


def with_measured(table: ReportedTable, found: Matches) -> Table:
    """Add the measured numbers below a paper's printed rows."""
    from bench.tables.beside import table_beside

    families = {name: registry.family(registry.protocol(name).family) for name in table.protocols()}
    directions = {
        (name, metric): higher for name, family in families.items() for metric, higher in family.METRICS.items()
    }
    return table_beside(table, found, directions)


class MatchedTables(Mapping[str, tuple["ReportedTable", "Matches"]]):
    """Papers' tables by name, each with the results that match it, which are looked up when first asked for."""

    def __init__(self, known: Sequence[StoredResult], tables: Mapping[str, ReportedTable]) -> None:
        names = registry.protocols().keys() & {one.result.protocol for one in known}
        self._bound = {name: registry.bind(registry.protocol(name)) for name in names}
        self._known, self._tables = known, tables
        self._found: dict[str, tuple[ReportedTable, Matches]] = {}

    def __getitem__(self, name: str) -> tuple[ReportedTable, Matches]:
        if name not in self._found:
            table = self._tables[name]
            self._found[name] = table, _matches(table, self._known, self._bound)
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)


def load_tables() -> dict[str, ReportedTable]:
    """Load every paper's table, by name."""
    from bench.tables.reported import load_table

    return {name: load_table(name) for name in reported_tables()}


def match_tables(known: Sequence[StoredResult]) -> MatchedTables:
    """Match every paper table with the results that measure its numbers; by name."""
    return MatchedTables(known, load_tables())


def count_numbers(table: ReportedTable, found: Matches) -> dict[str, int]:
    """Count the numbers of a paper's table, those measured, and those measured only incomparably (`marked`)."""
    cells = [*found.cells()]
    measured = {(row, key) for row, key, one in cells if not one.reasons}
    marked = {(row, key) for row, key, _ in cells} - measured
    return {"cells": len(table.numbers()), "measured": len(measured), "marked": len(marked)}


def _matches(
    table: ReportedTable, known: Sequence[StoredResult], bound: Mapping[str, BoundProtocol], data: str | None = None
) -> Matches:
    from bench.records.replicates import read_replicates
    from bench.tables.matching import matches

    records = {one.result.address: one.record for one in known}
    results = [one.result for one in known]
    return matches(table, results, bound, lambda address: read_replicates(records[address]), data=data)
