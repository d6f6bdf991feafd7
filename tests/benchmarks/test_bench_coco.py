"""COCO's twelve numbers against pycocotools, from a prediction file on."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import made
import numpy as np
import pyarrow.parquet as pq
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from timing import peak_mib, times_faster

from bench import registry
from bench.core.boxes import area, to_coco
from bench.data.coco import CLASSES
from bench.data.ground_truth import GroundTruth
from bench.predictions.table import About, read, resolve, write
from bench.scoring.score import score

pytestmark = pytest.mark.slow

Metrics = dict[str, float | None]
PROTOCOL = registry.bind(registry.protocol("coco14-det"))


class Case(NamedTuple):
    """Detections in a file, their truth, and whether there are as many as the targets are set for."""

    file: Path
    truth: GroundTruth
    full: bool


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory, full: bool) -> Case:
    folder = tmp_path_factory.mktemp("coco")
    truth = made.made_truth(5000 if full else 250, CLASSES, objects=7, difficult=0)
    rows = made.detections(truth, 500_000 if full else 25_000)
    write(folder / "boxes.parquet", "boxes", rows, About("made", truth.dataset, truth.split, truth.ids))
    return Case(folder / "boxes.parquet", truth, full)


def ours(file: Path, truth: GroundTruth, replicates: int = 0) -> Metrics:
    found = {"boxes": resolve(read(file, "boxes"), truth)}
    return dict(score(PROTOCOL, truth, found, replicates=replicates).metrics)


def dataset(truth: GroundTruth) -> COCO:
    o = truth.objects
    objects = zip(o.image.tolist(), o.label.tolist(), to_coco(o.box).tolist(), area(o.box).tolist(), strict=True)
    built = COCO()
    built.dataset = {
        "images": [{"id": int(name), "width": 500, "height": 375} for name in truth.ids],
        "categories": [{"id": label + 1, "name": name} for label, name in enumerate(truth.classes)],
        "annotations": [
            {"id": n, "image_id": int(truth.ids[i]), "category_id": c + 1, "bbox": box, "area": size, "iscrowd": 0}
            for n, (i, c, box, size) in enumerate(objects, start=1)
        ],
    }
    built.createIndex()
    return built


def plain(file: Path, truth: GroundTruth, objects: COCO) -> Metrics:
    table = pq.read_table(file)
    image = np.array(table["image"].to_pylist()).astype(int)
    label = np.array([truth.class_index[name] + 1 for name in table["label"].to_pylist()])
    scores, *corners = (table[name].to_numpy() for name in ("score", "x1", "y1", "x2", "y2"))
    rows = np.column_stack([image, to_coco(np.stack(corners, axis=1)), scores, label])
    judged = COCOeval(objects, objects.loadRes(rows), "bbox")
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    return dict(zip(PROTOCOL.record.metrics, judged.stats.tolist(), strict=True))


def test_twelve_numbers_come_many_times_as_fast_as_from_pycocotools(case: Case, benchmark: Callable[..., Any]) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        objects = dataset(case.truth)
        expected = plain(case.file, case.truth, objects)
    found = benchmark(ours, case.file, case.truth)
    assert found == pytest.approx(expected, abs=1e-12)

    def quietly() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            plain(case.file, case.truth, objects)

    faster = times_faster(lambda: ours(case.file, case.truth), quietly, rounds=2 if case.full else 3)
    assert faster > (50 if case.full else 10)


def test_a_thousand_replicates_take_less_than_a_hundred_scorings(case: Case) -> None:
    found = {"boxes": resolve(read(case.file, "boxes"), case.truth)}

    def scoring(replicates: int) -> Callable[[], Any]:
        return lambda: score(PROTOCOL, case.truth, found, replicates=replicates)

    assert times_faster(scoring(1000), scoring(0), rounds=3) > 1 / 100


def test_it_takes_less_than_two_gib(case: Case) -> None:
    assert peak_mib(ours, case.file, case.truth, 1000) < 2048
