"""VOC detection against a plain loop over the detections, as the devkit and its ports in Python have it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import made
import numpy as np
import pyarrow.parquet as pq
import pytest
from timing import peak_mib, times_faster

from bench import registry
from bench.core.boxes import to_voc
from bench.data.ground_truth import GroundTruth
from bench.predictions.table import About, read, resolve, write
from bench.scoring.score import score

pytestmark = pytest.mark.slow

Metrics = dict[str, float]
PROTOCOL = registry.bind(registry.protocol("voc07-det"))


class Case(NamedTuple):
    """Detections in a file, their truth, and whether there are as many as the targets are set for."""

    file: Path
    truth: GroundTruth
    full: bool


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory, full: bool) -> Case:
    folder = tmp_path_factory.mktemp("voc")
    truth = made.voc_truth(folder, 4952 if full else 1000)
    rows = made.detections(truth, 1_000_000 if full else 100_000)
    write(folder / "boxes.parquet", "boxes", rows, About("made", truth.dataset, truth.split, truth.ids))
    return Case(folder / "boxes.parquet", truth, full)


def ours(file: Path, truth: GroundTruth, replicates: int = 0) -> Metrics:
    found = {"boxes": resolve(read(file, "boxes"), truth)}
    return dict(score(PROTOCOL, truth, found, replicates=replicates).metrics)


def objects_of(truth: GroundTruth) -> list[dict[str, Any]]:
    """Of each class, its objects by image, in VOC's inclusive corners."""
    o, classes = truth.objects, [dict[str, Any]() for _ in truth.classes]
    for image, label, box, difficult in zip(o.image.tolist(), o.label.tolist(), o.box, o.difficult, strict=True):
        boxes, flags = classes[label].setdefault(truth.ids[image], ([], []))
        boxes.append(to_voc(box)[0])
        flags.append(bool(difficult))
    return [{image: (np.array(boxes), flags) for image, (boxes, flags) in found.items()} for found in classes]


def plain(file: Path, truth: GroundTruth, objects: list[dict[str, Any]]) -> Metrics:
    table = pq.read_table(file)
    image, label = (np.array(table[name].to_pylist()) for name in ("image", "label"))
    scores, *corners = (table[name].to_numpy() for name in ("score", "x1", "y1", "x2", "y2"))
    boxes = to_voc(np.stack(corners, axis=1))
    classes = [
        plain_class(image[mine].tolist(), scores[mine], boxes[mine], found)
        for name, found in zip(truth.classes, objects, strict=True)
        if (mine := label == name) is not None and found
    ]
    eleven, area = np.mean(classes, axis=0)
    return {"mAP_11pt": float(eleven), "mAP_area": float(area)}


def plain_class(image: list[str], scores: Any, boxes: Any, objects: dict[str, Any]) -> tuple[float, float]:
    order = np.argsort(-scores, kind="stable")
    taken = {name: [False] * len(flags) for name, (_, flags) in objects.items()}
    true, false = np.zeros(len(order)), np.zeros(len(order))
    for rank, row in enumerate(order):
        box, (theirs, difficult) = boxes[row], objects.get(image[row], (None, None))
        best = -np.inf
        if theirs is not None:
            width = np.maximum(np.minimum(theirs[:, 2], box[2]) - np.maximum(theirs[:, 0], box[0]) + 1, 0)
            height = np.maximum(np.minimum(theirs[:, 3], box[3]) - np.maximum(theirs[:, 1], box[1]) + 1, 0)
            shared = width * height
            areas = (theirs[:, 2] - theirs[:, 0] + 1) * (theirs[:, 3] - theirs[:, 1] + 1)
            overlap = shared / ((box[2] - box[0] + 1) * (box[3] - box[1] + 1) + areas - shared)
            best, at = np.max(overlap), int(np.argmax(overlap))
        if best < 0.5:
            false[rank] = 1
        elif not difficult[at]:
            (false if taken[image[row]][at] else true)[rank] = 1
            taken[image[row]][at] = True
    return plain_precision(
        np.cumsum(true), np.cumsum(false), sum(not flag for _, each in objects.values() for flag in each)
    )


def plain_precision(true: Any, false: Any, positives: int) -> tuple[float, float]:
    """Both forms; recalls are compared in whole numbers."""
    precision = true / np.maximum(true + false, 1)
    eleven = sum(np.max(precision[10 * true >= k * positives], initial=0.0) for k in range(11)) / 11
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(eleven), float((np.diff(true, prepend=0) * envelope).sum() / positives)


def test_both_forms_come_many_times_as_fast_as_from_a_loop(case: Case, benchmark: Callable[..., Any]) -> None:
    objects = objects_of(case.truth)
    expected = plain(case.file, case.truth, objects)
    assert benchmark(ours, case.file, case.truth) == pytest.approx(expected, abs=1e-12)
    faster = times_faster(lambda: ours(case.file, case.truth), lambda: plain(case.file, case.truth, objects), rounds=3)
    assert faster > (50 if case.full else 10)


def test_a_thousand_replicates_come_many_times_as_fast_as_a_thousand_scorings(case: Case) -> None:
    """Even as a thousand of our own; a thousand plain ones would take hours."""
    found = {"boxes": resolve(read(case.file, "boxes"), case.truth)}

    def scoring(replicates: int) -> Callable[[], Any]:
        return lambda: score(PROTOCOL, case.truth, found, replicates=replicates)

    assert 1000 * times_faster(scoring(1000), scoring(0)) > (50 if case.full else 20)


def test_it_takes_less_than_two_gib(case: Case) -> None:
    assert peak_mib(ours, case.file, case.truth, 1000) < 2048
