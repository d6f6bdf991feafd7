"""Recall of proposals on hand-made boxes, and against counting object by object."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from proposal_files import save_npz

from bench.core.boxes import iou
from bench.core.files import Places
from bench.data.datasets import open_dataset
from bench.data.ground_truth import GroundTruth, Objects, derive_labels
from bench.data.proposals import Proposals
from bench.data.recall import Recall, compute_recalls

IDS = ("a", "b", "c")
OBJECTS = [  # image, label, box, difficult
    (0, 0, (0, 0, 10, 10), False),
    (0, 1, (20, 20, 40, 40), False),
    (1, 0, (0, 0, 10, 10), False),
    (1, 0, (50, 50, 60, 60), True),
]


def truth(rows: list[tuple[int, int, tuple[int, ...], bool]] = OBJECTS, *, crowd: bool = False) -> GroundTruth:
    image, label, box, difficult = zip(*rows, strict=True) if rows else ((), (), (), ())
    objects = Objects(
        np.array(image, np.int32),
        np.array(label, np.int32),
        np.array(box, np.float64).reshape(-1, 4),
        np.array(difficult, np.bool_),
        crowd=np.array(difficult, np.bool_) if crowd else None,
    )
    size = np.full((3, 2), 100, np.int32)
    return GroundTruth("made-up", "val", ("cat", "dog"), IDS, size, derive_labels(3, 2, objects), objects)


def given(*boxes: list[tuple[float, ...]]) -> Proposals:
    return Proposals.from_arrays(IDS, [np.array(rows, np.float32).reshape(-1, 4) for rows in boxes])


def test_an_object_is_covered_by_a_proposal_of_its_own_image_by_the_iou() -> None:
    found = compute_recalls(given([(0, 0, 10, 5), (20, 20, 40, 35)], [(20, 20, 40, 40)], []), truth())
    assert found == [
        Recall("cat", 2, 1.5, 2, (0.5, 0.0)),  # IoU .5 exactly in a, nothing in b
        Recall("dog", 1, 2.0, 1, (1.0, 1.0)),  # IoU .75
        Recall("all", 3, 1.0, 3, (2 / 3, 1 / 3)),
    ]


def test_the_best_of_all_proposals_counts_whatever_their_order() -> None:
    many = [(0.0, 0.0, 10.0, 10.0 - step) for step in range(9)]
    assert compute_recalls(given(many, [], []), truth())[0].recall == (0.5, 0.5)
    assert compute_recalls(given(many[::-1], [], []), truth())[0].recall == (0.5, 0.5)


def test_difficult_objects_and_crowds_are_not_counted() -> None:
    everything = given([(0, 0, 10, 10)], [(0, 0, 10, 10)], [])
    assert compute_recalls(everything, truth())[0] == Recall("cat", 2, 1.0, 2, (1.0, 1.0))
    crowded = truth([(0, 0, (0, 0, 10, 10), False), (1, 0, (50, 50, 60, 60), True)], crowd=True)
    assert compute_recalls(everything, crowded)[0].objects == 1


def test_small_proposals_are_left_out_where_that_is_asked() -> None:
    thin = given([(0, 0, 10, 7), (0, 0, 10, 10)], [(0, 0, 10, 7)], [])
    assert [one.recall for one in compute_recalls(thin, truth(), min_side=8)[:1]] == [(0.5, 0.5)]
    assert compute_recalls(thin, truth(), min_side=8)[-1].proposals == pytest.approx(1 / 3)


def test_without_objects_or_proposals_nothing_is_claimed() -> None:
    assert compute_recalls(given([], [], []), truth([])) == [
        Recall("cat", 0, None, 0, (None, None)),
        Recall("dog", 0, None, 0, (None, None)),
        Recall("all", 3, 0.0, 0, (None, None)),
    ]


def test_it_equals_counting_object_by_object() -> None:
    rng = np.random.default_rng(0)

    def some(count: int) -> np.ndarray:
        corners = rng.integers(0, 60, (count, 2))
        return np.concatenate([corners, corners + rng.integers(8, 30, (count, 2))], axis=1).astype(float)

    boxes = [some(count) for count in (40, 0, 25)]
    rows = [(0 if i < 9 else 2, i % 2, tuple(box), False) for i, box in enumerate(some(15))]
    found = compute_recalls(Proposals.from_arrays(IDS, boxes), truth(rows))
    for label in (0, 1):
        best = [iou([box], boxes[i]).max() for i, c, box, _ in rows if c == label]
        assert found[label].recall == tuple(pytest.approx(np.mean([b >= t for b in best])) for t in (0.5, 0.7))
    assert 0 < found[-1].recall[0] < 1


def test_the_verb_reports_each_split_as_text_and_as_one_document(here, tmp_path: Path) -> None:
    small = {"train": 3, "val": 2, "test": 2, "size": 64}
    dataset = open_dataset("shapes", Places(tmp_path / "runs"), small)
    made = {split: dataset.ground_truth(split) for split in ("train", "val")}
    ids = made["train"].ids + made["val"].ids
    exact = {
        ids_of: part.objects.box[part.objects.image == row]
        for part in made.values()
        for row, ids_of in enumerate(part.ids)
    }
    save_npz(tmp_path / "p.npz", Proposals.from_arrays(ids, [exact[image] for image in ids]))
    more = [part for key, value in small.items() for part in ("--data-option", f"{key}={value}")]
    asked = ["data", "proposals", "--data", "shapes", *more, "--split", "train,val", "--proposals", "p.npz"]
    documents = here(*asked, "--report", "--min-side", 0, "--json").json()["proposals"]
    assert [(one["split"], one["images"]) for one in documents] == [("train", 3), ("val", 2)]
    last = documents[0]["classes"][-1]
    assert (last["name"], last["recall"]) == ("all", [1.0, 1.0])
    assert last["objects"] == int((~made["train"].objects.difficult).sum())
    text = here(*asked, "--report", "--split", "train").out
    assert "recall at .5" in text
    assert "classes" not in json.dumps(here(*asked, "--json").json())
