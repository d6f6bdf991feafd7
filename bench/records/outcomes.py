"""The outcomes per image of a kept result: a parquet beside its record, where it is small or in the runs folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from bench.errors import BadFileError


class Outcomes(NamedTuple):
    """What a family made of predictions, row by row, and the classes that its column `label` counts."""

    table: pa.Table
    classes: tuple[str, ...]


def read_outcomes(record: Path) -> Outcomes | None:
    """Read the outcomes beside a record, if there are any. Raises BadFileError."""
    path = record.with_suffix(".parquet")
    try:
        table = pq.ParquetFile(path).read(use_threads=False)
        return Outcomes(table, tuple(json.loads(table.schema.metadata[b"classes"])))
    except FileNotFoundError:
        return None
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise BadFileError(path, f"no outcomes of a scoring: {error}") from None
