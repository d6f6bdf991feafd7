"""The log of a training: what each epoch is remembered by, in the runs folder, and beside a published record."""

from __future__ import annotations

import json
from pathlib import Path

from bench.errors import BadFileError
from bench.records.collection import StoredResult

LOG = "log.jsonl"


def log_path(record: Path) -> Path:
    """Where the log of a published record's training is."""
    return record.with_suffix(f".{LOG}")


def read_training_log(one: StoredResult) -> list[dict[str, float]]:
    """Read the figures of each epoch (`epoch`, `loss`, `loss/<term>` ...); none without a log. Raises BadFileError."""
    training = Path(one.result.training or "").name
    paths = [log_path(one.record), one.record.parent.parent / "trainings" / training / LOG]
    path = next((path for path in paths if path.is_file()), None)
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path else []
        return [{str(key): float(value) for key, value in json.loads(line).items()} for line in lines]
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BadFileError(path or one.record, f"no log of a training: {error}") from None
