"""Pseudo objects: the best box of each class shown, carried with the image as it is scaled and mirrored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from train_cases import Corners, Photographs, boxes, made

from bench.data.proposals import Proposals
from bench.errors import RequestError
from bench.method import ProposalConfig, training
from bench.predictions.decode import detections
from bench.predictions.table import KINDS, About, write
from bench.training.batches import make_batch_source, plan
from bench.training.inputs import Images
from bench.training.predict import Split, predict
from bench.training.pseudo_labels import pseudo_objects

WHOLE = (0.0, 0.0, 32.0, 24.0)


class PseudoConfig(ProposalConfig):
    pseudo: str = training("", "a run")


def run(path: Path, photographs: Photographs, rows: list[tuple[Any, ...]]) -> str:
    table = pa.Table.from_pylist([dict(zip(KINDS["boxes"], row, strict=True)) for row in rows])
    write(path, "boxes", table, About("hand", "toy", "train", photographs.ids))
    return str(path)


@pytest.fixture
def photographs(tmp_path: Path) -> Photographs:
    """Three: of a cat, of a dog, of neither."""
    made = Photographs(tmp_path, 3)
    made.labels = np.array([[1, -1], [-1, 1], [-1, -1]], np.int8)
    return made


def test_the_best_box_of_each_class_shown_is_its_object(photographs: Photographs, tmp_path: Path) -> None:
    rows = [
        ("00", "cat", 0.2, *WHOLE),
        ("00", "cat", 0.9, 0.0, 0.0, 8.0, 8.0),
        ("00", "cat", 0.9, 0.0, 0.0, 9.0, 9.0),
        ("00", "dog", 0.95, *WHOLE),
        ("01", "cat", 0.9, *WHOLE),
        ("02", "dog", 0.9, *WHOLE),
    ]
    found = pseudo_objects(run(tmp_path / "r.parquet", photographs, rows), photographs.ground_truth("train"))
    assert [one.tolist() for one in found.get_objects("00")] == [[[0, 0, 8, 8]], [0]]
    for image in ("01", "02"):
        box, label = found.get_objects(image)
        assert (box.shape, label.shape) == ((0, 4), (0,))


def test_of_several_classes_each_has_its_own(photographs: Photographs, tmp_path: Path) -> None:
    photographs.labels[:] = [[1, 1], [0, 1], [1, -1]]
    rows = [
        ("02", "cat", 0.1, *WHOLE),
        ("01", "dog", 0.3, 0.0, 0.0, 4.0, 4.0),
        ("01", "cat", 0.2, 0.0, 0.0, 5.0, 5.0),
        ("00", "dog", 0.3, 0.0, 0.0, 6.0, 6.0),
        ("01", "dog", 0.8, 0.0, 0.0, 7.0, 7.0),
    ]
    found = pseudo_objects(run(tmp_path / "r.parquet", photographs, rows), photographs.ground_truth("train"))
    assert [one.tolist() for one in found.get_objects("00")] == [[[0, 0, 6, 6]], [1]]
    assert [one.tolist() for one in found.get_objects("01")] == [
        [[0, 0, 5, 5], [0, 0, 7, 7]],
        [0, 1],
    ]  # only difficult: too
    assert [one.tolist() for one in found.get_objects("02")] == [[list(WHOLE)], [0]]


def test_they_are_scaled_and_mirrored_with_their_image(photographs: Photographs, tmp_path: Path) -> None:
    file = run(tmp_path / "r.parquet", photographs, [("00", "cat", 0.9, 0.0, 4.0, 8.0, 12.0)])
    config = PseudoConfig(pseudo=file, net="none", weights="none", input_size=64, min_proposal=0)
    source, _ = make_batch_source(
        config, Images(photographs), photographs.ground_truth("train"), boxes(photographs, [WHOLE])
    )
    seen = set()
    for epoch in range(8):
        chosen = plan(config, 3, seed=0, epoch=epoch)
        for place in range(3):
            (((_, _, _, box, label), _),) = source.step(chosen, place)
            if chosen.order[place]:
                assert (box.shape, label.shape) == ((0, 4), (0,))
                continue
            mirrored = bool(chosen.mirrored[place])
            assert box.tolist() == [[48, 8, 64, 24] if mirrored else [0, 8, 16, 24]]
            assert label.tolist() == [0]
            seen.add(mirrored)
    assert seen == {True, False}


def test_a_run_without_boxes_says_what_to_do(photographs: Photographs, tmp_path: Path) -> None:
    (tmp_path / "abc").mkdir()
    with pytest.raises(RequestError, match="abc has no boxes: run it under a protocol that takes boxes"):
        pseudo_objects(str(tmp_path / "abc"), photographs.ground_truth("train"))


class Shifted(Corners):
    """Boxes of the first class are the proposals, of the second as wide ones that end 4 original pixels earlier."""

    def detect(self, image: torch.Tensor, proposals: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scale = image.shape[-1] / 32
        shift = torch.tensor([0.0, -4.0, 0.0, -4.0]) * scale
        return self(image, proposals), torch.stack([proposals, proposals + shift], dim=1)


@pytest.mark.parametrize(
    "views", [{}, {"flip_test": True}, {"scales": (32, 64)}, {"scales": (32, 64), "flip_test": True}]
)
def test_boxes_that_a_method_moves_are_written_of_each_class_in_the_original_image(
    photographs: Photographs, tmp_path: Path, views: dict[str, Any]
) -> None:
    method = made(Shifted, nms_iou=1.0, min_proposal=0, **views)
    given: Proposals = boxes(photographs, [(0, 8, 16, 24), (8, 4, 32, 20)])
    split = Split(photographs.ground_truth("train"), Images(photographs), given)
    table = predict(method, split, ["boxes"], tmp_path / "p", device=torch.device("cpu"))[0]["boxes"]
    first = [row for row in table.to_pylist() if row["image"] == "00"]
    found = {
        label: sorted(tuple(row[s] for s in ("x1", "y1", "x2", "y2")) for row in first if row["label"] == label)
        for label in ("cat", "dog")
    }
    assert found["cat"] == [pytest.approx((0, 8, 16, 24), abs=1e-4), pytest.approx((8, 4, 32, 20), abs=1e-4)]
    assert found["dog"] == [pytest.approx((0, 4, 16, 20), abs=1e-4), pytest.approx((8, 0, 32, 16), abs=1e-4)]


def test_suppression_looks_at_each_classs_own_boxes() -> None:
    moved = np.array([[[0, 0, 10, 10], [0, 0, 10, 10]], [[0, 0, 10, 10], [50, 0, 60, 10]]], float)
    label, score, box = detections(moved, [[0.9, 0.8], [0.7, 0.6]], nms_iou=0.5, score_threshold=0, max_detections=9)
    assert label.tolist() == [0, 1, 1]
    assert score.tolist() == [0.9, 0.8, 0.6]
    assert box.tolist() == [[0, 0, 10, 10], [0, 0, 10, 10], [50, 0, 60, 10]]
