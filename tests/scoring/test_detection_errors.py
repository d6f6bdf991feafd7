"""Errors of detections: hotcoco's numbers on random sets, hand-drawn cases, and VOC's difficult objects."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import hotcoco
import numpy as np
import pytest
from hypothesis import given
from scoring_cases import bound, cases, judge, predicted, truth_of

from bench.core.bootstrap import class_mean
from bench.core.boxes import area, to_coco
from bench.data.ground_truth import GroundTruth
from bench.scoring.detection_errors import FALSE, KINDS, ORACLES, DetectionErrors

NAMES = dict(zip((*KINDS, *ORACLES), ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss", "FP", "FN"), strict=True))
"""Kinds, as released code abbreviates them."""


def find_errors(protocol: str, truth: GroundTruth, rows: list[Any], metric: str = "AP50") -> DetectionErrors:
    chosen = bound(protocol)
    family: Any = chosen.family
    found = predicted(truth, "boxes", rows)
    return DetectionErrors(family.match_detections(truth, found, chosen.conventions, metric))


def compute_costs(errors: DetectionErrors) -> dict[str, float]:
    weights = np.ones((1, len(errors.matched.truth.ids)))
    precision = {name: float(class_mean(value)[0]) for name, value in errors.compute_precision(weights).items()}
    return {name: value - precision[""] for name, value in precision.items() if name}


def make_case(seed: int) -> tuple[GroundTruth, list[Any]]:
    """A few images with objects, detections near them, many of another class, and some anywhere."""
    generator = np.random.default_rng(seed)
    images, classes, objects, detections = (int(generator.integers(1, most)) for most in (9, 5, 4, 12))
    ids, names = tuple(str(number + 1) for number in range(images)), tuple("abcde"[:classes])

    def draw(count: int) -> Any:
        corner, sides = generator.integers(0, 60, (count, 2)), generator.integers(5, 40, (count, 2))
        return np.concatenate([corner, corner + sides], axis=1).astype(float)

    things, rows = [], []
    for name in ids:
        boxes, labels = draw(objects), generator.integers(0, classes, objects)
        things += [(name, names[label], box, False) for box, label in zip(boxes, labels, strict=True)]
        for _ in range(detections):
            at = generator.integers(objects)
            box, label = boxes[at] + generator.integers(-8, 9, 4), int(labels[at])
            if generator.random() < 0.3:
                box, label = draw(1)[0], int(generator.integers(classes))
            box[2:] = np.maximum(box[2:], box[:2] + 1)
            label = label if generator.random() < 0.7 else int(generator.integers(classes))
            rows.append((name, names[label], float(generator.random()), *map(float, box)))
    return truth_of(things, ids=ids, classes=names, size=(120, 120)), rows


def score_by_hotcoco(truth: GroundTruth, rows: list[Any], folder: Path) -> dict[str, Any]:
    objects = truth.objects
    columns = objects.image.tolist(), objects.label.tolist(), to_coco(objects.box).tolist(), area(objects.box).tolist()
    annotations = {
        "images": [{"id": int(name), "width": 120, "height": 120} for name in truth.ids],
        "categories": [{"id": number, "name": name} for number, name in enumerate(truth.classes, start=1)],
        "annotations": [
            {"id": n, "image_id": int(truth.ids[i]), "category_id": c + 1, "bbox": box, "area": a, "iscrowd": 0}
            for n, (i, c, box, a) in enumerate(zip(*columns, strict=True), start=1)
        ],
    }
    results = [
        {
            "image_id": int(image),
            "category_id": truth.class_index[label] + 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }
        for image, label, score, x1, y1, x2, y2 in rows
    ]
    for name, content in (("annotations", annotations), ("results", results)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    with contextlib.redirect_stdout(io.StringIO()):
        reference = hotcoco.COCO(str(folder / "annotations.json"))
        evaluation = hotcoco.COCOeval(reference, reference.load_res(str(folder / "results.json")), "bbox")
        evaluation.evaluate()
    return dict(evaluation.tide_errors())


@pytest.mark.parametrize("seed", range(60))
def test_counts_and_costs_are_those_of_hotcoco(seed: int, tmp_path: Path) -> None:
    truth, rows = make_case(seed)
    errors, theirs = find_errors("coco14-det", truth, rows), score_by_hotcoco(truth, rows, tmp_path)
    assert {NAMES[name]: count for name, count in errors.count().items()} == theirs["counts"]
    costs = {NAMES[name]: max(cost, 0.0) for name, cost in compute_costs(errors).items()}  # it raises costs to 0
    assert costs == pytest.approx(theirs["delta_ap"], abs=1e-12)


OBJECT = (10, 10, 30, 30)
"""Of which the halves overlap it by .5; VOC counts the last pixel too, so its corners are one less."""


@pytest.mark.parametrize(
    ("kind", "label", "box"),
    [
        ("localization", "cat", (10, 10, 18, 30)),
        ("classification", "dog", OBJECT),
        ("both", "dog", (10, 10, 18, 30)),
        ("background", "cat", (70, 70, 90, 90)),
        ("background", "dog", (29, 29, 49, 49)),
    ],
)
def test_each_kind_as_drawn(kind: str, label: str, box: tuple[float, ...]) -> None:
    truth = truth_of([("a", "cat", OBJECT, False)], size=(100, 100))
    errors = find_errors("voc07-det", truth, [("a", label, 0.5, *box)], "mAP_area")
    assert errors.count() == dict.fromkeys(KINDS, 0) | {kind: 1} | ({} if errors.about[0] == 0 else {"missed": 1})
    assert (errors.about[0] == 0) == (kind in ("localization", "classification"))


def test_a_second_detection_of_an_object_is_a_duplicate_and_costs_what_it_displaces() -> None:
    truth = truth_of([("a", "cat", OBJECT, False), ("b", "cat", OBJECT, False)], size=(100, 100))
    rows = [("a", "cat", 0.9, *OBJECT), ("a", "cat", 0.8, *OBJECT), ("b", "cat", 0.7, *OBJECT)]
    errors = find_errors("voc10-det", truth, rows, "mAP_area")
    assert errors.count() == dict.fromkeys(KINDS, 0) | {"duplicate": 1}
    assert compute_costs(errors)["duplicate"] == pytest.approx(1 - (1 + 2 / 3) / 2)


def test_of_two_errors_about_an_object_the_better_one_is_corrected() -> None:
    truth = truth_of([("a", "cat", OBJECT, False), ("b", "cat", OBJECT, False)], size=(100, 100))
    left, right = (10, 10, 18, 30), (22, 10, 30, 30)
    rows = [("a", "cat", 0.9, *left), ("a", "cat", 0.8, *right), ("b", "cat", 0.7, *OBJECT)]
    errors = find_errors("voc10-det", truth, rows, "mAP_area")
    assert errors.count() == dict.fromkeys(KINDS, 0) | {"localization": 2}
    assert compute_costs(errors)["localization"] == pytest.approx(1 - 1 / 2 / 3)


def test_a_difficult_object_is_neither_missed_nor_found_and_who_finds_it_makes_no_error() -> None:
    truth = truth_of([("a", "cat", OBJECT, True), ("b", "cat", OBJECT, False)], size=(100, 100))
    rows = [("a", "cat", 0.9, *OBJECT), ("a", "dog", 0.8, *OBJECT), ("a", "cat", 0.7, *(10, 10, 18, 30))]
    errors = find_errors("voc07-det", truth, rows)
    assert len(errors.kind) == 2, "the first is ignored"
    assert errors.count() == dict.fromkeys(KINDS, 0) | {"background": 2, "missed": 1}


@given(cases())
def test_kinds_exclude_each_other_and_leave_nothing_out(case: Any) -> None:
    truth, rows = case
    errors = find_errors("voc07-det", truth, rows, "mAP_11pt")
    counts = judge(bound("voc07-det"), truth, predicted(truth, "boxes", rows)).counts
    true = int((errors.kind == -1).sum())
    assert true == counts["true_positives"]
    assert sum(errors.count()[name] for name in FALSE) == counts["detections"] - counts["ignored"] - true
    about = {int(one) for one in errors.about if one >= 0} | {int(one) for one in errors.matched.found if one >= 0}
    assert errors.missed.tolist() == [number not in about for number in range(counts["objects"])]


@given(cases())
def test_what_is_corrected_starts_from_the_protocols_own_precision(case: Any) -> None:
    truth, rows = case
    for protocol, metric in (("voc07-det", "mAP_11pt"), ("voc12-det", "mAP_area"), ("coco14-det", "AP50")):
        errors = find_errors(protocol, truth, rows, metric)
        own = judge(bound(protocol), truth, predicted(truth, "boxes", rows)).metrics.get(metric)
        found = class_mean(errors.compute_precision(np.ones((1, len(truth.ids))))[""])[0]
        assert found == pytest.approx(np.nan if own is None else own, nan_ok=True)
        assert compute_costs(errors)[ORACLES[0]] >= -1e-12 or own is None
