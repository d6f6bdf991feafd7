"""Prediction files read naively, row by row: what a number must have been made of."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image
from pycocotools import mask
from seeds import CLASSES, HEIGHT, IDS, WIDTH

from bench.data.ground_truth import GroundTruth
from bench.data.rle import to_mask
from bench.predictions.table import FOLDERS, KINDS, ResolvedPredictions

Rows = list[tuple[Any, ...]]
"""Image, class (empty where the kind has none), then numbers, or the shape and the content of an array."""


def rows_read(found: ResolvedPredictions, truth: GroundTruth) -> Rows:
    """What a reader made of a file, sorted."""
    names = [
        (truth.ids[image], truth.classes[label] if label >= 0 else "")
        for image, label in zip(found.image, found.label, strict=True)
    ]
    parts: list[Any] = [names, *([(float(value),) for value in column] for column in found.columns.values())]
    if found.kind in FOLDERS:
        parts.append([_array(one) for one in found.arrays()])
    if found.kind == "segments":
        parts.append([_array(to_mask(one, WIDTH, HEIGHT)) for one in found.segments])
    return sorted(sum(row, ()) for row in zip(*parts, strict=True))


def rows_in(path: Path, kind: str) -> Rows:
    """What a good file holds, sorted; images by their ids, which may be written with a folder or a suffix."""
    readers = {".json": _coco, ".csv": _csv, ".parquet": _parquet}
    rows = _folder(path, kind) if path.is_dir() else readers[path.suffix](path, kind)
    return sorted((_identify(str(image)), *rest) for image, *rest in rows)


def _identify(name: str) -> str:
    """The id that a name means: `photos/000005.jpg` and `5` are `000005`."""
    stem = Path(name).stem
    return next((one for one in IDS if stem in (one, one.lstrip("0"))), name)


def _folder(path: Path, kind: str) -> Iterator[tuple[Any, ...]]:
    if shards := list(path.rglob("*.parquet")):
        yield from (row for shard in shards for row in _shard(shard, kind))
    elif kind not in FOLDERS:
        yield from (row for text in path.rglob("comp*.txt") for row in _voc(text, kind))
    else:
        for number, name in enumerate(IDS):
            for file in path.glob(f"{name}.*"):
                array = np.array(Image.open(file)) if kind == "masks" else np.load(file)
                labels = [CLASSES[number % 3] if kind == "maps" else ""] if array.ndim == 2 else CLASSES
                for label, one in zip(labels, array[None] if array.ndim == 2 else array, strict=True):
                    yield name, label, *_array(one)


def _array(array: Any) -> tuple[Any, ...]:
    """Shape and content; what is not stored in double precision is read in single."""
    exact = array if array.dtype in (np.float64, np.bool_) else array.astype(np.float32)
    return *array.shape, exact.astype(np.float64).tobytes()


def _shard(path: Path, kind: str) -> Iterator[tuple[Any, ...]]:
    with pq.ParquetFile(path) as file:
        table = file.read(columns=[*FOLDERS[kind], "height", "width", "map"])
    double = table.schema.field("map").type.value_type == "double"
    for row in table.to_pylist():
        array = np.array(row["map"], np.float64 if double else np.float32).reshape(row["height"], row["width"])
        yield row["image"], row.get("label", ""), *_array(array)


def _voc(path: Path, kind: str) -> Iterator[tuple[Any, ...]]:
    label = path.stem.rpartition("_")[2]
    for line in re.split("[\r\n]", path.read_bytes().decode("utf-8-sig")):
        if line.strip():
            name, score, *box = line.split()
            shift = (-1, -1, 0, 0)[: len(box)]
            yield name, label, float(score), *(float(value) + by for value, by in zip(box, shift, strict=True))


def _csv(path: Path, kind: str) -> Iterator[tuple[Any, ...]]:
    text = path.read_bytes().decode("utf-8-sig")
    header, *lines = (line for line in csv.reader(re.split("(?<=[\r\n])", text)) if line)
    header = [name.strip() for name in header]
    for line in lines:
        row = dict(zip(header, map(str.strip, line), strict=True))
        if "label" in row:
            yield row["image"], row["label"], *(float(row[name]) for name in KINDS[kind][2:])
        else:
            yield from ((line[0].strip(), name, float(row[name])) for name in header[1:] if row[name])


def _parquet(path: Path, kind: str) -> Iterator[tuple[Any, ...]]:
    with pq.ParquetFile(path) as file:
        rows = file.read(columns=list(KINDS[kind])).to_pylist()
    image, label, *numbers = KINDS[kind]
    return ((row[image], row[label], *(float(row[name]) for name in numbers)) for row in rows)


def _coco(path: Path, kind: str) -> Iterator[tuple[Any, ...]]:
    for entry in json.loads(path.read_bytes().decode("utf-8-sig")):
        names = IDS[entry["image_id"] - 1], CLASSES[entry["category_id"] - 1], float(entry["score"])
        if kind == "boxes":
            x, y, width, height = map(float, entry["bbox"])
            yield *names, x, y, x + width, y + height
        else:
            yield *names, *_array(_pixels(entry["segmentation"]))


def _pixels(segment: Any) -> Any:
    if isinstance(segment, dict) and isinstance(segment["counts"], str):
        return mask.decode({"size": segment["size"], "counts": segment["counts"].encode()}) > 0
    runs = mask.frPyObjects(segment, HEIGHT, WIDTH)
    return mask.decode(mask.merge(runs) if isinstance(runs, list) else runs) > 0
