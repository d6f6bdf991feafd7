"""The files of the runs folder: how much disk space each item takes, and which may be deleted."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.core.files import Places, read_json
from bench.core.lease import Holder, find_holder
from bench.errors import BadFileError, describe_os_error
from bench.predictions.prior_runs import FIELDS
from bench.records.result import Result, list_records

PRUNED = ("trainings", "predictions")
FEATURES = "features"
"""The kinds that may be pruned: all can be made again at the same addresses, at the cost of time."""


@dataclass(frozen=True)
class StoredItem:
    """A training, predictions, a result, a part of the cache, or another entry of the runs folder.

    modified: when one of its files was last written, in seconds since the epoch. label: its method, if it has one.
    why_kept: why it must not be deleted, although it is old enough.
    """

    kind: str
    path: Path
    bytes: int
    modified: float
    label: str = ""
    why_kept: str = ""


def list_items(places: Places) -> list[StoredItem]:
    """Return everything in the runs folder, the largest first."""
    items = [*_list_folders(places), *_list_results(places)]
    return sorted(items, key=lambda item: (-item.bytes, item.path))


def _list_folders(places: Places) -> Iterator[StoredItem]:
    nested = {*PRUNED, "cache"}
    entries = sorted(places.runs.iterdir()) if places.runs.is_dir() else []
    for entry in entries:
        if entry.name == "results":
            continue
        for path in sorted(entry.iterdir()) if entry.name in nested else [entry]:
            if path.name == FEATURES and entry.name == "cache":
                yield from (_measure(FEATURES, each) for each in sorted(path.iterdir()))
            else:
                yield _measure(entry.name if entry.name in nested else "other", path, _read_label(path))


def _list_results(places: Places) -> Iterator[StoredItem]:
    folder = places.runs / "results"
    for record in list_records(folder):
        files = [record, *folder.glob(f"{record.stem}.*parquet")]
        yield StoredItem("results", record, *_sum_files(files))


def _measure(kind: str, path: Path, label: str = "") -> StoredItem:
    inside = [path] if path.is_symlink() or not path.is_dir() else [one for one in path.rglob("*") if one.is_file()]
    return StoredItem(kind, path, *_sum_files(inside or [path]), label)


def _sum_files(files: Iterable[Path]) -> tuple[int, float]:
    """Return the bytes of files, and when the last one was written; files deleted meanwhile count nothing."""
    size, modified = 0, 0.0
    for file in files:
        try:
            stat = file.lstat()
        except FileNotFoundError:
            continue
        size, modified = size + stat.st_size, max(modified, stat.st_mtime)
    return size, modified


def _read_label(path: Path) -> str:
    return str(_read_key(path).get("method", ""))


def _read_key(path: Path) -> dict[str, Any]:
    """Return the settings that determine a training or predictions; empty if they are not readable."""
    try:
        return dict(read_json(path / "config.json"))
    except (OSError, ValueError, TypeError, BadFileError):
        return {}


def choose_prunable(
    places: Places,
    *,
    kinds: Sequence[str] = PRUNED,
    kept: Iterable[Result] = (),
    older_s: float = 0.0,
    now: float | None = None,
) -> list[StoredItem]:
    """Return the items of these kinds that are older than `older_s` seconds; `why_kept` marks those to keep.

    kept: results whose trainings and predictions are kept, with those that they build on. Items that a process is
    working on are kept too, with those that they need.
    """
    limit = (time.time() if now is None else now) - older_s
    items = list_items(places)
    holders = {item.path: holder for item in items if (holder := find_worker(item.path))}
    used = {path.name for path in holders}
    needed = _close_over(places, used)
    published = _close_over(places, {name for result in kept for name in (result.training, result.predictions) if name})

    def explain(item: StoredItem) -> str:
        if item.path in holders:
            return f"in use by {holders[item.path]}"
        if item.path.name in needed:
            return "needed by a run in progress"
        return "a kept result rests on it" if item.path.name in published else ""

    old = [item for item in items if item.kind in kinds and item.modified <= limit]
    return [replace(item, why_kept=explain(item)) for item in old]


def find_worker(path: Path) -> Holder | None:
    """Return the process that works in a folder or below; None if none does."""
    leases = path.rglob("lease") if path.is_dir() else ()
    return next((holder for lease in leases if (holder := find_holder(lease))), None)


def _close_over(places: Places, addresses: Iterable[str]) -> set[str]:
    """Return addresses together with those of all trainings and predictions that they were made from."""
    found: set[str] = set()
    waiting = [*addresses]
    while waiting:
        if (address := waiting.pop()) in found:
            continue
        found.add(address)
        for kind in PRUNED:
            key = _read_key(places.runs / kind / address)
            named = [key.get("config", {}).get(field, ()) for field in FIELDS]
            runs = [run for one in named for run in ([one] if isinstance(one, str) else one)]
            waiting += filter(None, [key.get("training"), *runs])
    return found


def prune(items: Iterable[StoredItem]) -> tuple[list[StoredItem], list[StoredItem]]:
    """Delete the items that may be deleted; return them, and those kept because they are in use or protected."""
    deleted, kept = [], []
    for item in items:
        is_folder = item.path.is_dir() and not item.path.is_symlink()  # nothing else there is a run's
        if item.why_kept or not is_folder or find_worker(item.path):
            kept.append(item)
            continue
        gone = item.path.with_name(f".{item.path.name}.pruned")
        try:
            item.path.rename(gone)  # atomic, so that no process finds half of it
            shutil.rmtree(gone)
        except OSError as error:
            kept.append(replace(item, why_kept=f"not deleted, {describe_os_error(error).rstrip('.')}"))
        else:
            deleted.append(item)
    return deleted, kept
