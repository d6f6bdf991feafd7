"""COCO boxes from a results file to twelve numbers, against hotcoco and faster-coco-eval."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import hotcoco
import made
import numpy as np
import pytest
from timing import times_faster

from bench import registry
from bench.core.boxes import area, to_coco
from bench.data.coco import CATEGORY_IDS, CLASSES
from bench.data.ground_truth import GroundTruth
from bench.predictions.formats.coco import read_coco
from bench.predictions.table import resolve
from bench.scoring.score import score

pytestmark = pytest.mark.slow

CROWD = {"iscrowd": 0}
PROTOCOL = registry.bind(registry.protocol("coco14-det"))


class Case(NamedTuple):
    """A results file, the annotations as file and as ground truth."""

    results: Path
    annotations: Path
    truth: GroundTruth


@pytest.fixture(scope="module", params=[500, 100_000])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, full: bool) -> Case:
    rows = request.param if full or request.param < 10_000 else request.param // 10
    folder, truth = (
        tmp_path_factory.mktemp("json"),
        made.made_truth(max(rows // 20, 50), CLASSES, objects=7, difficult=0),
    )
    found, o = made.detections(truth, rows), truth.objects
    corners = np.stack([found[name].to_numpy() for name in ("x1", "y1", "x2", "y2")], axis=1)
    columns = (found["image"].to_pylist(), found["label"].to_pylist(), to_coco(corners).round(2).tolist())
    results = [
        {"image_id": int(image), "category_id": CATEGORY_IDS[truth.class_index[label]], "bbox": box, "score": value}
        for image, label, box, value in zip(*columns, found["score"].to_pylist(), strict=True)
    ]
    objects = zip(o.image.tolist(), o.label.tolist(), to_coco(o.box).tolist(), area(o.box).tolist(), strict=True)
    annotations = {
        "images": [{"id": int(name), "width": 500, "height": 375} for name in truth.ids],
        "categories": [{"id": number, "name": name} for number, name in zip(CATEGORY_IDS, CLASSES, strict=True)],
        "annotations": [
            {
                "id": n,
                "image_id": int(truth.ids[i]),
                "category_id": CATEGORY_IDS[c],
                "bbox": box,
                "area": a,
                "iscrowd": 0,
            }
            for n, (i, c, box, a) in enumerate(objects, start=1)
        ],
    }
    for name, content in (("results", results), ("annotations", annotations)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    return Case(folder / "results.json", folder / "annotations.json", truth)


def ours(case: Case, replicates: int = 0) -> list[float | None]:
    (found,) = read_coco(case.results, case.truth, ("boxes",))
    evaluation = score(PROTOCOL, case.truth, {"boxes": resolve(found, case.truth)}, replicates=replicates)
    return list(evaluation.metrics.values())


def peer(case: Case, coco: Any, evaluate: Any) -> list[float]:
    """The numbers of a library with the interface of pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        objects = coco(str(case.annotations))
        load = objects.load_res if hasattr(objects, "load_res") else objects.loadRes
        evaluation = evaluate(objects, load(str(case.results)), "bbox")
        for step in (evaluation.evaluate, evaluation.accumulate, evaluation.summarize):
            step()
    return [float(value) for value in evaluation.stats[:12]]


def hot(case: Case) -> list[float]:
    return peer(case, hotcoco.COCO, hotcoco.COCOeval)


def test_twelve_numbers_come_faster_than_from_hotcoco(case: Case, benchmark: Callable[..., Any]) -> None:
    assert benchmark(ours, case) == [None if value < 0 else pytest.approx(value, abs=1e-12) for value in hot(case)]
    assert times_faster(lambda: ours(case), lambda: hot(case), rounds=5) > 0.8


def test_they_come_many_times_as_fast_as_from_faster_coco_eval(case: Case) -> None:
    faster = pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")
    assert times_faster(lambda: ours(case), lambda: peer(case, faster.COCO, faster.COCOeval_faster), rounds=2) > 1.5


def test_a_thousand_replicates_take_less_than_eighty_scorings_of_hotcoco(case: Case) -> None:
    """What they need is a thousand rankings of each class at ten IoUs and four sizes."""
    assert times_faster(lambda: ours(case, 1000), lambda: hot(case), rounds=1) > 1 / 80
