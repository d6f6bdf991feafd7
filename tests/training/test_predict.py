"""Prediction: every kind in one pass, in parts that survive an interruption, averaged as the config says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from torch import Tensor
from train_cases import CPU, TASK, Colours, Corners, Photographs, boxes, made

from bench import registry
from bench.core.files import Places
from bench.data.pixels import read_pixels
from bench.data.proposals import Proposals
from bench.errors import BusyError, MissingDataError, RequestError, RunError
from bench.execution import resolve as resolve_module
from bench.execution.resolve import DatasetCache, Request, resolve_request
from bench.method import Maps
from bench.predictions.decode import compute_mask, compute_shares, detections, points_and_boxes
from bench.predictions.dense_crf import DenseCrf, refine_shares
from bench.predictions.formats import read_any
from bench.predictions.table import ResolvedPredictions, resolve
from bench.training import predict as module
from bench.training.inputs import Images
from bench.training.predict import Split, predict

HALVES = [(0, 0, 16, 24), (16, 0, 32, 24), (0, 0, 32, 24)]
ALL = ("scores", "points", "boxes")


@pytest.fixture(autouse=True)
def parts_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART", 3)


@pytest.fixture
def photographs(tmp_path: Path) -> Photographs:
    return Photographs(tmp_path, 8)


def predicted(
    method: Any, photographs: Photographs, folder: Path, *kinds: str, proposals: Proposals | None = None, **more: Any
) -> dict[str, pa.Table]:
    split = Split(photographs.ground_truth("test"), Images(photographs, budget=0), proposals)
    return predict(method, split, kinds, folder, **{"device": CPU, **more})[0]


def drawn(photographs: Photographs, folder: Path, kind: str) -> tuple[ResolvedPredictions, list[np.ndarray]]:
    """What was left of a kind that is a folder, and its arrays."""
    truth = photographs.ground_truth("test")
    found = resolve(read_any(folder / "parts" / kind, truth, [kind]), truth)
    return found, list(found.arrays())


def scores(table: pa.Table) -> np.ndarray:
    return table["score"].to_numpy().reshape(-1, len(TASK.classes))


def test_a_map_method_speaks_for_every_image_and_class(photographs: Photographs, tmp_path: Path) -> None:
    method = made(Colours, batch_size=2)
    tables = predicted(method, photographs, tmp_path / "p", *ALL)
    for table in tables.values():
        assert table["image"].to_pylist() == [image for image in photographs.ids for _ in TASK.classes]
        assert table["label"].to_pylist() == list(TASK.classes) * 8
    pixels = torch.stack([Images(photographs).load_square(image, 32) for image in photographs.ids]) / 255
    with torch.no_grad():
        found = method.eval()(pixels)
    np.testing.assert_allclose(scores(tables["scores"]), found.scores.sigmoid(), rtol=1e-5)
    assert tables["points"]["score"].equals(tables["scores"]["score"])


def test_a_proposal_method_writes_what_suppression_leaves_and_the_best_score(
    photographs: Photographs, tmp_path: Path
) -> None:
    method, proposals = made(Corners, nms_iou=0.4), boxes(photographs, HALVES)
    tables = predicted(method, photographs, tmp_path / "p", "boxes", "scores", proposals=proposals)
    with torch.no_grad():
        each = method(torch.zeros(1, 3, 24, 32), torch.tensor(HALVES, dtype=torch.float32))
    np.testing.assert_allclose(scores(tables["scores"]), each.amax(0).expand(8, 2), rtol=1e-5)
    settings = {"score_threshold": method.config.score_threshold, "max_detections": 100}
    label, score, box = detections(HALVES, each.double().numpy(), nms_iou=0.4, **settings)
    assert 2 <= len(label) < 6
    first = tables["boxes"].slice(0, len(label))
    assert set(first["image"].to_pylist()) == {"00"}
    assert first["label"].to_pylist() == [TASK.classes[one] for one in label]
    assert len(tables["boxes"]) == 8 * len(label)
    np.testing.assert_allclose(first["score"].to_numpy(), score, rtol=1e-5)
    np.testing.assert_array_equal([first[side].to_numpy() for side in ("x1", "y1", "x2", "y2")], box.T)


@pytest.mark.parametrize("rows", [[], HALVES])
def test_images_without_large_enough_proposals_have_scores_of_0_and_no_boxes(
    photographs: Photographs, tmp_path: Path, rows: list[Any]
) -> None:
    method, given = made(Corners, min_proposal=30), boxes(photographs, rows)
    tables = predicted(method, photographs, tmp_path / "p", "boxes", "scores", proposals=given)
    assert len(tables["boxes"]) == 0
    assert (scores(tables["scores"]) == np.zeros((8, 2))).all()


def test_every_proposal_of_the_classes_that_an_image_shows_is_written(photographs: Photographs, tmp_path: Path) -> None:
    method, proposals = made(Corners, nms_iou=0.1, max_detections=1, min_proposal=0), boxes(photographs, HALVES)
    table = predicted(method, photographs, tmp_path / "p", "proposals", proposals=proposals)["proposals"]
    with torch.no_grad():
        each = method(torch.zeros(1, 3, 24, 32), torch.tensor(HALVES, dtype=torch.float32)).numpy()
    shown = [(image, label) for image, row in enumerate(photographs.labels) for label in (0, 1) if row[label] == 1]
    assert 0 < len(shown) < 16
    rows = [
        (photographs.ids[image], TASK.classes[label], *map(float, HALVES[box]), pytest.approx(each[box, label]))
        for image, label in shown
        for box in range(3)
    ]
    assert [tuple(row.values()) for row in table.to_pylist()] == rows


class LeftToRight(Colours):
    """The map of an image is its red; the score of its first class is red in the left half, of its second all red."""

    def forward(self, images: Tensor) -> Maps:
        red = images[:, :1]
        return Maps(torch.stack([red[..., :16].mean((1, 2, 3)), red.mean((1, 2, 3))], 1), red.expand(-1, 2, -1, -1))

    def probabilities(self, scores: Tensor) -> Tensor:
        return scores


def test_flip_test_is_the_mean_over_both_views_with_maps_turned_back(photographs: Photographs, tmp_path: Path) -> None:
    plain = predicted(made(LeftToRight), photographs, tmp_path / "plain", *ALL)
    both = predicted(made(LeftToRight, flip_test=True), photographs, tmp_path / "both", *ALL)
    red = torch.stack([Images(photographs).load_square(image, 32)[0] for image in photographs.ids]).numpy() / 255
    np.testing.assert_allclose(scores(plain["scores"])[:, 0], red[:, :, :16].mean((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(scores(both["scores"])[:, 0], red.mean((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(scores(both["scores"])[:, 1], red.mean((1, 2)), rtol=1e-5)
    assert both["points"].select(["x", "y"]).equals(plain["points"].select(["x", "y"]))
    assert both["boxes"].select(["x1", "x2"]).equals(plain["boxes"].select(["x1", "x2"]))


@pytest.mark.parametrize("flip", [False, True])
def test_predictions_of_several_sizes_are_averaged_at_the_largest(
    photographs: Photographs, tmp_path: Path, flip: bool
) -> None:
    found = predicted(
        made(LeftToRight, test_scales=(32, 64), flip_test=flip), photographs, tmp_path / "p", "scores", "maps"
    )
    assert list(found) == ["scores"]
    _, maps = drawn(photographs, tmp_path / "p", "maps")
    large, small = (
        torch.stack([Images(photographs).load_square(image, size)[:1] for image in photographs.ids]) / 255
        for size in (64, 32)
    )
    enlarged = torch.nn.functional.interpolate(small, (64, 64), mode="bilinear")
    np.testing.assert_allclose(np.stack(maps)[::2], ((large + enlarged) / 2)[:, 0], atol=1e-5)
    views = (large, small, large.flip(-1), small.flip(-1)) if flip else (large, small)
    left = torch.stack([view[..., :16].mean((1, 2, 3)) for view in views]).mean(0)
    np.testing.assert_allclose(scores(found["scores"])[:, 0], left, rtol=1e-5)


def test_every_component_is_a_row_of_boxes_with_the_score_of_its_class(
    photographs: Photographs, tmp_path: Path
) -> None:
    rule = {"box_rule": "every-component", "box_threshold": 0.6}
    tables = predicted(made(Colours, **rule), photographs, tmp_path / "p", *ALL, "maps")
    found, maps = drawn(photographs, tmp_path / "p", "maps")
    expected = []
    for pair, (image, label, map_) in enumerate(zip(found.image, found.label, maps, strict=True)):
        score = tables["scores"]["score"][pair].as_py()
        for box in points_and_boxes(map_[None], 32, 24, rule="every-component", threshold=0.6)[1][0]:
            expected.append([photographs.ids[image], TASK.classes[label], score, *box.tolist()])
    assert len(expected) > 2 * len(maps)
    assert [list(row.values()) for row in tables["boxes"].to_pylist()] == expected
    assert len(tables["points"]) == len(tables["scores"]) == len(maps)


def test_scales_and_mirror_images_of_proposals_are_averaged(photographs: Photographs, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"scales": (32, 64), "flip_test": True, "nms_iou": 1.0, "min_proposal": 0}
    method, proposals = made(Corners, **settings), boxes(photographs, HALVES[:1])
    tables = predicted(method, photographs, tmp_path / "p", "scores", proposals=proposals)
    with torch.no_grad():
        left, right = method(torch.zeros(1, 3, 24, 32), torch.tensor(HALVES[:2], dtype=torch.float32))
    np.testing.assert_allclose(scores(tables["scores"])[0], (left + right) / 2, rtol=1e-5)


def test_finished_parts_are_not_predicted_again(photographs: Photographs, tmp_path: Path) -> None:
    whole = predicted(made(Colours), photographs, tmp_path / "whole", *ALL)
    calls = iter([None, None, BusyError("somebody else")])

    def check() -> None:
        if (error := next(calls)) is not None:
            raise error

    with pytest.raises(BusyError):
        predicted(made(Colours), photographs, tmp_path / "p", *ALL, check=check)
    photographs.opened.clear()
    again = predicted(made(Colours), photographs, tmp_path / "p", *ALL)
    assert photographs.opened == ["06", "07"]
    assert all(again[kind].equals(whole[kind]) for kind in ALL)


def test_parts_of_some_kinds_do_not_stand_for_others(photographs: Photographs, tmp_path: Path) -> None:
    whole = predicted(made(Colours), photographs, tmp_path / "whole", *ALL)
    first = predicted(made(Colours), photographs, tmp_path / "p", "scores")
    assert list(first) == ["scores"]
    more = predicted(made(Colours), photographs, tmp_path / "p", "points", "scores")
    assert all(more[kind].equals(whole[kind]) for kind in more)


def test_workers_change_nothing(photographs: Photographs, tmp_path: Path) -> None:
    found = [
        predicted(made(Colours), photographs, tmp_path / str(workers), *ALL, workers=workers) for workers in (0, 1, 3)
    ]
    assert all(found[0][kind].equals(other[kind]) for other in found for kind in ALL)


def test_what_it_took_counts_what_was_predicted_now(photographs: Photographs, tmp_path: Path) -> None:
    split = Split(photographs.ground_truth("test"), Images(photographs))
    _, took = predict(made(Colours), split, ALL, tmp_path / "p", device=CPU)
    assert took["images"] == 8
    assert took["images_per_second"] == pytest.approx(8 / took["seconds"])
    _, took = predict(made(Colours), split, ALL, tmp_path / "p", device=CPU)
    assert (took["images"], took["images_per_second"]) == (0, 0)


@pytest.mark.parametrize("kind", ["scores", "maps"])
def test_what_is_no_number_is_refused_and_not_written(photographs: Photographs, tmp_path: Path, kind: str) -> None:
    class Broken(Colours):
        def forward(self, images: Tensor) -> Maps:
            scores, maps, *_ = super().forward(images)
            return Maps(scores * torch.nan, maps) if kind == "scores" else Maps(scores, maps * torch.nan)

    with pytest.raises(RunError, match="must be finite"):
        predicted(made(Broken), photographs, tmp_path / "p", *ALL)
    assert not (tmp_path / "p").exists()


def test_a_proposal_score_that_is_no_number_is_refused(photographs: Photographs, tmp_path: Path) -> None:
    class Broken(Corners):
        def forward(self, image: Tensor, proposals: Tensor) -> Tensor:
            return super().forward(image, proposals) / 0

    with pytest.raises(RunError, match="must be finite"):
        predicted(made(Broken), photographs, tmp_path / "p", "boxes", proposals=boxes(photographs, HALVES))


@pytest.mark.parametrize(("half", "close"), [(False, 1e-5), (True, 1e-2)])
def test_maps_are_those_of_the_network_one_a_class(
    photographs: Photographs, tmp_path: Path, half: bool, close: float
) -> None:
    method = made(Colours, half_maps=half)
    assert predicted(method, photographs, tmp_path / "p", "maps") == {}
    found, maps = drawn(photographs, tmp_path / "p", "maps")
    assert found.image.tolist() == [row for row in range(8) for _ in TASK.classes]
    assert found.label.tolist() == [0, 1] * 8
    pixels = torch.stack([Images(photographs).load_square(image, 32) for image in photographs.ids]) / 255
    with torch.no_grad():
        forward = method.eval()(pixels).maps.reshape(-1, 32, 32).numpy()
    np.testing.assert_allclose(np.stack(maps), forward, atol=close)
    stored = pa.parquet.read_schema(next((tmp_path / "p" / "parts" / "maps").glob("*.parquet"))).field("map").type
    assert stored == pa.list_(pa.float16() if half else pa.float32())


def test_a_map_that_half_precision_cannot_hold_is_refused(photographs: Photographs, tmp_path: Path) -> None:
    class Loud(Colours):
        def forward(self, images: Tensor) -> Maps:
            scores, maps, *_ = super().forward(images)
            return Maps(scores, maps - 70_000)

    predicted(made(Loud), photographs, tmp_path / "p", "maps")
    with pytest.raises(RunError, match=r"ends at 65504, but a map has (6|7)\d{4}.*half_maps=false"):
        predicted(made(Loud, half_maps=True), photographs, tmp_path / "half", "maps")


def test_masks_are_decoded_as_the_config_says(photographs: Photographs, tmp_path: Path) -> None:
    rule = {"mask_rule": "common-maximum", "mask_threshold": 0.6, "mask_score": 0.4}
    method = made(Colours, **rule)
    tables = predicted(method, photographs, tmp_path / "p", "masks", "scores", "maps")
    _, maps = drawn(photographs, tmp_path / "p", "maps")
    found, masks = drawn(photographs, tmp_path / "p", "masks")
    assert found.covered.all()
    for row, score in enumerate(scores(tables["scores"])):
        classes = (score >= 0.4) | (score == score.max())
        both = np.stack(maps[2 * row : 2 * row + 2])
        shares = compute_shares(both, classes, 32, 24, rule="common-maximum", threshold=0.6)
        expected = compute_mask(shares, classes)
        np.testing.assert_array_equal(masks[row], expected)
    assert len({mask.tobytes() for mask in masks}) == 8


@pytest.mark.crf
def test_a_crf_refines_masks_by_the_photograph_as_it_is(photographs: Photographs, tmp_path: Path) -> None:
    settings = {"crf_appearance_rgb": 40, "crf_steps": 2, "mask_score": 0.4}
    predicted(made(Colours, **settings), photographs, tmp_path / "plain", "masks", "maps", "scores")
    tables = predicted(made(Colours, crf=True, **settings), photographs, tmp_path / "p", "masks", "scores")
    _, maps = drawn(photographs, tmp_path / "plain", "maps")
    (_, plain), (_, masks) = (drawn(photographs, tmp_path / name, "masks") for name in ("plain", "p"))
    crf = DenseCrf(10, 80, 40, 3, 3, 2)
    for row, score in enumerate(scores(tables["scores"])):
        classes = (score >= 0.4) | (score == score.max())
        shares = compute_shares(
            np.stack(maps[2 * row : 2 * row + 2]), classes, 32, 24, rule="own-maximum", threshold=0.3
        )
        pixels = read_pixels(photographs.image_path(photographs.ids[row]))
        np.testing.assert_array_equal(masks[row], compute_mask(refine_shares(shares, pixels, crf), classes))
    assert any((before != after).any() for before, after in zip(plain, masks, strict=True))


def test_folders_are_finished_part_by_part_as_tables_are(photographs: Photographs, tmp_path: Path) -> None:
    kinds = ("maps", "masks", "scores")
    predicted(made(Colours), photographs, tmp_path / "whole", *kinds)
    calls = iter([None, None, BusyError("somebody else")])

    def check() -> None:
        if (error := next(calls)) is not None:
            raise error

    with pytest.raises(BusyError):
        predicted(made(Colours), photographs, tmp_path / "p", *kinds, check=check)
    (tmp_path / "p" / "parts" / "masks" / "01.png").unlink()
    photographs.opened.clear()
    predicted(made(Colours), photographs, tmp_path / "p", *kinds)
    assert photographs.opened == ["00", "01", "02", "06", "07"]
    whole = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.p*"))
    assert len(whole) == 3 + 3 + 8
    assert all((tmp_path / "p" / path).read_bytes() == (tmp_path / "whole" / path).read_bytes() for path in whole)


class WithObjectness(Colours):
    """Its objectness is red."""

    kinds = (*Colours.kinds, "objectness")

    def forward(self, images: Tensor) -> Maps:
        return super().forward(images)._replace(objectness=images[:, 0])


def test_objectness_is_written_where_a_method_has_it_turned_back_too(photographs: Photographs, tmp_path: Path) -> None:
    predicted(made(WithObjectness, flip_test=True), photographs, tmp_path / "p", "objectness")
    found, maps = drawn(photographs, tmp_path / "p", "objectness")
    assert found.image.tolist() == list(range(8))
    red = torch.stack([Images(photographs).load_square(image, 32)[0] for image in photographs.ids]).numpy() / 255
    np.testing.assert_allclose(np.stack(maps), red, rtol=1e-6)


def test_a_method_that_claims_objectness_and_has_none_is_told_so(photographs: Photographs, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="colours claims objectness, but its forward gives none"):
        predicted(made(Colours), photographs, tmp_path / "p", "objectness")


def test_of_many_classes_the_best_and_the_shown_ones_are_written(
    photographs: Photographs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.training.map_inference.MANY", 1)
    monkeypatch.setattr("bench.training.map_inference.KEPT", 1)
    kinds = (*ALL, "maps", "masks")
    tables = predicted(made(Colours), photographs, tmp_path / "few", *kinds)
    _, masks = drawn(photographs, tmp_path / "few", "masks")
    monkeypatch.undo()
    whole = predicted(made(Colours), photographs, tmp_path / "whole", *kinds)
    best = scores(whole["scores"]).argmax(axis=1)
    pairs = [
        (image, TASK.classes[label])
        for row, image in enumerate(photographs.ids)
        for label in (0, 1)
        if label == best[row] or photographs.labels[row, label] == 1
    ]
    assert 8 < len(pairs) < 16
    for table, of_all in ((tables[kind], whole[kind]) for kind in ALL):
        rows = of_all.to_pylist()
        assert table.to_pylist() == [row for row in rows if (row["image"], row["label"]) in pairs]
    found, _ = drawn(photographs, tmp_path / "few", "maps")
    assert [(photographs.ids[i], TASK.classes[c]) for i, c in zip(found.image, found.label, strict=True)] == pairs
    assert [m.tobytes() for m in masks] == [m.tobytes() for m in drawn(photographs, tmp_path / "whole", "masks")[1]]


@pytest.mark.parametrize("name", ["grad-cam", "gradient", "mwp"])
def test_an_attribution_that_maps_the_shown_classes_says_the_same_of_them(
    name: str, photographs: Photographs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls, _ = registry.parse(name, {})
    explained = list[int]()

    def predict_with(classes: str) -> dict[str, pa.Table]:
        method: Any = made(cls, net="tiny", map_classes=classes, batch_size=1)
        explain_each = method.explain_each

        def count(images: Tensor, labels: Any) -> Any:
            explained.append(len(labels))
            return explain_each(images, labels)

        monkeypatch.setattr(method, "explain_each", count)
        return predicted(method, photographs, tmp_path / classes, *ALL)

    every, shown = predict_with("all"), predict_with("present")
    present = photographs.labels > 0
    assert sum(explained) == present.size + present.sum()
    assert shown["scores"].equals(every["scores"])
    names = {
        (image, TASK.classes[label])
        for image, row in zip(photographs.ids, present, strict=True)
        for label in np.flatnonzero(row)
    }
    for kind in ("points", "boxes"):
        rows = [
            (image, label) in names
            for image, label in zip(*(every[kind][key].to_pylist() for key in ("image", "label")), strict=True)
        ]
        assert shown[kind].equals(every[kind].filter(pa.array(rows)))


def test_scores_alone_need_no_maps(photographs: Photographs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cls, _ = registry.parse("gradient", {})
    method: Any = made(cls, net="tiny", map_classes="all")
    monkeypatch.setattr(method, "explain", lambda *_: pytest.fail("a map was computed"))
    assert len(predicted(method, photographs, tmp_path, "scores")["scores"]) == 16


@pytest.mark.parametrize(
    ("protocol", "classes"),
    [("voc07-corloc", "present"), ("voc07-point", "present"), ("voc07-cls", "all"), ("voc07-energy", "all")],
)
def test_a_run_maps_the_classes_that_its_protocol_looks_at(protocol: str, classes: str, tmp_path: Path) -> None:
    options = {"train": 2, "val": 2, "test": 2, "size": 64, "classes": 2}
    request = Request("grad-cam", registry.protocol(protocol), data="shapes", data_options=options)
    resolved = resolve_request(request, DatasetCache(Places(tmp_path)), device=CPU, threads=1)
    assert resolved.config.map_classes == classes  # type: ignore[attr-defined]
    other = replace(resolved, test=replace(resolved.test, labels=-resolved.test.labels))
    assert (other.predictions.address == resolved.predictions.address) == (classes == "all")
    if classes == "all":
        with pytest.raises(RequestError, match="tells which classes an image shows"):
            resolve_request(
                replace(request, settings={"map_classes": "present"}),
                DatasetCache(Places(tmp_path)),
                device=CPU,
                threads=1,
            )


def test_where_the_ground_truth_is_withheld_all_classes_are_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def withhold(datasets: DatasetCache, dataset: Any, split: str) -> Any:
        return dataset.ground_truth(split), MissingDataError("labels", tmp_path, "They are withheld.")

    monkeypatch.setattr(resolve_module, "_read_test_split", withhold)
    options = {"train": 2, "val": 2, "test": 2, "size": 64, "classes": 2}
    request = Request("grad-cam", registry.protocol("voc07-point"), data="shapes", data_options=options)
    resolved = resolve_request(request, DatasetCache(Places(tmp_path)), device=CPU, threads=1)
    assert resolved.config.map_classes == "all"  # type: ignore[attr-defined]
