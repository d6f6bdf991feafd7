"""The outcomes per image of a stored result: a parquet beside its record, if it is small or in the runs folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from bench.core.files import require_regular_file
from bench.errors import BadFileError


class Outcomes(NamedTuple):
    """Outcomes of predictions, row by row, as the protocol family made them; column `label` indexes `classes`."""

    table: pa.Table
    classes: tuple[str, ...]


def read_outcomes(record: Path) -> Outcomes | None:
    """Read the outcomes beside a record; None without any. Raises BadFileError."""
    path = record.with_suffix(".parquet")
    try:
        table = pq.ParquetFile(require_regular_file(path)).read(use_threads=False)
        return Outcomes(table, tuple(json.loads(table.schema.metadata[b"classes"])))
    except FileNotFoundError:
        return None
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise BadFileError(path, f"not a file of outcomes: {error}") from None
