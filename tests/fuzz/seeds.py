"""A tiny truth, and in each format a good prediction file of it, which the fuzzer then breaks."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from PIL import Image
from pycocotools import mask

from bench.data.ground_truth import GroundTruth, Masks, Objects, derive_labels
from bench.predictions.arrays import write_shard
from bench.predictions.table import KINDS, About, write

IDS = tuple(f"{number:06d}" for number in range(1, 7))
CLASSES = ("cat", "dog", "eel")
WIDTH, HEIGHT = 24, 16


class Format(NamedTuple):
    """How a good file is made of a truth in a folder, and the protocols that take it, with their switches."""

    make: Callable[[Path, GroundTruth, random.Random], Path]
    protocols: Sequence[tuple[str, dict[str, str]]]


def truth_in(folder: Path) -> GroundTruth:
    """Six images, an object or two each: boxes, run lengths, and class masks in a folder."""
    draw = random.Random(0)
    boxes = [(row, row % 3, *_box(draw), False) for row in range(6)] + [(0, 1, *_box(draw), True)]
    boxes.sort(key=lambda box: box[0])
    image, label, *corners, difficult = (np.array(column) for column in zip(*boxes, strict=True))
    pixels = [_painted(box[2:6]) for box in boxes]
    made = Objects(
        image.astype(np.int32),
        label.astype(np.int32),
        np.stack(corners, axis=1).astype(np.float64),
        difficult,
        crowd=np.zeros(len(boxes), np.bool_),
        area=np.array([one.sum() for one in pixels], np.float64),
        segment=tuple(bytes(mask.encode(np.asfortranarray(one))["counts"]) for one in pixels),
    )
    files = [_mask(folder / f"{name}.png", made.label[row] + 1) for row, name in enumerate(IDS)]
    masks = Masks(indexed=True, files=tuple((file,) for file in files), ignore=(None,) * len(files))
    size = np.tile(np.array([WIDTH, HEIGHT], np.int32), (len(IDS), 1))
    return GroundTruth("toy", "test", CLASSES, IDS, size, derive_labels(len(IDS), len(CLASSES), made), made, masks)


def _box(draw: random.Random) -> tuple[float, float, float, float]:
    x, y = draw.randrange(0, WIDTH - 4), draw.randrange(0, HEIGHT - 4)
    return float(x), float(y), float(draw.randrange(x + 2, WIDTH + 1)), float(draw.randrange(y + 2, HEIGHT + 1))


def _painted(box: Sequence[float]) -> np.ndarray:
    x1, y1, x2, y2 = map(int, box)
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[y1:y2, x1:x2] = 1
    return pixels


def _mask(path: Path, label: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[2:9, 3:12] = label
    picture = Image.fromarray(pixels, "L").convert("P")
    picture.putpalette([0, 0, 0, 255, 0, 0] * 128)
    picture.putdata(pixels.ravel().tolist())
    picture.save(path)
    return path


def _rows(draw: random.Random, columns: Sequence[str]) -> pa.Table:
    """Some rows, one for each image and class that is drawn."""
    pairs = draw.sample([(image, label) for image in IDS for label in CLASSES], 9)
    rows = [dict(zip(("x1", "y1", "x2", "y2"), _box(draw), strict=True)) for _ in pairs]
    for (image, label), row in zip(pairs, rows, strict=True):
        row |= {"image": image, "label": label, "score": draw.random(), "probability": draw.random()}
        row |= {"x": row["x1"], "y": row["y1"]}
    return pa.table({name: [row[name] for row in rows] for name in columns})


def table_of(kind: str) -> Callable[[Path, GroundTruth, random.Random], Path]:
    """Makes our own parquet of a kind."""

    def make(folder: Path, truth: GroundTruth, draw: random.Random) -> Path:
        path = folder / "made.parquet"
        write(path, kind, _rows(draw, KINDS[kind]), About("fuzz", "toy", "test", IDS if draw.random() < 0.5 else None))
        return path

    return make


def coco_of(region: str) -> Callable[[Path, GroundTruth, random.Random], Path]:
    """Makes COCO results with a box, or a segment, an entry."""

    def make(folder: Path, truth: GroundTruth, draw: random.Random) -> Path:
        entries = []
        for row in _rows(draw, KINDS["boxes"]).to_pylist():
            box = [row["x1"], row["y1"], row["x2"] - row["x1"], row["y2"] - row["y1"]]
            shape = box if region == "bbox" else _segment(draw, [row[name] for name in ("x1", "y1", "x2", "y2")])
            number, label = int(row["image"]), CLASSES.index(row["label"]) + 1
            entries.append({"image_id": number, "category_id": label, region: shape, "score": row["score"]})
        path = folder / "made.json"
        path.write_text(json.dumps(entries))
        return path

    return make


def _segment(draw: random.Random, box: list[float]) -> Any:
    """The box as run lengths, compressed or not, or as a polygon."""
    x1, y1, x2, y2 = box
    if draw.random() < 0.3:
        return [[x1, y1, x2, y1, x2, y2, x1, y2]]
    runs = mask.encode(np.asfortranarray(_painted(box)))
    if draw.random() < 0.5:
        return {"size": [HEIGHT, WIDTH], "counts": runs["counts"].decode()}
    flat = _painted(box).ravel(order="F")
    counts = np.diff([0, *(np.flatnonzero(np.diff(flat)) + 1), len(flat)]).tolist()
    return {"size": [HEIGHT, WIDTH], "counts": ([0] if flat[0] else []) + counts}


def voc_of(task: str) -> Callable[[Path, GroundTruth, random.Random], Path]:
    """Makes a folder of VOC's text files: `det` or `cls`."""

    def make(folder: Path, truth: GroundTruth, draw: random.Random) -> Path:
        rows = _rows(draw, KINDS["boxes"]).to_pylist()
        into = folder / "made"
        into.mkdir()
        for label in CLASSES:
            mine = [row for row in rows if row["label"] == label]
            box = (lambda r: f" {r['x1'] + 1} {r['y1'] + 1} {r['x2']} {r['y2']}") if task == "det" else (lambda r: "")
            lines = [f"{row['image']} {row['score']}{box(row)}\n" for row in mine]
            (into / f"comp{3 if task == 'det' else 1}_{task}_test_{label}.txt").write_text("".join(lines))
        return into

    return make


def csv_of(layout: str) -> Callable[[Path, GroundTruth, random.Random], Path]:
    """Makes a CSV: of scores, long or wide, or of boxes."""

    def make(folder: Path, truth: GroundTruth, draw: random.Random) -> Path:
        columns = KINDS["boxes" if layout == "boxes" else "scores"]
        rows = _rows(draw, columns).to_pylist()
        lines = [",".join(columns), *(",".join(str(row[name]) for name in columns) for row in rows)]
        if layout == "wide":
            lines = [",".join(["image", *CLASSES])]
            lines += [",".join([image, *(str(draw.random()) for _ in CLASSES)]) for image in IDS]
        path = folder / "made.csv"
        path.write_text("\n".join(lines) + "\n")
        return path

    return make


def npy(folder: Path, truth: GroundTruth, draw: random.Random) -> Path:
    """A folder of maps as `.npy`, of the images that show one class."""
    into = folder / "made"
    into.mkdir()
    for name in IDS[1:]:
        shape = draw.randrange(1, 9), draw.randrange(1, 9)
        np.save(into / f"{name}.npy", np.random.default_rng(draw.randrange(99)).random(shape).astype(np.float32))
    return into


def npy_of_classes(folder: Path, truth: GroundTruth, draw: random.Random) -> Path:
    """A folder of arrays (C, h, w) as `.npy`."""
    into = folder / "made"
    into.mkdir()
    for name in IDS:
        shape = len(CLASSES), draw.randrange(1, 9), draw.randrange(1, 9)
        np.save(into / f"{name}.npy", np.random.default_rng(draw.randrange(99)).random(shape).astype(np.float32))
    return into


def shards(folder: Path, truth: GroundTruth, draw: random.Random) -> Path:
    """A folder with one shard of maps."""
    into, generator = folder / "made", np.random.default_rng(draw.randrange(99))
    into.mkdir()
    maps = [generator.random((draw.randrange(1, 9), draw.randrange(1, 9))) for _ in IDS]
    labels = [CLASSES[row % 3] for row in range(len(IDS))]
    write_shard(
        into / "0.parquet", "maps", IDS, maps, About("fuzz", "toy", "test", IDS), labels, half=draw.random() < 0.5
    )
    return into


def masks(folder: Path, truth: GroundTruth, draw: random.Random) -> Path:
    """A folder of masks."""
    into = folder / "made"
    for name in IDS:
        _mask(into / f"{name}.png", draw.randrange(0, 4))
    return into


_OF_MAPS = [("voc07-point", {}), ("voc07-energy", {})] * 6 + [("cub-maxbox", {})]
"""The last takes a hundred times as long."""

FORMATS: dict[str, Format] = {
    "parquet-boxes": Format(table_of("boxes"), [("voc07-det", {}), ("voc07-corloc", {}), ("coco14-det", {})]),
    "parquet-scores": Format(table_of("scores"), [("voc07-cls", {})]),
    "parquet-points": Format(table_of("points"), [("voc07-point", {}), ("voc12-point-pred", {})]),
    "parquet-proposals": Format(table_of("proposals"), [("voc07-randomness", {})]),
    "coco-boxes": Format(coco_of("bbox"), [("voc07-det", {}), ("coco14-det", {})]),
    "coco-segments": Format(coco_of("segmentation"), [("coco14-det", {"region": "mask"})]),
    "voc-det": Format(voc_of("det"), [("voc07-det", {})]),
    "voc-cls": Format(voc_of("cls"), [("voc07-cls", {})]),
    "csv-long": Format(csv_of("long"), [("voc07-cls", {})]),
    "csv-wide": Format(csv_of("wide"), [("voc07-cls", {})]),
    "csv-boxes": Format(csv_of("boxes"), [("voc07-det", {})]),
    "npy": Format(npy, _OF_MAPS),
    "npy-classes": Format(npy_of_classes, [("voc07-point", {})]),
    "shards": Format(shards, _OF_MAPS),
    "png": Format(masks, [("voc07-seg", {})]),
}
