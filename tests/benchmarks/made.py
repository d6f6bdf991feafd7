"""Truths and predictions to time scoring on: as many as the papers' test sets have, and as spread as detectors' are."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench.core.files import Places
from bench.data.datasets import open_dataset
from bench.data.ground_truth import GroundTruth, Objects, derive_labels
from bench.data.voc import CLASSES


def voc_truth(runs: Path, images: int) -> GroundTruth:
    """Some images of VOC 2007 test, where BENCH_DATA has its annotations; else as many generated ones."""
    root = Path(os.environ.get("BENCH_DATA", "")).absolute()
    if not (root / "VOCdevkit" / "VOC2007" / "Annotations").is_dir():
        return made_truth(images, CLASSES, objects=3)
    truth = open_dataset("voc2007", Places(runs, root)).ground_truth("test")
    return truth if images >= len(truth.ids) else truth.subset(truth.ids[:images], split="test")


def made_truth(images: int, classes: tuple[str, ...], *, objects: int, difficult: float = 0.2) -> GroundTruth:
    """Images of 500 x 375 with one object or more, `objects` in the mean, a share of them difficult."""
    generator = np.random.default_rng(0)
    image = np.sort(np.concatenate([np.arange(images), generator.integers(0, images, images * (objects - 1))]))
    size = np.tile(np.array([500, 375], dtype=np.int32), (images, 1))
    box = _somewhere(generator, size[image])
    box[:, 2:] += 8
    made = Objects(
        image.astype(np.int32),
        generator.integers(0, len(classes), len(image)).astype(np.int32),
        np.floor(box),
        generator.random(len(image)) < difficult,
    )
    ids = tuple(f"{number:06d}" for number in range(1, images + 1))
    return GroundTruth("made", "test", classes, ids, size, derive_labels(images, len(classes), made), made)


def detections(truth: GroundTruth, rows: int, seed: int = 0) -> pa.Table:
    """Boxes, image by image: half of a class that the image shows, a tenth near an object, with scores all over."""
    generator = np.random.default_rng(seed)
    o = truth.objects
    first = np.searchsorted(o.image, np.arange(len(truth.ids) + 1))
    image = np.sort(generator.integers(0, len(truth.ids), rows))
    about = (first[image] + generator.random(rows) * np.diff(first)[image]).astype(np.int64)
    near, shown = generator.random(rows) < 0.1, generator.random(rows) < 0.45
    label = np.where(near | shown, o.label[about], generator.integers(0, len(truth.classes), rows))
    extent = np.tile(o.box[about, 2:] - o.box[about, :2], 2)
    shaken = o.box[about] + generator.normal(0, 1, (rows, 4)) * extent * generator.uniform(0.02, 0.3, (rows, 1))
    box = np.where(near[:, None], shaken, _somewhere(generator, truth.size[image]))
    score = np.where(
        near, generator.random(len(o))[about] * generator.uniform(0.5, 1, rows), generator.random(rows) ** 20
    )
    columns = {"image": np.array(truth.ids)[image], "label": np.array(truth.classes)[label], "score": score}
    return pa.table(columns | dict(zip(("x1", "y1", "x2", "y2"), box.T, strict=True)))


def _somewhere(generator: np.random.Generator, size: np.ndarray) -> np.ndarray:
    """Boxes (n, 4) within images of sizes (n, 2)."""
    corners = np.sort(generator.random((len(size), 2, 2)) * size[:, None], axis=1)
    return corners.reshape(len(size), 4)
