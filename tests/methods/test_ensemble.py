"""The mean of runs: against sums by hand, what of a run is refused, and through the harness by address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.core.files import write_json
from bench.core.setting_names import use_former_names
from bench.data.ground_truth import GroundTruth, derive_labels, empty_objects
from bench.errors import BadFileError, RequestError
from bench.predictions.decode import detections
from bench.predictions.table import KINDS, About, write
from methods.ensemble import Ensemble, EnsembleConfig

IDS, CLASSES = ("a", "b", "c"), ("cat", "dog")
LEFT, RIGHT, MOST = (0, 0, 40, 80), (60, 0, 100, 80), (0, 0, 38, 80)


@pytest.fixture
def truth() -> GroundTruth:
    size = np.full((3, 2), 100, np.int32)
    return GroundTruth("made-up", "test", CLASSES, IDS, size, derive_labels(3, 2, empty_objects()), empty_objects())


def run(folder: Path, kind: str, rows: list[tuple[Any, ...]], **config: float) -> str:
    """The folder of a run's predictions."""
    schema = pa.schema([(name, pa.string() if name in ("image", "label") else pa.float64()) for name in KINDS[kind]])
    table = pa.Table.from_pylist([dict(zip(KINDS[kind], row, strict=True)) for row in rows], schema=schema)
    write(folder / f"{kind}.parquet", kind, table, About("hand", "made-up", "test", IDS))
    write_json(folder / "config.json", {"config": use_former_names(config)})
    return str(folder)


def rows(table: pa.Table) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in table.to_pylist()]


def ensemble(truth: GroundTruth, *runs: str, **settings: Any) -> dict[str, pa.Table]:
    return Ensemble(EnsembleConfig(runs=runs, **settings)).predict(truth, None)


def test_a_proposal_scores_the_mean_and_what_a_run_has_not_written_is_0(truth: GroundTruth, tmp_path: Path) -> None:
    one = run(tmp_path / "1", "boxes", [("a", "cat", 0.8, *LEFT), ("a", "cat", 0.2, *RIGHT), ("c", "dog", 0.5, *LEFT)])
    two = run(tmp_path / "2", "boxes", [("a", "cat", 0.4, *RIGHT), ("a", "dog", 0.6, *LEFT), ("a", "cat", 0.6, *LEFT)])
    assert rows(ensemble(truth, one, two)["boxes"]) == [
        ("a", "cat", pytest.approx(0.7), *LEFT),
        ("a", "cat", pytest.approx(0.3), *RIGHT),
        ("a", "dog", pytest.approx(0.3), *LEFT),
        ("c", "dog", 0.25, *LEFT),
    ]


def test_overlaps_are_suppressed_by_the_mean_score_not_by_that_of_a_run(truth: GroundTruth, tmp_path: Path) -> None:
    one = run(tmp_path / "1", "boxes", [("a", "cat", 0.6, *LEFT), ("a", "cat", 0.5, *MOST)])
    two = run(tmp_path / "2", "boxes", [("a", "cat", 0.1, *LEFT), ("a", "cat", 0.4, *MOST)])
    assert rows(ensemble(truth, one, two)["boxes"]) == [("a", "cat", pytest.approx(0.45), *MOST)]
    assert len(ensemble(truth, one, two, nms_iou=1.0)["boxes"]) == 2


def test_it_is_the_decoding_of_the_mean_of_all_scores(truth: GroundTruth, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 60, (30, 2))
    boxes = np.unique(np.concatenate([corners, corners + rng.integers(10, 40, (30, 2))], axis=1).astype(float), axis=0)
    scores = rng.random((3, len(boxes), 2))
    runs = []
    for number, mine in enumerate(scores):
        found = [("b", CLASSES[c], mine[r, c], *boxes[r]) for r in rng.permutation(len(boxes)) for c in (1, 0)]
        runs.append(run(tmp_path / str(number), "boxes", found))
    label, score, box = detections(boxes, scores.mean(0), nms_iou=0.3, score_threshold=0.4, max_detections=9)
    table = ensemble(truth, *runs, score_threshold=0.4, max_detections=9)["boxes"]
    assert table["label"].to_pylist() == [CLASSES[one] for one in label]
    np.testing.assert_allclose(table["score"].to_numpy(), score)
    np.testing.assert_array_equal([table[side].to_numpy() for side in ("x1", "y1", "x2", "y2")], box.T)


def test_image_scores_are_averaged_for_every_image_and_class(truth: GroundTruth, tmp_path: Path) -> None:
    one = run(tmp_path / "1", "scores", [("a", "cat", 0.5), ("b", "dog", 1.0)])
    two = run(tmp_path / "2", "scores", [("a", "cat", 0.25)])
    assert rows(ensemble(truth, one, two)["scores"]) == [
        ("a", "cat", 0.375),
        ("a", "dog", 0.0),
        ("b", "cat", 0.0),
        ("b", "dog", 0.5),
        ("c", "cat", 0.0),
        ("c", "dog", 0.0),
    ]


def test_the_order_of_the_runs_changes_nothing_and_of_one_run_it_is_that_run(
    truth: GroundTruth, tmp_path: Path
) -> None:
    one = run(tmp_path / "1", "boxes", [("a", "cat", 0.5, *LEFT), ("b", "dog", 0.3, *RIGHT)])
    two = run(tmp_path / "2", "boxes", [("a", "cat", 0.25, *RIGHT)])
    assert ensemble(truth, one, two)["boxes"].equals(ensemble(truth, two, one)["boxes"])
    assert rows(ensemble(truth, one)["boxes"]) == [("a", "cat", 0.5, *LEFT), ("b", "dog", 0.3, *RIGHT)]


def test_only_kinds_that_every_run_made_are_there(truth: GroundTruth, tmp_path: Path) -> None:
    one, two = run(tmp_path / "1", "boxes", []), run(tmp_path / "2", "boxes", [])
    run(tmp_path / "1", "scores", [])
    tables = ensemble(truth, one, two)
    assert list(tables) == ["boxes"]
    assert rows(tables["boxes"]) == []
    assert [str(kind) for kind in tables["boxes"].schema.types] == ["string", "string"] + ["double"] * 5


def test_files_of_anybody_are_members_too(truth: GroundTruth, tmp_path: Path) -> None:
    run(tmp_path / "1", "boxes", [("a", "cat", 0.5, *LEFT)])
    assert rows(ensemble(truth, str(tmp_path / "1" / "boxes.parquet"))["boxes"]) == [("a", "cat", 0.5, *LEFT)]


def test_a_run_whose_boxes_were_suppressed_is_refused_with_what_to_do(truth: GroundTruth, tmp_path: Path) -> None:
    one = run(tmp_path / "abc", "boxes", [("a", "cat", 0.5, *LEFT)], nms_iou=0.3)
    with pytest.raises(
        RequestError, match=r"abc has only some of its boxes \(nms_iou=0\.3\).* nms_iou=1,max_detections=2000"
    ):
        ensemble(truth, one)


def test_a_run_of_which_few_boxes_were_written_is_refused(truth: GroundTruth, tmp_path: Path) -> None:
    few = [("a", "cat", 0.5, *LEFT), ("a", "dog", 0.4, *RIGHT)]
    with pytest.raises(RequestError, match=r"\(max_detections=2\)"):
        ensemble(truth, run(tmp_path / "cut", "boxes", few, max_detections=2))
    assert len(rows(ensemble(truth, run(tmp_path / "whole", "boxes", few, max_detections=3))["boxes"])) == 2


def test_runs_on_other_proposals_are_refused(truth: GroundTruth, tmp_path: Path) -> None:
    runs = [run(tmp_path / name, "boxes", [("a", "cat", 0.5, *LEFT)]) for name in ("one", "two")]
    for name in ("one", "two"):
        write_json(tmp_path / name / "config.json", {"config": {}, "proposals": name})
    with pytest.raises(RequestError, match="one and two scored different proposals"):
        ensemble(truth, *runs)
    assert ensemble(truth, runs[0], runs[0])["boxes"].num_rows == 1


def test_a_run_on_other_images_is_refused_with_what_to_do(truth: GroundTruth, tmp_path: Path) -> None:
    one = run(tmp_path / "abc", "boxes", [("a", "cat", 0.5, *LEFT)])
    size = np.full((2, 2), 100, np.int32)
    other = GroundTruth(
        "made-up", "val", CLASSES, ("a", "z"), size, derive_labels(2, 2, empty_objects()), empty_objects()
    )
    said = r"abc \(hand\) is on made-up test, without 1 of the 2 images of made-up val \(first: z\)\. Run it on these"
    with pytest.raises(RequestError, match=said):
        ensemble(other, one)


def test_of_a_run_on_more_images_those_of_the_split_are_taken(truth: GroundTruth, tmp_path: Path) -> None:
    one = run(tmp_path / "1", "boxes", [("a", "cat", 0.5, *LEFT), ("c", "dog", 0.3, *RIGHT)])
    some = truth.subset(("c", "b"), split="val")
    assert rows(ensemble(some, one)["boxes"]) == [("c", "dog", 0.3, *RIGHT)]


def test_an_image_that_is_no_text_is_named(truth: GroundTruth, tmp_path: Path) -> None:
    columns = {name: pa.array([0.5]) for name in KINDS["boxes"]} | {"label": pa.array(["cat"])}
    broken = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfe"]).buffers())
    pq.write_table(pa.table(columns | {"image": broken}), tmp_path / "x.parquet")
    with pytest.raises(BadFileError, match="an image is not UTF-8 text"):
        ensemble(truth, str(tmp_path / "x.parquet"))


def test_a_file_that_breaks_a_rule_is_named(truth: GroundTruth, tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(BadFileError, match=r"x\.parquet"):
        ensemble(truth, str(tmp_path / "x.parquet"))
