"""What a method says about a split, on disk: the kinds of prediction, their columns, and our own parquet form.

Formats of others (COCO JSON, VOC text) are in `formats.py`. Reading never executes anything: parquet only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.errors import BadFileError, UnknownNameError
from bench.files import atomic, file_digest
from bench.truth import Truth

KINDS: dict[str, tuple[str, ...]] = {
    "scores": ("image", "label", "score"),
    "boxes": ("image", "label", "score", "x1", "y1", "x2", "y2"),
    "points": ("image", "label", "score", "x", "y"),
    "proposals": ("image", "label", "x1", "y1", "x2", "y2", "probability"),
}
"""Columns of the kinds that are tables. `masks`, `maps` and `objectness` are folders."""

_KEY = b"weakloc"


@dataclass(frozen=True)
class About:
    """Who made predictions and for which images: an image of `ids` without rows has no detections."""

    made_by: str
    dataset: str | None = None
    split: str | None = None
    ids: tuple[str, ...] | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of one kind: a table with the columns of `KINDS[kind]`, not yet held against a truth."""

    kind: str
    table: pa.Table
    about: About
    source: str

    @cached_property
    def digest(self) -> str:
        """Digest of the file they were read from."""
        return file_digest(Path(self.source))


@dataclass(frozen=True, eq=False)
class Resolved:
    """Predictions held against a truth: columns as arrays, rows in file order.

    image, label: (n,) int32, indices into the truth's ids and classes. columns: the numeric ones, (n,) float64.
    covered: (N,) bool, the images that the file speaks for. counts: what was odd but kept.
    """

    kind: str
    image: NDArray[np.int32]
    label: NDArray[np.int32]
    columns: dict[str, NDArray[np.float64]]
    covered: NDArray[np.bool_]
    counts: dict[str, int]

    @property
    def score(self) -> NDArray[np.float64]:
        """Scores (n,)."""
        return self.columns["score"]

    @cached_property
    def box(self) -> NDArray[np.float64]:
        """Boxes (n, 4), half-open corners."""
        return np.stack([self.columns[name] for name in ("x1", "y1", "x2", "y2")], axis=1)


def write(path: Path, kind: str, table: pa.Table, about: About) -> None:
    """Write predictions as parquet, atomically, with `about` in the file's metadata."""
    note = {"kind": kind, "made_by": about.made_by, "dataset": about.dataset, "split": about.split, **about.extra}
    note["ids"] = None if about.ids is None else list(about.ids)
    kept = table.select(list(KINDS[kind])).replace_schema_metadata({_KEY: json.dumps(note)})
    with atomic(path) as part:
        pq.write_table(kept, part, compression="zstd")


def read(path: Path, kind: str | None = None) -> Predictions:
    """Read parquet predictions; `kind` is needed only for a file that does not say it.

    Raises BadFileError where the file is no parquet, lacks a column, or has one of the wrong type.
    """
    try:
        table = pq.read_table(path, read_dictionary=["image", "label"])
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BadFileError(path, f"not a readable parquet file ({_first_line(error)})") from None
    note = _note(path, table)
    found = note.pop("kind", None) or kind
    if found not in KINDS:
        raise BadFileError(path, f"does not say its kind; expected one of {', '.join(KINDS)}, but got {found!r}")
    if kind is not None and found != kind:
        raise BadFileError(path, f"expected predictions of kind {kind!r}, but it says {found!r}")
    ids = note.pop("ids", None)
    about = About(
        made_by=str(note.pop("made_by", path.stem)),
        dataset=note.pop("dataset", None),
        split=note.pop("split", None),
        ids=None if ids is None else tuple(ids),
        extra=note,
    )
    return Predictions(found, _checked(path, found, table), about, str(path))


def resolve(predictions: Predictions, truth: Truth) -> Resolved:
    """Hold predictions against a truth.

    Raises BadFileError, naming the row, for an image or class that the truth does not have, and for a value that is
    not finite. Inverted boxes and boxes outside their image are counted and kept.
    """
    table, source = predictions.table, predictions.source
    image = _indices(source, table["image"], truth.index, f"image of {truth.dataset} {truth.split}")
    label = _indices(source, table["label"], truth.class_index, f"class of {truth.dataset}")
    columns = {
        name: _finite(source, name, table[name]) for name in KINDS[predictions.kind] if name not in ("image", "label")
    }
    covered = np.zeros(len(truth.ids), dtype=np.bool_)
    covered[image] = True
    if predictions.about.ids is not None:
        unknown = next((name for name in predictions.about.ids if name not in truth.index), None)
        if unknown is not None:
            raise BadFileError(source, f"covers image {unknown!r}, which {truth.dataset} {truth.split} does not have")
        covered[[truth.index[name] for name in predictions.about.ids]] = True
    resolved = Resolved(predictions.kind, image, label, columns, covered, {})
    if "x1" in columns:
        resolved.counts.update(_odd_boxes(resolved.box, truth.size[image]))
    return resolved


def _note(path: Path, table: pa.Table) -> dict[str, Any]:
    raw = (table.schema.metadata or {}).get(_KEY)
    if raw is None:
        return {}
    try:
        note = json.loads(raw)
    except ValueError:
        note = None
    if not isinstance(note, dict):
        raise BadFileError(path, "its weakloc metadata is not a JSON object")
    return note


def _checked(path: Path, kind: str, table: pa.Table) -> pa.Table:
    for name in KINDS[kind]:
        if name not in table.column_names:
            raise BadFileError(
                path, f"predictions of kind {kind!r} need a column {name!r}; it has {table.column_names}"
            )
        if name in ("image", "label") and not _is_text(table.schema.field(name).type):
            raise BadFileError(path, f"column {name!r} must hold strings, but got {table.schema.field(name).type}")
        if table[name].null_count:
            row = pc.index(pc.is_null(table[name]), True).as_py()
            raise BadFileError(path, f"column {name!r} is empty", row=row)
    return table.select(list(KINDS[kind]))


def _is_text(type_: pa.DataType) -> bool:
    value = type_.value_type if pa.types.is_dictionary(type_) else type_
    return bool(pa.types.is_string(value) or pa.types.is_large_string(value))


def _indices(source: str, column: pa.ChunkedArray, index: dict[str, int], what: str) -> NDArray[np.int32]:
    """Row of each string in `index` (n,) int32."""
    encoded = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(encoded, pa.ChunkedArray):  # combine_chunks keeps an empty column chunked
        return np.zeros(0, dtype=np.int32)
    if not pa.types.is_dictionary(encoded.type):
        encoded = encoded.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    rows = np.array([index.get(name, -1) for name in names], dtype=np.int32)
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    found = rows[codes] if len(rows) else np.zeros(0, dtype=np.int32)
    if (found < 0).any():
        row = int(np.argmax(found < 0))
        near = UnknownNameError(what, names[codes[row]], list(index) if len(index) <= 200 else [])
        raise BadFileError(source, str(near).replace(" Available: none.", ""), row=row)
    return found


def _finite(source: str, name: str, column: pa.ChunkedArray) -> NDArray[np.float64]:
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise BadFileError(source, f"column {name!r} must hold numbers, but got {column.type}")
    values = np.asarray(column.to_numpy(), dtype=np.float64)
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values)))
        raise BadFileError(source, f"column {name!r} must be finite, but got {values[row]}", row=row)
    return values


def _odd_boxes(box: NDArray[np.float64], size: NDArray[np.int32]) -> dict[str, int]:
    inverted = (box[:, 2:] <= box[:, :2]).any(axis=1)
    outside = (box[:, :2] < 0).any(axis=1) | (box[:, 2:] > size).any(axis=1)
    return {"inverted_boxes": int(inverted.sum()), "boxes_outside_image": int(outside.sum())}


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
