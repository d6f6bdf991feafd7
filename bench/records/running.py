"""Trainings in progress in a runs folder, with their logs so far."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.core.files import Places, name_damage, read_object
from bench.core.lease import find_holder
from bench.errors import BadFileError
from bench.records.collection import leave_out
from bench.records.result import list_records
from bench.records.training_log import LOG, read_log

State = Mapping[str, tuple[int, int]]
"""By path, when each file was written, in nanoseconds, and its size in bytes."""


@dataclass(frozen=True)
class RunningTraining:
    """A training in progress. epochs: how many it will have, if configured; log: the figures of those completed."""

    address: str
    method: str
    seed: int
    epochs: int | None
    log: Sequence[Mapping[str, float]]


def list_running(places: Places) -> list[RunningTraining]:
    """Return the trainings that a process is working on, by address; warn of those left out for a damaged file."""
    found, bad = [], {}
    for folder in _list_folders(places):
        try:
            found.append(_read_training(folder))
        except BadFileError as error:
            bad[folder] = str(error)
    leave_out(bad, "training")
    return found


def _read_training(folder: Path) -> RunningTraining:
    """Read the settings and the log of a training. Raises BadFileError."""
    config, path = folder / "config.json", folder / LOG
    key = read_object(config, "method", "seed", "config")
    log = read_log(path) if path.is_file() else []
    with name_damage(config):
        epochs = key["config"].get("epochs")
        if not (isinstance(key["method"], str) and isinstance(key["seed"], int) and isinstance(epochs, int | None)):
            raise TypeError("method, seed or epochs is of another type")
    return RunningTraining(folder.name, key["method"], key["seed"], epochs, log)


def read_state(places: Places, published: Path) -> State:
    """Return the time and size of each record and of each log of a training in progress."""
    records = [*list_records(published), *list_records(places.runs / "results")]
    state = {}
    for path in (*records, *(folder / LOG for folder in _list_folders(places))):
        with suppress(FileNotFoundError):
            status = path.stat()
            state[str(path)] = (status.st_mtime_ns, status.st_size)
    return state


def _list_folders(places: Places) -> Iterator[Path]:
    for folder in sorted((places.runs / "trainings").glob("*")):
        if not (folder / "done.json").exists() and find_holder(folder / "lease") is not None:
            yield folder
