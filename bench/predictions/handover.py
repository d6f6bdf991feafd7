"""Predictions passed in memory: first written to a file, so that they are checked like files.

A pandas, polars or pyarrow table becomes parquet, a list of COCO results becomes JSON, and the items of an iterator are
written, as they come, to a file of their kind:

    boxes       {"boxes": (n, 4), "labels": (n,), "scores": (n,)}
    points      {"points": (n, 2), "labels": (n,), "scores": (n,)}
    scores      {"scores": (C,)}, or of some classes {"scores": (n,), "labels": (n,)}
    maps        {"maps": (C, h, w)}, or of some classes {"maps": (n, h, w), "labels": (n,)}
    masks       {"mask": (H, W)}
    objectness  {"objectness": (h, w)}

Arrays are NumPy's, torch's, or lists. Labels are class names, or indices from 0 in the order of the dataset's classes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.core.files import write_text
from bench.core.progress import SILENT, Progress
from bench.data.ground_truth import GroundTruth, require_image
from bench.errors import BadFileError, UnknownNameError, WrongKindError, first_line
from bench.predictions.arrays import write_shard
from bench.predictions.table import KINDS, About, describe, write_rows

if TYPE_CHECKING:
    import pandas as pd

    Source: TypeAlias = (
        str
        | os.PathLike[str]
        | pd.DataFrame
        | pa.Table
        | Sequence[Mapping[str, Any]]
        | Mapping[str, Mapping[str, Any]]
        | Iterable[tuple[str, Mapping[str, Any]]]
    )

KEYS = {
    "boxes": "boxes",
    "points": "points",
    "maps": "maps",
    "masks": "mask",
    "objectness": "objectness",
    "scores": "scores",
}
"""Kind to the key of its array in the items of an iterator."""

_SHAPES = {"boxes": ("n", "4"), "points": ("n", "2"), "maps": ("n", "h", "w"), "scores": ("n",)}
"""The shapes of arrays that come with labels, by kind."""

_TABLES = ("boxes", "points", "proposals", "segments", "scores")
"""The kinds of tables, those with more columns first."""

_AT_ONCE = 1 << 16
"""Rows that are written together."""

_NUMBERS = 1 << 24
"""Numbers of maps that are written together."""

MADE_BY = "unnamed"
"""The method of predictions handed over without a name."""


class Item:
    """The arrays of one image, checked as they are read. row: the first row that they are written to."""

    def __init__(self, source: str, row: int, item: Any, truth: GroundTruth) -> None:
        self._source, self._row, self._truth = source, row, truth
        if not (isinstance(item, tuple) and len(item) == 2 and isinstance(item[1], Mapping)):
            self.refuse(f"expected (image id, {{name: array}}), but got {type(item).__name__}")
        self.image, self._arrays = item
        if not isinstance(self.image, str):
            self.refuse(f"an image id is a string, such as {truth.ids[0]!r}, but got {self.image!r}")
        self.image = truth.ids[require_image(truth, source, self.image, row)]

    def refuse(self, rule: str) -> None:
        """Raise BadFileError."""
        raise BadFileError(self._source, rule, row=self._row)

    def find_kinds(self) -> list[str]:
        """Return the kinds that the arrays can be read as, best first."""
        return [kind for kind, key in KEYS.items() if key in self._arrays]

    def read(self, key: str) -> NDArray[Any]:
        """Return an array of numbers or names. Raises BadFileError."""
        value = self._arrays.get(key)
        if value is None:
            self.refuse(
                f"image {self.image!r} has no {key!r}; it has {', '.join(map(repr, self._arrays)) or 'nothing'}"
            )
        try:
            array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise BadFileError(
                self._source, f"image {self.image!r}: {key} is no array ({first_line(error)})", row=self._row
            ) from None
        if array.dtype.kind not in ("OUfiu" if key == "labels" else "fiu") and array.size:
            self.refuse(f"image {self.image!r}: {key} must hold numbers, but got {array.dtype}")
        return array

    def read_labels(self, count: int) -> NDArray[np.int64]:
        """Return the class indices (n,) of `count` entries; all classes in order if the item has no labels."""
        classes = self._truth.classes
        if "labels" not in self._arrays and count == len(classes):
            return np.arange(count)
        labels = self.read("labels")
        if labels.shape != (count,):
            self.refuse(f"image {self.image!r}: expected labels ({count},), but got {labels.shape}")
        if labels.dtype.kind in "OU":
            return np.array([self._find_label(name) for name in labels.tolist()], dtype=np.int64)
        if count and (labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= len(classes)):
            self.refuse(f"image {self.image!r}: labels are class names, or indices from 0 to {len(classes) - 1}")
        return labels.astype(np.int64)

    def _find_label(self, name: Any) -> int:
        if not isinstance(name, str) or name not in self._truth.class_index:
            self.refuse(str(UnknownNameError(f"class of {self._truth.dataset}", str(name), self._truth.classes)))
        return self._truth.class_index[name]

    def read_labelled(self, kind: str) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Return labels (n,) and the array (n, ...) of a kind."""
        key, shape = KEYS[kind], _SHAPES[kind]
        array = self.read(key)
        if not len(array.ravel()):  # no detections; an empty list has one dimension
            return np.zeros(0, dtype=np.int64), np.zeros(
                [0, *(int(side) if side.isdigit() else 1 for side in shape[1:])]
            )
        if array.ndim != len(shape) or (shape[-1].isdigit() and array.shape[-1] != int(shape[-1])):
            self.refuse(f"image {self.image!r}: expected {key} ({', '.join(shape)}), but got {array.shape}")
        return self.read_labels(len(array)), array


class _Sink(Protocol):
    """A file or folder that items go into."""

    rows: int

    def add(self, item: Item) -> None: ...

    def close(self) -> Path: ...


class _TableSink:
    """A parquet file of a kind stored as a table; its metadata lists the images, including those without rows."""

    def __init__(self, folder: Path, kind: str, truth: GroundTruth, made_by: str) -> None:
        self._path, self._kind, self._truth, self._made_by = folder / "predictions.parquet", kind, truth, made_by
        self._names = [name for name in KINDS[kind] if name not in ("image", "label")]
        texts = [("image", pa.string()), ("label", pa.string())]
        self._writer = pq.ParquetWriter(
            self._path, pa.schema([*texts, *((name, pa.float64()) for name in self._names)]), compression="zstd"
        )
        self._waiting: list[tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]] = []
        self._written, self.rows = 0, 0
        self._ids: list[str] = []

    def add(self, item: Item) -> None:
        """Add the rows of an image."""
        labels, array = item.read_labelled(self._kind)
        columns = [array] if self._kind == "scores" else [self._read_scores(item, len(array)), array]
        values = np.column_stack(columns).astype(np.float64)
        self._waiting.append((np.full(len(labels), self._truth.index[item.image]), labels, values))
        self._ids.append(item.image)
        self.rows += len(labels)
        if self.rows - self._written >= _AT_ONCE:
            self._flush()

    @staticmethod
    def _read_scores(item: Item, count: int) -> NDArray[Any]:
        scores = item.read("scores")
        if scores.shape != (count,):
            item.refuse(f"image {item.image!r}: expected scores ({count},), but got {scores.shape}")
        return scores

    def _flush(self) -> None:
        image, label, values = (np.concatenate(column) for column in zip(*self._waiting, strict=True))
        columns = [
            pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(names, pa.string())).cast(pa.string())
            for codes, names in ((image, self._truth.ids), (label, self._truth.classes))
        ]
        columns += [pa.array(values[:, number]) for number in range(len(self._names))]
        self._writer.write_table(pa.table(columns, schema=self._writer.schema))
        self._waiting, self._written = [], self.rows

    def close(self) -> Path:
        """Write the remaining rows, and the list of images."""
        if self._waiting:
            self._flush()
        about = About(self._made_by, self._truth.dataset, self._truth.split, tuple(self._ids))
        self._writer.add_key_value_metadata(describe(self._kind, about))
        self._writer.close()
        return self._path


class _MapSink:
    """Shards of maps, or of objectness."""

    def __init__(self, folder: Path, kind: str, truth: GroundTruth, made_by: str) -> None:
        self._folder, self._kind, self._truth = folder / "shards", kind, truth
        self._about = About(made_by, truth.dataset, truth.split)
        self._waiting: list[tuple[str, int, NDArray[Any]]] = []
        self._numbers, self.rows, self._shards = 0, 0, 0

    def add(self, item: Item) -> None:
        """Add the maps of an image."""
        if self._kind == "objectness":
            array = item.read("objectness")
            if array.ndim != 2:
                item.refuse(f"image {item.image!r}: expected objectness (h, w), but got {array.shape}")
            labels, maps = np.zeros(1, dtype=np.int64), array[None]
        else:
            labels, maps = item.read_labelled("maps")
        # copied: a loop may reuse its buffers
        self._waiting += [
            (item.image, label, np.array(map_)) for label, map_ in zip(labels.tolist(), maps, strict=True)
        ]
        self._numbers += maps.size
        self.rows += len(labels)
        if self._numbers >= _NUMBERS:
            self._flush()

    def _flush(self) -> None:
        images, labels, maps = zip(*self._waiting, strict=True)
        names = [self._truth.classes[label] for label in labels] if self._kind == "maps" else None
        path = self._folder / f"{self._shards:06}.parquet"
        double = any(one.dtype == np.float64 for one in maps)  # as .npy files are read
        write_shard(path, self._kind, images, maps, self._about, names, double=double)
        self._waiting, self._numbers, self._shards = [], 0, self._shards + 1

    def close(self) -> Path:
        """Write the remaining maps."""
        if self._waiting:
            self._flush()
        return self._folder


class _MaskSink:
    """A folder of indexed PNG files."""

    def __init__(self, folder: Path, kind: str, truth: GroundTruth, made_by: str) -> None:
        self._folder, self.rows = folder / made_by, 0

    def add(self, item: Item) -> None:
        """Write the mask of an image."""
        from PIL import Image

        mask = item.read("mask")
        if mask.ndim != 2 or mask.dtype.kind not in "iu" or not mask.size or mask.min() < 0 or mask.max() > 255:
            item.refuse(f"image {item.image!r}: expected a mask (H, W) of integers from 0 to 255")
        path = self._folder / f"{item.image}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask.astype(np.uint8)).save(path)
        self.rows += 1

    def close(self) -> Path:
        """Return the folder."""
        return self._folder


@contextmanager
def as_file(
    given: Source,
    truth: GroundTruth,
    kinds: Sequence[str],
    scratch: Path,
    *,
    made_by: str | None = None,
    progress: Progress = SILENT,
) -> Iterator[Path]:
    """Yield the path of predictions: as given, or of a file below `scratch` that is deleted after the block.

    Raises BadFileError for predictions that cannot be written; errors of the block about the file name the given object
    instead.
    """
    if isinstance(given, str | os.PathLike):
        yield Path(given)
        return
    source = f"predictions ({type(given).__name__})"
    scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=scratch, prefix="handover-") as name:
        try:
            yield _write(Path(name), given, source, truth, kinds, made_by or MADE_BY, progress)
        except BadFileError as error:
            if error.file.startswith(name):  # not a file of the user's
                raise BadFileError(source, error.rule, row=error.row) from None
            raise


def _write(
    folder: Path,
    given: Any,
    source: str,
    truth: GroundTruth,
    kinds: Sequence[str],
    made_by: str,
    progress: Progress,
) -> Path:
    if isinstance(given, pa.Table) or hasattr(given, "columns") or hasattr(given, "__arrow_c_stream__"):
        return _write_table(folder / "predictions.parquet", given, source, kinds, made_by)
    if isinstance(given, list) and all(isinstance(entry, Mapping) for entry in given):
        name = re.sub(r"[^\w.+-]", "_", made_by)[:100]  # a safe file name, whatever the method's name
        return _write_coco(folder / f"{name}.json", given, source)
    items = given.items() if isinstance(given, Mapping) else given
    if not isinstance(items, Iterable):
        rule = "expected a path, a table, a list of COCO results, or an iterable of (image id, {name: array})"
        raise BadFileError(source, rule)
    with progress.task("Reading predictions", len(truth.ids)) as step:
        return _write_items(folder, items, source, truth, kinds, made_by, step)


def _write_table(path: Path, given: Any, source: str, kinds: Sequence[str], made_by: str) -> Path:
    try:
        table = given if isinstance(given, pa.Table) else pa.table(given)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise BadFileError(source, f"cannot be made a table ({first_line(error)})") from None
    if b"weakloc" in (table.schema.metadata or {}):  # read from one of our files, with its kind in the metadata
        pq.write_table(table, path)
        return path
    complete = [kind for kind in _TABLES if set(KINDS[kind]) <= set(table.column_names)]
    kind = next((kind for kind in complete if kind in kinds), None)
    write_rows(path, kind, table, About(made_by))  # if kind is None, it is read as the first accepted kind
    return path


def _write_coco(path: Path, entries: list[Mapping[str, Any]], source: str) -> Path:
    try:
        write_text(path, json.dumps(entries, default=_to_plain))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadFileError(source, f"cannot be written as JSON ({first_line(error)})") from None
    return path


def _to_plain(value: Any) -> Any:
    """Convert a number or array of NumPy or torch."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"expected numbers, text, lists and dicts, but got {type(value).__name__}")


def _write_items(
    folder: Path,
    items: Iterable[Any],
    source: str,
    truth: GroundTruth,
    kinds: Sequence[str],
    made_by: str,
    step: Any,
) -> Path:
    sink: _Sink | None = None
    seen: set[str] = set()
    for given in items:
        item = Item(source, sink.rows if sink else 0, given, truth)
        if sink is None:
            kind = _choose_kind(item, source, kinds)
            sink = (_MapSink if kind in ("maps", "objectness") else _MaskSink if kind == "masks" else _TableSink)(
                folder, kind, truth, made_by
            )
        if item.image in seen:
            item.refuse(f"image {item.image!r} comes a second time")
        seen.add(item.image)
        sink.add(item)
        step(1)
    if sink is None:
        raise BadFileError(source, "is empty")
    return sink.close()


def _choose_kind(item: Item, source: str, kinds: Sequence[str]) -> str:
    """Return the first of `kinds` that an item has. Raises WrongKindError for another kind, BadFileError for none."""
    if chosen := next((kind for kind in kinds if kind in item.find_kinds()), None):
        return chosen
    if others := item.find_kinds():
        raise WrongKindError(source, others[:1], kinds)
    keys = " or ".join(repr(KEYS[kind]) for kind in kinds if kind in KEYS)
    raise BadFileError(source, f"image {item.image!r} has no {keys}", row=0)
