"""Code of ours that was edited after a run was stored: it is noticed, and nothing is taken or made anew in silence.

Beside what is trained and predicted lies `code.json`: the digest of each module that made it, and those that were
edited since and kept. A record has one digest for all of them. What is older than this has neither, and is taken.
Code of others is in addresses.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.core.files import digest, read_object, write_json
from bench.core.lease import find_holder
from bench.errors import BusyError, RequestError, format_names
from bench.records.replicates import replicates_path
from bench.records.result import read_result, write_result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.execution.resolve import ResolvedRun
    from bench.records.store import Store

Stored = Literal["take", "keep", "again"]
"""What to do with what is stored: take it, but not if its code was edited; take it even so; make it again."""


def write_code(folder: Path, code: Mapping[str, str]) -> None:
    """Write down by which code a folder is filled, unless it is known."""
    if not _code_path(folder).exists():
        _write(folder, code, [])


def settle_stored(resolved: ResolvedRun, store: Store, record: Path, stored: Stored) -> str:
    """Refuse, or keep, what other code has made of a run; return what there is to say of it, which may be empty.

    Raises RequestError that names the edited modules, unless `stored` says what to do.
    """
    if stored == "again" or not (edited := find_edited(resolved, store, record)):
        return ""
    if stored != "keep":
        raise RequestError(describe_edited(resolved, edited))
    _keep(resolved, store, record, edited)
    return f"Kept what is stored of {resolved.request}, although its code was edited since: {format_names(edited)}."


def describe_edited(resolved: ResolvedRun, edited: Sequence[str]) -> str:
    """Say which code was edited after what is stored of a run was made, and what to do."""
    return (
        f"The code that made what is stored of {resolved.request} was edited since: {format_names(edited)}. Add "
        "--again to make it anew, or --keep to take it, if the edit changes no number; a higher `version` of the "
        "method gives it a new address beside the old one."
    )


def find_edited(resolved: ResolvedRun, store: Store, record: Path) -> list[str]:
    """List the modules that were edited after what is stored of a run was made; empty where nobody knows the code."""
    is_recorded = record.exists()
    made_by = read_result(record).provenance.get("code") if is_recorded else None
    if is_recorded and made_by in (None, digest(resolved.code)):
        return []
    steps = {folder: _read(folder) for folder in _list_steps(resolved, store)}
    edited = {
        module
        for folder, code in _list_steps(resolved, store).items()
        for module, before in steps[folder]["modules"].items()
        if code.get(module) != before
    }
    if edited or not is_recorded:
        return sorted(edited)
    kept = {module for step in steps.values() for module in step["kept"]}  # for another record of the same predictions
    return sorted(kept) or [_explain_unknown(steps)]


def _explain_unknown(steps: Mapping[Path, Mapping[str, Any]]) -> str:
    """Say why nobody knows which modules a record's code differs in."""
    if any(step["modules"] for step in steps.values()):
        return "methods (its predictions were made anew since)"
    return "methods (the files that would tell which are gone)"


def list_edited(folder: Path, code: Mapping[str, str]) -> list[str]:
    """List the modules, with their digests now, that were edited after a folder was filled; empty if nobody knows."""
    return sorted(module for module, before in _read(folder)["modules"].items() if code.get(module) != before)


def discard(resolved: ResolvedRun, store: Store, record: Path) -> None:
    """Delete what is stored of a run: its result, predictions and training.

    Raises BusyError for what another process is working on.
    """
    folders = [*_list_steps(resolved, store)]
    for folder in folders:
        if holder := find_holder(folder / "lease"):
            raise BusyError(f"--again would delete {folder}, in which {holder} is working: stop it, or wait for it.")
    for path in (record, record.with_suffix(".parquet"), replicates_path(record)):
        path.unlink(missing_ok=True)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def list_kept(resolved: ResolvedRun, store: Store) -> list[str]:
    """List the modules that were edited after a step of a run was made, and kept."""
    return sorted({module for folder in _list_steps(resolved, store) for module in _read(folder)["kept"]})


def describe_kept(edited: list[str]) -> str:
    """Return the note of a record of kept files."""
    return f"kept (--keep) from before its code was edited: {format_names(edited)}"


def _list_steps(resolved: ResolvedRun, store: Store) -> dict[Path, dict[str, str]]:
    """Return the folders of a run's training and predictions, with the code by which each would be made now."""
    steps = {store.predictions_folder(resolved.predictions.address): resolved.code}
    if resolved.training is not None:
        steps[store.training_folder(resolved.training.address)] = resolved.training_code
    return steps


def _keep(resolved: ResolvedRun, store: Store, record: Path, edited: list[str]) -> None:
    for folder, code in _list_steps(resolved, store).items():
        if folder.exists():
            _write(folder, code, sorted({*_read(folder)["kept"], *edited}))
    if record.exists():
        result = read_result(record)
        made_by = {**result.provenance, "code": digest(resolved.code)}
        notes = (*result.notes, describe_kept(edited))
        write_result(record, result.model_copy(update={"provenance": made_by, "notes": notes}))


def _code_path(folder: Path) -> Path:
    return folder / "code.json"


def _read(folder: Path) -> dict[str, Any]:
    path = _code_path(folder)
    return read_object(path, "modules", "kept") if path.exists() else {"modules": {}, "kept": []}


def _write(folder: Path, code: Mapping[str, str], kept: list[str]) -> None:
    write_json(_code_path(folder), {"modules": dict(code), "kept": kept})
