"""What readers of other people's formats share: rows of indices and numbers, made into predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench.boxes import FloatArray
from bench.errors import BadFileError
from bench.predictions import KINDS, About, Predictions
from bench.truth import Truth

Row = tuple[int, int, list[float]]
"""Index of the image, index of the class, and numbers."""


def accept(path: Path, kind: str, kinds: Sequence[str]) -> None:
    """Raise BadFileError where a file of `kind` is none of `kinds`."""
    if kind not in kinds:
        raise BadFileError(path, f"holds {kind}, but {' or '.join(kinds) or 'no table'} is expected")


def of_rows(
    path: Path,
    truth: Truth,
    kind: str,
    rows: list[Row],
    about: About,
    convert: Callable[[FloatArray], FloatArray] = lambda corners: corners,
) -> Predictions:
    """Rows as predictions of a kind; their numbers are its own columns, after `convert` of a box's corners (n, 4)."""
    image, label = (pa.array([row[part] for row in rows], pa.int32()) for part in (0, 1))
    names = [name for name in KINDS[kind] if name not in ("image", "label")]
    numbers = np.array([row[2] for row in rows], dtype=np.float64).reshape(len(rows), len(names))
    if kind == "boxes":
        numbers[:, 1:] = convert(numbers[:, 1:])
    columns = {
        "image": pa.DictionaryArray.from_arrays(image, pa.array(truth.ids, pa.string())),
        "label": pa.DictionaryArray.from_arrays(label, pa.array(truth.classes, pa.string())),
        **{name: numbers[:, column] for column, name in enumerate(names)},
    }
    return Predictions(kind, pa.table(columns), about, str(path))
