"""Predictions for a split, on disk: the kinds of prediction, their columns, and our own parquet format.

Other formats (COCO JSON, VOC text) are in `formats/`, kinds stored as folders in `arrays.py`. Reading parquet never
executes code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from bench.core.files import atomic_file, digest, file_digest, grow_limit, list_files, require_regular_file
from bench.data.ground_truth import FEW, GroundTruth, find_image, require_image
from bench.errors import (
    BadFileError,
    UnknownImageError,
    UnknownNameError,
    WrongKindError,
    escape_text,
    first_line,
    format_bytes,
)

KINDS: dict[str, tuple[str, ...]] = {
    "scores": ("image", "label", "score"),
    "boxes": ("image", "label", "score", "x1", "y1", "x2", "y2"),
    "points": ("image", "label", "score", "x", "y"),
    "proposals": ("image", "label", "x1", "y1", "x2", "y2", "probability"),
    "segments": ("image", "label", "score", "segment"),
}
"""Columns of the kinds stored as tables; a segment is COCO's compressed run lengths, at the image's size."""

FOLDERS: dict[str, tuple[str, ...]] = {
    "masks": ("image",),
    "maps": ("image", "label"),
    "objectness": ("image",),
}
"""Index columns of the kinds stored as folders of arrays; masks and objectness have one array per image."""

ONE_PER_PAIR = ("scores", "points", *FOLDERS)
"""Kinds with at most one prediction per image and class, or per image."""

Arrays = Callable[[], Iterator[NDArray[Any]]]
"""The arrays of a folder's rows, in their order, one in memory at a time."""

MAX_ROWS = 10_000_000
"""The most rows of a file, beyond which it is not read; like the limits below, it is higher for a large file."""

MAX_BYTES = 3 << 28
"""The largest unpacked size, by a table's metadata, beyond which it is not read."""

MAX_TEXT_BYTES = 1 << 28
"""The most bytes of text in a file's columns."""

_COLUMNS = {**KINDS, **FOLDERS}
_TEXT = ["image", "label", "segment"]
_KEY = b"weakloc"


@dataclass(frozen=True)
class About:
    """The origin of predictions, and the images that they cover; an image of `ids` without rows has no detections."""

    made_by: str
    dataset: str | None = None
    split: str | None = None
    ids: tuple[str, ...] | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "made_by", escape_text(self.made_by, most=100))


COUNTED = frozenset({".npy", ".npz", ".parquet", ".png", ".txt"})
"""Suffixes of the files that belong to predictions in a folder."""

TABLES = frozenset({".csv", ".json", ".gz", ".tsv"})
"""Suffixes of the files that belong to predictions in a folder without any of `COUNTED`."""

_LARGEST = 1 << 36
"""The most bytes of a file in a folder of predictions."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of one kind, not yet matched with a ground truth: a table with its columns, and a folder's arrays."""

    kind: str
    table: pa.Table
    about: About
    source: str
    notes: tuple[str, ...] = ()
    arrays: Arrays | None = field(default=None, repr=False)

    @cached_property
    def digest(self) -> str:
        """Digest of the file they were read from, or of all `COUNTED` or `TABLES` in a folder. Raises BadFileError."""
        path = Path(self.source)
        if not path.is_dir():
            return file_digest(path)
        there = [file for file in list_files(path) if file.is_file()]
        files = [file for file in there if file.suffix in COUNTED]
        files = files or [file for file in there if file.suffix.lower() in TABLES]
        for file in files:
            if file.stat().st_size > _LARGEST:
                raise BadFileError(file, f"larger than any file of predictions ({format_bytes(_LARGEST)}). Remove it")
        return digest({file.relative_to(path).as_posix(): file_digest(file) for file in files})


@dataclass(frozen=True, eq=False)
class ResolvedPredictions:
    """Predictions matched with a ground truth: columns as arrays, rows in file order.

    image, label: (n,) int32, indices into the ground truth's ids and classes; label is -1 for a kind without classes.
    columns: the numeric ones, (n,) float64. covered: (N,) bool, the images that the file covers. counts: oddities that
    were kept. notes: remarks for the result. arrays: n arrays, of a folder. segments: n run lengths, not validated.
    """

    kind: str
    image: NDArray[np.int32]
    label: NDArray[np.int32]
    columns: dict[str, NDArray[np.float64]]
    covered: NDArray[np.bool_]
    counts: dict[str, int]
    notes: tuple[str, ...] = ()
    arrays: Arrays = field(default=lambda: iter(()), repr=False)
    segments: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def score(self) -> NDArray[np.float64]:
        """Scores (n,)."""
        return self.columns["score"]

    @cached_property
    def box(self) -> NDArray[np.float64]:
        """Boxes (n, 4), half-open corners, in column-major order."""
        return np.stack([self.columns[name] for name in ("x1", "y1", "x2", "y2")]).T


def locate_predictions(folder: Path, kind: str) -> Path:
    """Return the path of a kind in a folder of predictions: a file, or a folder of its own."""
    return folder / (kind if kind in FOLDERS else f"{kind}.parquet")


def write(path: Path, kind: str, table: pa.Table, about: About) -> None:
    """Write predictions as parquet, atomically, with `about` in the file's metadata."""
    write_rows(path, kind, table.select(list(KINDS[kind])), about)


def describe(kind: str | None, about: About) -> dict[bytes, bytes]:
    """Return the metadata of a parquet file of predictions."""
    note = {"kind": kind, "made_by": about.made_by, "dataset": about.dataset, "split": about.split, **about.extra}
    note["ids"] = None if about.ids is None else list(about.ids)
    return {_KEY: json.dumps(note).encode()}


def write_rows(path: Path, kind: str | None, table: pa.Table, about: About, at_once: int | None = None) -> None:
    """Write a table with any columns as `write` does, in row groups of `at_once` rows."""
    split = [field.name for field in table.schema if pa.types.is_float64(field.type)]  # half the time to read
    texts = [field.name for field in table.schema if field.name not in split]
    described = table.replace_schema_metadata(describe(kind, about))
    with atomic_file(path) as part:
        options = {"compression": "zstd", "use_dictionary": texts, "use_byte_stream_split": split}
        pq.write_table(described, part, row_group_size=at_once, **options)


class _Note(BaseModel):
    """The metadata of our parquet files."""

    model_config = ConfigDict(extra="allow", strict=True)

    kind: str | None = None
    made_by: str | None = None
    dataset: str | None = None
    split: str | None = None
    ids: list[str] | None = None


def read(path: Path, *kinds: str) -> Predictions:
    """Read parquet predictions of one of `kinds` (default: any); a file that names no kind is taken as the first.

    Raises BadFileError if the file is not parquet, is of another kind, or lacks a column.
    """
    try:
        with pq.ParquetFile(require_regular_file(path)) as file:
            note = _read_note(path, file)
            kind = _resolve_kind(path, note.kind, kinds)
            _check_columns(path, kind, file.schema_arrow)
            _check_size(path, kind, file.metadata)
        with pq.ParquetFile(path, read_dictionary=[name for name in _TEXT if name in _COLUMNS[kind]]) as file:
            table = file.read(columns=list(_COLUMNS[kind]))
            if len(table) != file.metadata.num_rows:
                raise BadFileError(path, f"its metadata gives {file.metadata.num_rows} rows, but it has {len(table)}")
        text = sum(map(_count_text_bytes, table.select([n for n in _TEXT if n in table.column_names])))
        if text > (most := grow_limit(MAX_TEXT_BYTES, path, 8)):
            raise BadFileError(path, f"has {text >> 20} MiB of text; at most {most >> 20} MiB are read")
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise BadFileError(path, f"not a readable parquet file ({first_line(error)}); write it again") from None
    ids = None if note.ids is None else tuple(note.ids)
    about = About(note.made_by or path.stem, note.dataset, note.split, ids, dict(note.model_extra or {}))
    return Predictions(kind, _refuse_nulls(path, table.select(list(_COLUMNS[kind]))), about, str(path))


def resolve(predictions: Predictions, truth: GroundTruth) -> ResolvedPredictions:
    """Match predictions with a ground truth.

    Raises BadFileError for predictions on another dataset and, naming the row, for an unknown image or class, a value
    that is not finite, and a second score or point of an image and class. Inverted boxes and boxes outside their image
    are counted and kept; predictions made for another split are noted if this split has all their images.
    """
    table, source, about = predictions.table, predictions.source, predictions.about
    if about.dataset not in (None, truth.dataset):
        raise BadFileError(
            source, f"holds predictions on {about.dataset}, but the ground truth is that of {truth.dataset}"
        )
    what = f"image of {truth.dataset} {truth.split}{_describe_purpose(truth, about)}"
    find = partial(find_image, truth, source, row=None)
    image = _look_up(source, table["image"], truth.index, what, find, error=UnknownImageError)
    label = np.full(len(image), -1, dtype=np.int32)
    if "label" in _COLUMNS[predictions.kind]:
        label = _look_up(source, table["label"], truth.class_index, f"class of {truth.dataset}")
    columns = {
        name: _require_finite(source, name, table[name]) for name in _COLUMNS[predictions.kind] if name not in _TEXT
    }
    if predictions.kind in ONE_PER_PAIR:
        _check_single(source, truth, image, label)
    notes = predictions.notes
    if about.split not in (None, truth.split):
        notes += (f"made for the split {about.split}, scored on {truth.split}",)
    covered = _find_covered(source, truth, about, image)
    resolved = ResolvedPredictions(predictions.kind, image, label, columns, covered, {}, notes)
    if predictions.arrays is not None:
        resolved = replace(resolved, arrays=predictions.arrays)
    if "segment" in table.column_names:
        resolved = replace(resolved, segments=tuple(table["segment"].cast(pa.binary()).to_pylist()))
    if "x1" in columns:
        resolved.counts.update(_count_odd_boxes(resolved.box.T, truth.size.T.take(image, axis=1)))
    return resolved


def _read_note(path: Path, file: pq.ParquetFile) -> _Note:
    """Read the metadata of a file; if written incrementally, it is in the file's metadata instead of its schema."""
    raw = {**(file.metadata.metadata or {}), **(file.schema_arrow.metadata or {})}.get(_KEY, b"{}")
    try:
        return _Note.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "all of it"
        raise BadFileError(path, f"its weakloc metadata is malformed ({where}: {first['msg']})") from None


def _resolve_kind(path: Path, named: str | None, accepted: Sequence[str]) -> str:
    kind = named or next(iter(accepted), None)
    if kind not in _COLUMNS:
        raise BadFileError(path, f"names no known kind; expected one of {', '.join(KINDS)}, but got {kind!r}")
    if accepted and kind not in accepted:
        raise WrongKindError(path, [kind], accepted)
    return kind


def _check_columns(path: Path, kind: str, schema: pa.Schema) -> None:
    for name in _COLUMNS[kind]:
        if schema.names.count(name) != 1:
            raise BadFileError(path, f"predictions of kind {kind!r} need one column {name!r}; it has {schema.names}")
        type_ = schema.field(name).type
        if name in _TEXT and not _is_text(type_):
            raise BadFileError(path, f"column {name!r} must hold strings, but got {type_}")
        if name not in _TEXT and not (pa.types.is_floating(type_) or pa.types.is_integer(type_)):
            raise BadFileError(path, f"column {name!r} must hold numbers, but got {type_}")


def _check_size(path: Path, kind: str, file: pq.FileMetaData) -> None:
    if file.num_rows > (most := grow_limit(MAX_ROWS, path, 1 / 4)):
        hint = "; the five best of an image are enough for top-1 and top-5" if kind == "scores" else ""
        raise BadFileError(path, f"has {file.num_rows} rows; at most {most} are read{hint}")
    size = sum(file.row_group(number).total_byte_size for number in range(file.num_row_groups))
    if kind in KINDS and size > (most := grow_limit(MAX_BYTES, path, 8)):
        raise BadFileError(path, f"unpacks to {size >> 20} MiB; at most {most >> 20} MiB are read")


def _count_text_bytes(column: pa.ChunkedArray) -> int:
    """Count the bytes of text in a dictionary-encoded column once it is unpacked."""
    import pyarrow.compute as pc  # takes a tenth of a second to import

    lengths = [pc.take(pc.binary_length(chunk.dictionary), chunk.indices) for chunk in column.chunks]
    return sum(pc.sum(length).as_py() or 0 for length in lengths)


def _refuse_nulls(path: Path, table: pa.Table) -> pa.Table:
    for name in table.column_names:
        if table[name].null_count:
            row = table[name].is_null().index(True).as_py()
            raise BadFileError(path, f"column {name!r} is empty", row=row)
    return table


def _is_text(type_: pa.DataType) -> bool:
    value = type_.value_type if pa.types.is_dictionary(type_) else type_
    return bool(pa.types.is_string(value) or pa.types.is_large_string(value))


def _describe_purpose(truth: GroundTruth, about: About) -> str:
    return "" if about.split in (None, truth.split) else f" (the file was made for {about.split})"


def _find_covered(source: str, truth: GroundTruth, about: About, image: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return which images (N,) the file covers: those it lists, or else those it has rows of."""
    covered = np.zeros(len(truth.ids), dtype=np.bool_)
    if about.ids is None:
        covered[image] = True
        return covered
    for position, name in enumerate(about.ids):
        where = f"{position} of its ids"
        row = require_image(truth, source, name, where, hint=_describe_purpose(truth, about))
        if covered[row]:
            raise BadFileError(source, f"image {name!r} is listed twice", row=where)
        covered[row] = True
    if not covered[image].all():
        first = int(np.argmin(covered[image]))
        raise BadFileError(source, f"image {truth.ids[image[first]]!r} is not among the ids it lists", row=first)
    return covered


def _check_single(source: str, truth: GroundTruth, image: NDArray[np.int32], label: NDArray[np.int32]) -> None:
    pair = truth.pair(image, label)
    order = np.argsort(pair, kind="stable")
    again = order[1:][pair[order[1:]] == pair[order[:-1]]]
    if len(again):
        row = int(again.min())
        of_class = "" if label[row] < 0 else f", class {truth.classes[label[row]]!r}"
        same = "image" if label[row] < 0 else "image and class"
        raise BadFileError(
            source, f"image {truth.ids[image[row]]!r}{of_class}: a second row for the same {same}", row=row
        )


def _look_up(
    source: str,
    column: pa.ChunkedArray,
    index: dict[str, int],
    what: str,
    find: Callable[[str], int | None] = lambda name: None,
    *,
    error: type[UnknownImageError] | None = None,
) -> NDArray[np.int32]:
    """Look up each string in `index`, whose values count from 0, or else with `find`: (n,) int32."""
    if not len(column):
        return np.zeros(0, dtype=np.int32)
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    encoded = column.unify_dictionaries().combine_chunks()
    names, codes = encoded.dictionary, encoded.indices.to_numpy(zero_copy_only=False)
    import pyarrow.compute as pc

    positions = pc.index_in(names, value_set=pa.array(list(index), names.type))
    found = np.array(positions.fill_null(-1).to_numpy(zero_copy_only=False))
    used = np.zeros(len(found), dtype=np.bool_)
    used[codes] = True
    for place in np.flatnonzero(used & (found < 0)).tolist():
        found[place] = _find(names[place], find)
    indices: NDArray[np.int32] = found[codes]
    if (indices < 0).any():
        row = int(np.argmax(indices < 0))
        name = names[codes[row]]
        rule = _describe_unknown(name, index, what)
        text = bytes(name.cast(pa.binary()).as_py()).decode("utf-8", "replace")
        raise error(source, rule, text, row=row) if error else BadFileError(source, rule, row=row)
    return indices


def _find(name: pa.Scalar, find: Callable[[str], int | None]) -> int:
    try:
        row = find(name.as_py())
    except UnicodeDecodeError:
        return -1
    return -1 if row is None else row


def _describe_unknown(name: pa.Scalar, index: dict[str, int], what: str) -> str:
    try:
        text = str(name.as_py())
    except UnicodeDecodeError as error:
        return f"an {what.split()[0]} is not UTF-8 text ({error.reason})"
    return f"Unknown {what} {text!r}." if len(index) > FEW else str(UnknownNameError(what, text, index))


def _require_finite(source: str, name: str, column: pa.ChunkedArray) -> NDArray[np.float64]:
    values = np.asarray(column.to_numpy(), dtype=np.float64)
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values)))
        raise BadFileError(source, f"column {name!r} must be finite, but got {values[row]}", row=row)
    return values


def _count_odd_boxes(corners: NDArray[np.float64], size: NDArray[np.int32]) -> dict[str, int]:
    """Count the boxes that are inverted or outside their image: corners (4, n), sizes (2, n)."""
    inverted = (corners[2:] <= corners[:2]).any(axis=0)
    outside = ((corners[:2] < 0) | (corners[2:] > size)).any(axis=0)
    return {"inverted_boxes": int(inverted.sum()), "boxes_outside_image": int(outside.sum())}
