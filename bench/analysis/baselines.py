"""Baselines: what is accepted of each method, protocol and dataset, how a result finds its own, and how one moves.

A folder of records, with their replicates, and a ledger of why each stands there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.core.files import atomic_file, path_below, write_text
from bench.core.provenance import current_time, read_revision
from bench.records.collection import StoredResult, read_each
from bench.records.replicates import replicates_path
from bench.records.result import Result, require_committed, write_result
from bench.tables.leaderboard import group_rows
from bench.tables.numbers import percent
from bench.tables.ranked import SeedGroup

LEDGER = "accepted.jsonl"
"""Beside the baselines, a line for each that moved: when, why, from what to what."""


def select_latest(kept: Iterable[StoredResult]) -> list[SeedGroup]:
    """Of every thing that was evaluated the latest results, one a seed."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for one in kept:
        groups.setdefault((one.result.protocol, one.result.dataset), []).append(one.result)
    rows = sorted((row for group in groups.values() for row in group_rows(group)), key=_get_time, reverse=True)
    found: list[SeedGroup] = []
    for row in rows:
        if not any(is_same_kind(row[0], other[0]) for other in found):
            found.append(row)
    return sorted(found, key=lambda row: (row[0].protocol, row[0].label, _get_time(row)))


def find_baseline(result: Result, accepted: Iterable[SeedGroup]) -> SeedGroup:
    """Find the baseline of the same kind of run as a result; () if there is none."""
    return next((row for row in accepted if is_same_kind(row[0], result)), ())


def accept(results: Iterable[StoredResult], folder: Path, reason: str, *, allow_dirty: bool = False) -> list[str]:
    """Make results the baselines in `folder`, in place of those of the same thing and seed; what moved, in words.

    Raises RequestError, before anything moves, for a new one from an edited checkout unless `allow_dirty`.
    """
    moved = []
    baselines = read(folder)
    known = {other.result.address for other in baselines}
    new = [one for one in results if one.result.address not in known]
    require_committed([] if allow_dirty else [one.result for one in new])
    for one in new:
        former = [other for other in baselines if _replaces(one.result, other.result)]
        _copy(one, folder)
        _record(folder / LEDGER, one.result, [other.result for other in former], reason)
        for other in former:
            other.record.unlink()
            replicates_path(other.record).unlink(missing_ok=True)
        was = "".join(f", was {_values(other.result)}" for other in former)
        moved.append(f"{_describe(one.result)}: {_values(one.result)}{was}")
    return moved


def read(folder: Path) -> list[StoredResult]:
    """Read the baselines of a folder; those that cannot be believed are left out, with a warning."""
    return read_each(list_files(folder), with_replicates=True)


def list_files(folder: Path) -> list[Path]:
    """Return the records of a folder of baselines."""
    return sorted(folder.glob("[!.]*.json"))


def is_same_kind(a: Result, b: Result) -> bool:
    """Whether two results are of the same thing: a setting that only one of them knows came later, unless given."""
    if _identify(a) != _identify(b) or not (_knows_given(a, b) and _knows_given(b, a)):
        return False
    return all(a.config[key] == b.config[key] for key in a.config.keys() & b.config.keys())


def _knows_given(a: Result, b: Result) -> bool:
    """Whether a result knows the settings that were given to another."""
    return a.config.keys() >= set(b.given or ())


def _replaces(new: Result, old: Result) -> bool:
    return new.seed == old.seed and is_same_kind(new, old)


def _get_time(row: SeedGroup) -> str:
    return max(one.created for one in row)


def _identify(result: Result) -> tuple[Any, ...]:
    return result.protocol, result.label, result.dataset, result.split, result.train_split


def _copy(one: StoredResult, folder: Path) -> None:
    """Replicates, then the record, whose presence means that all is there."""
    record = path_below(folder, one.result.file_name)
    if replicates_path(one.record).exists():
        with atomic_file(replicates_path(record)) as part:
            shutil.copyfile(replicates_path(one.record), part)
    write_result(record, one.result)


def _record(ledger: Path, result: Result, former: Sequence[Result], reason: str) -> None:
    line = {
        "when": current_time(),
        "reason": reason,
        "revision": read_revision(Path(__file__).parent)["revision"],
        "protocol": result.protocol,
        "dataset": result.dataset,
        "split": result.split,
        "method": result.label,
        "seed": result.seed,
        "address": result.address,
        "metrics": result.metrics,
        "replaces": [{"address": one.address, "metrics": one.metrics} for one in former],
    }
    before = ledger.read_text(encoding="utf-8") if ledger.exists() else ""
    write_text(ledger, before + json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")


def _describe(result: Result) -> str:
    return f"{result.label} · {result.protocol} on {result.dataset} {result.split}{result.seed_suffix}"


def _values(result: Result) -> str:
    return ", ".join(f"{name} {percent(value) or 'undefined'}" for name, value in result.metrics.items())
