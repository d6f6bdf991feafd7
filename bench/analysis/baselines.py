"""Baselines: the accepted results of each method, protocol and dataset, how a result finds its own, and replacing them.

They are a folder of records with their replicates, and a ledger of why each was accepted.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.analysis.kinds import KindIndex
from bench.core.files import Places, atomic_file, path_below, write_text
from bench.core.provenance import current_time, read_revision
from bench.errors import BadFileError
from bench.records.collection import StoredResult, read_rankable
from bench.records.replicates import replicates_path
from bench.records.result import Result, require_committed, write_result
from bench.tables.leaderboard import group_rows
from bench.tables.numbers import percent
from bench.tables.ranked import SeedGroup

LEDGER = "accepted.jsonl"
"""File beside the baselines, with a line for each accepted one: when, why, and what it replaces."""


def select_latest(kept: Iterable[StoredResult]) -> list[SeedGroup]:
    """Select the latest results of everything that was evaluated, one per seed."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for one in kept:
        groups.setdefault((one.result.protocol, one.result.dataset), []).append(one.result)
    rows = sorted((row for group in groups.values() for row in group_rows(group)), key=_get_time, reverse=True)
    found: list[SeedGroup] = []
    kinds: KindIndex[SeedGroup] = KindIndex()
    for row in rows:
        if next(kinds.find(row[0]), None) is None:
            found.append(row)
            kinds.add(row[0], row)
    return sorted(found, key=lambda row: (row[0].protocol, row[0].label, _get_time(row)))


def accept(
    results: Iterable[StoredResult], folder: Path, reason: str, places: Places, *, allow_dirty: bool = False
) -> list[str]:
    """Make results baselines in `folder`, replacing those of the same thing and seed; return what changed, in words.

    The ledger is written first, so that the next call can finish what a killed one left. Raises RequestError, before
    any change, for a new baseline from an edited checkout unless `allow_dirty`.
    """
    baselines = read(folder, places)
    known = {other.result.address for other in baselines}
    kinds = KindIndex((other.result, other.result) for other in baselines)
    new = [(one, _find_former(one.result, kinds)) for one in results if one.result.address not in known]
    require_committed([] if allow_dirty else [one.result for one, _ in new])
    _record(folder / LEDGER, new, reason)
    for one, _ in new:
        _copy(one, folder)
    for other in _list_replaced(folder, read_rankable(list_files(folder), places)):
        replicates_path(other.record).unlink(missing_ok=True)
        other.record.unlink()
    return [
        f"{_describe(one.result)}: {_values(one.result)}{''.join(f', was {_values(other)}' for other in former)}"
        for one, former in new
    ]


def read(folder: Path, places: Places) -> list[StoredResult]:
    """Read the baselines of a folder; those that cannot be believed are left out, with a warning."""
    return _leave_out_replaced(folder, read_rankable(list_files(folder), places))


def read_and_count(folder: Path, places: Places) -> tuple[list[StoredResult], int]:
    """Read the baselines of a folder, and count the records there that cannot be believed."""
    files = list_files(folder)
    there = read_rankable(files, places)
    return _leave_out_replaced(folder, there), len(files) - len(there)


def _leave_out_replaced(folder: Path, there: Sequence[StoredResult]) -> list[StoredResult]:
    """Leave out what a killed `accept` had replaced but not yet deleted."""
    replaced = {other.record for other in _list_replaced(folder, there)}
    return [one for one in there if one.record not in replaced]


def _list_replaced(folder: Path, there: Iterable[StoredResult]) -> list[StoredResult]:
    """List the records that others in the folder have replaced, according to the ledger."""
    records = {one.result.address: one for one in there}
    gone: set[str] = set()
    for line in _read_ledger(folder / LEDGER):
        if line["address"] in records:
            gone.discard(line["address"])
            gone.update(line["replaces"])
    return [one for address, one in records.items() if address in gone]


def list_files(folder: Path) -> list[Path]:
    """Return the records of a folder of baselines."""
    return sorted(folder.glob("[!.]*.json"))


def _find_former(new: Result, kinds: KindIndex[Result]) -> list[Result]:
    """Find the baselines of the same thing and seed."""
    return [other for other in kinds.find(new) if new.seed == other.seed]


def _get_time(row: SeedGroup) -> str:
    return max(one.created for one in row)


def _copy(one: StoredResult, folder: Path) -> None:
    """Copy the replicates, then the record, whose presence means that all files are complete."""
    record = path_below(folder, one.result.file_name)
    if replicates_path(one.record).exists():
        with atomic_file(replicates_path(record)) as part:
            shutil.copyfile(replicates_path(one.record), part)
    write_result(record, one.result)


def _record(ledger: Path, new: Sequence[tuple[StoredResult, Sequence[Result]]], reason: str) -> None:
    """Add a line for each new baseline to the ledger, unless a killed call already did so for the same reason."""
    pending: dict[str, object] = {}
    for line in _read_ledger(ledger):
        pending[line["address"]] = line.get("reason")
        for address in line["replaces"]:
            pending.pop(address, None)
    lines = [
        {
            "when": current_time(),
            "reason": reason,
            "revision": read_revision(Path(__file__).parent)["revision"],
            "protocol": one.result.protocol,
            "dataset": one.result.dataset,
            "split": one.result.split,
            "method": one.result.label,
            "seed": one.result.seed,
            "address": one.result.address,
            "metrics": one.result.metrics,
            "replaces": [{"address": other.address, "metrics": other.metrics} for other in former],
        }
        for one, former in new
        if pending.get(one.result.address) != reason
    ]
    before = ledger.read_text(encoding="utf-8") if ledger.exists() else ""
    added = "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines)
    if added:
        write_text(ledger, before + added)


def _read_ledger(ledger: Path) -> list[dict[str, Any]]:
    """Read the lines of a ledger, oldest first, with the addresses that each replaces. Raises BadFileError."""
    lines = []
    text = ledger.read_text(encoding="utf-8", errors="replace") if ledger.exists() else ""
    for row, raw in enumerate(text.splitlines()):
        try:
            line = json.loads(raw)
            replaces = [str(other["address"]) for other in line["replaces"]]
            lines.append({**line, "address": str(line["address"]), "replaces": replaces})
        except (ValueError, TypeError, KeyError, RecursionError):
            rule = "not a line of the ledger. Delete it: what it says of replaced baselines is lost, nothing else"
            raise BadFileError(ledger, rule, row=row) from None
    return lines


def _describe(result: Result) -> str:
    return f"{result.label} · {result.protocol} on {result.dataset} {result.split}{result.seed_suffix}"


def _values(result: Result) -> str:
    return ", ".join(f"{name} {percent(value) or 'undefined'}" for name, value in result.metrics.items())
