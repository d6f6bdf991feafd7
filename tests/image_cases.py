"""A made-up split with hostile names, and what runs said of it, which tests of the pages of images share."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from record_cases import RECORD

from bench.core.boxes import FloatArray
from bench.data.dataset import Dataset
from bench.data.ground_truth import GroundTruth, Objects, derive_labels
from bench.gallery.image_card import Run, evaluate_images
from bench.gallery.layers import make_map_cell, make_mask_cell
from bench.gallery.split_images import RunImages, SplitImages, Where, describe_said, list_shown
from bench.predictions.table import ResolvedPredictions
from bench.records.collection import StoredResult
from bench.records.result import Result

EVIL = "<script>alert(1)</script>&\"'\u202e/../"
CLASSES = ("cat", EVIL)
SIZE = 80, 60


def make_truth(images: int) -> GroundTruth:
    """Objects: image n has n % 3 + 1 cats, one 4 pixels wide and n high; even images have the other class too."""
    rows = [(n, 0, (10 * k, 5, 10 * k + 4, 6 + n % 50)) for n in range(images) for k in range(n % 3 + 1)]
    rows += [(n, 1, (40, 10, 70, 50)) for n in range(0, images, 2)]
    rows.sort()
    image, label, box = (np.array(column) for column in zip(*rows, strict=True))
    objects = Objects(image.astype(np.int32), label.astype(np.int32), box.astype(float), np.zeros(len(rows), bool))
    ids = (EVIL, *(f"{n:04d}" for n in range(1, images)))
    size = np.tile(np.array(SIZE, np.int32), (images, 1))
    return GroundTruth("toy", EVIL, CLASSES, ids, size, derive_labels(images, 2, objects), objects)


def make_run(truth: GroundTruth, name: str, hits: FloatArray, chosen: dict[str, list[int]], **more: Any) -> RunImages:
    """Make a run that points at every object's class; hits (N,), whether at the right place; no point unless chosen."""
    pairs = [(n, label) for n in range(len(truth.ids)) for label in np.flatnonzero(truth.labels[n] >= 0).tolist()]
    image, label = (np.array(column, np.int32) for column in zip(*pairs, strict=True))
    outcomes = pa.table({"image": image, "label": label, "hit": hits[image] > 0})
    columns = {"x": label * 45.0 + 1, "y": np.full(len(pairs), 20.5), "score": np.ones(len(pairs))}
    points = ResolvedPredictions("points", image, label, columns, np.ones(len(truth.ids), bool), {})
    run = Run(truth, {"points": points} if chosen else {}, outcomes, {}, {})
    values = evaluate_images(outcomes, len(truth.ids))
    rows = range(len(truth.ids))
    fields = {"address": name, "method": name, "metrics": {"accuracy": float(hits.mean())}} | more
    fields |= {"higher_is_better": {"accuracy": True}, "predictions_digest": {"points": "p"}}
    fields |= {"protocol": "voc07-point", "family": "pointing"}
    said = {row: json.dumps(describe_said(run, row, values[row], list_shown(truth, row))) for row in rows}
    maps = {f"{row}-0": make_map_cell(np.eye(4) * row, *SIZE) for row in rows if chosen}
    masks = {f"{row}": make_mask_cell(np.eye(8, dtype=np.uint8), *SIZE) for row in rows if chosen}
    state = json.dumps([fields, said, hits.tolist(), chosen])
    return RunImages(Result(**{**RECORD, **fields}), values, chosen, masks, maps, state, lambda: said)


def make_split(folder: Path, images: int = 6, photographs: int = 5) -> SplitImages:
    """Make a split with a run that is right on late images, a hostile one, and one whose predictions are elsewhere."""
    truth = make_truth(images)
    folder.mkdir()
    for n in range(photographs):
        pixels = np.random.default_rng(n).integers(0, 255, (*SIZE[::-1], 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{n}.jpg")
    index = truth.index
    dataset = SimpleNamespace(name="toy", image_path=lambda image: folder / f"{index[image]}.jpg")
    late = np.arange(images) >= images / 2
    every = {"Worst": [0, 1], "Best": [images - 1]}
    runs = (
        make_run(truth, "late", late.astype(float), every),
        make_run(truth, EVIL, np.zeros(images), every, seed=1),
        make_run(truth, "elsewhere", np.ones(images), {}),
    )
    where = Where("toy", EVIL, "i", "{}")
    return SplitImages(where, cast("Dataset", dataset), truth, tuple(range(images)), runs)


def store_results(split: SplitImages, folder: Path) -> list[StoredResult]:
    """Store the results of a split's runs, with their outcomes."""
    folder.mkdir()
    stored = [StoredResult(run.result, folder / f"{number}.json") for number, run in enumerate(split.runs)]
    for one, run in zip(stored, split.runs, strict=True):
        hits = [(row, *pair) for row in split.rows for pair in json.loads(run.said[row])["hits"].items()]
        columns = {
            "image": np.array([row for row, _, _ in hits], np.int32),
            "label": np.array([split.shown[row][int(place)] for row, place, _ in hits], np.int32),
            "hit": [hit for _, _, hit in hits],
        }
        table = pa.table(columns).replace_schema_metadata({"classes": json.dumps(split.truth.classes)})
        pq.write_table(table, one.record.with_suffix(".parquet"))
    return stored
