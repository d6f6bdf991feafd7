"""Detection of edits to our code after a run was stored, so that it is neither reused nor recomputed silently.

Each folder of a training or of predictions has a `code.json`: the digest of each module that made it, and the modules
that were edited since but accepted with `--keep`. A record has one digest of all modules. Older folders and records
have neither, and are reused. The code of plugins is part of addresses instead.
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
"""What to do with stored runs: reuse them unless their code was edited; reuse them regardless; make them again."""


def write_code(folder: Path, code: Mapping[str, str]) -> None:
    """Record the code that fills a folder, unless it is already recorded."""
    if not _code_path(folder).exists():
        _write(folder, code, [])


def settle_stored(resolved: ResolvedRun, store: Store, record: Path, stored: Stored) -> str:
    """Refuse, or keep, what is stored of a run if its code was edited; return the message to print, which may be empty.

    Raises RequestError, which names the edited modules, if `stored` is "take".
    """
    if stored == "again" or not (edited := find_edited(resolved, store, record)):
        return ""
    if stored != "keep":
        raise RequestError(describe_edited(resolved, edited))
    _keep(resolved, store, record, edited)
    return f"Kept what is stored of {resolved.request}, although its code was edited since: {format_names(edited)}."


def describe_edited(resolved: ResolvedRun, edited: Sequence[str]) -> str:
    """Describe which code was edited after a run was stored, and what to do."""
    return (
        f"The code that made what is stored of {resolved.request} was edited since: {format_names(edited)}. Add "
        "--again to make it anew, or --keep to take it, if the edit changes no number; a higher `version` of the "
        "method gives it a new address beside the old one."
    )


def find_edited(resolved: ResolvedRun, store: Store, record: Path) -> list[str]:
    """List the modules that were edited after a run was stored; empty if its code was not recorded."""
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
    """Describe why it is unknown in which modules a record's code differs."""
    if any(step["modules"] for step in steps.values()):
        return "methods (its predictions were made anew since)"
    return "methods (the files that would tell which are gone)"


def list_edited(folder: Path, code: Mapping[str, str]) -> list[str]:
    """List the modules that were edited after a folder was filled; empty if its code was not recorded.

    code: the modules' present digests.
    """
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
    """List the modules whose edits since a step of a run was made were accepted with `--keep`."""
    return sorted({module for folder in _list_steps(resolved, store) for module in _read(folder)["kept"]})


def describe_kept(edited: list[str]) -> str:
    """Return the note for the record of a run that was kept although its code was edited."""
    return f"kept (--keep) from before its code was edited: {format_names(edited)}"


def _list_steps(resolved: ResolvedRun, store: Store) -> dict[Path, dict[str, str]]:
    """Return the folders of a run's training and predictions, each with the code that would make it now."""
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
