"""The log of a training, with the figures of each epoch: in the runs folder and beside a published record."""

from __future__ import annotations

import json
import math
from pathlib import Path

from bench.core.files import path_below
from bench.errors import BadFileError
from bench.records.collection import StoredResult

LOG = "log.jsonl"


def log_path(record: Path) -> Path:
    """Return the path of the training log beside a published record."""
    return record.with_suffix(f".{LOG}")


def find_log(stored: StoredResult) -> Path | None:
    """Find the log beside a record, or in the runs folder that contains the record; None without one."""
    trainings = stored.record.parent.parent / "trainings"
    paths = [log_path(stored.record), *(path_below(trainings, name) / LOG for name in [stored.result.training] if name)]
    return next((path for path in paths if path.is_file()), None)


def read_training_log(stored: StoredResult) -> list[dict[str, float]]:
    """Read the figures of each epoch (`epoch`, `loss`, `loss/<term>` ...); empty without a log. Raises BadFileError."""
    path = find_log(stored)
    return read_log(path) if path else []


def read_log(path: Path) -> list[dict[str, float]]:
    """Read the figures of each epoch from a log. Raises BadFileError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        figures = [{str(key): float(value) for key, value in json.loads(line).items()} for line in lines]
        for name in {"epoch", *(name for line in figures[:1] for name in line if name.startswith("loss"))}:
            if not all(name in line for line in figures):
                raise ValueError(f"a line has no {name}")
        if not all(math.isfinite(line["epoch"]) for line in figures):
            raise ValueError("an epoch is not a number")
        return figures
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BadFileError(path, f"not a training log: {error}") from None
