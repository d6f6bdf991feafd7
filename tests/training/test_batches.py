"""From photographs to examples: the plan of an epoch, labels, mirror images, and working ahead of need."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from train_cases import FLAT, Colours, Corners, Photographs, boxes, made, make_source

from bench.data.proposals import Proposals
from bench.errors import BadFileError, RequestError
from bench.method import MapConfig, ProposalConfig
from bench.training.batches import effective_labels, make_batch_source, plan
from bench.training.inputs import Images, mirror_boxes, prefetch, scale_boxes, select_proposals
from methods.wsddn import Wsddn


def map_config(**settings: Any) -> MapConfig:
    return MapConfig(**{**FLAT, **settings})


@given(images=st.integers(1, 50), seed=st.integers(0, 9), epoch=st.integers(0, 9))
def test_an_epoch_shows_every_image_once_in_an_order_of_seed_and_epoch_alone(
    images: int, seed: int, epoch: int
) -> None:
    first, again = (plan(map_config(), images, seed, epoch) for _ in range(2))
    assert sorted(first.order) == list(range(images))
    assert first.order.tolist() == again.order.tolist()
    assert first.mirrored.tolist() == again.mirrored.tolist()


def test_other_epochs_and_seeds_have_other_orders() -> None:
    orders = [plan(map_config(), 20, seed, epoch).order.tolist() for seed, epoch in [(0, 0), (0, 1), (1, 0)]]
    assert orders[0] != orders[1]
    assert orders[0] != orders[2]
    assert orders[1] != orders[2]


def test_half_of_the_images_are_mirrored_unless_the_config_says_none() -> None:
    assert 400 < plan(map_config(), 1000, 0, 0).mirrored.sum() < 600
    assert not plan(map_config(flip=False), 1000, 0, 0).mirrored.any()


def test_sizes_are_drawn_from_the_scales_of_a_proposal_method() -> None:
    config = ProposalConfig(**{**FLAT, "scales": (40, 48)})
    assert set(plan(config, 100, 0, 0).size.tolist()) == {40, 48}
    assert set(plan(ProposalConfig(**FLAT), 100, 0, 0).size.tolist()) == {32}


def test_steps_take_every_image_once_and_the_last_may_be_smaller(tmp_path: Path) -> None:
    found = make_source(made(Colours, batch_size=3), Photographs(tmp_path, 8))
    chosen = plan(found.config, 8, 0, 0)
    batches = [found.step(chosen, number)[0].arguments for number in range(found.steps)]
    assert [len(images) for images, _ in batches] == [3, 3, 2]
    assert torch.equal(torch.cat([labels for _, labels in batches]), found.labels[chosen.order])


@pytest.mark.parametrize(("switch", "expected"), [("ignore", 0), ("negative", -1), ("positive", 1)])
def test_only_difficult_is_ignored_or_counts_as_one_side(switch: str, expected: int) -> None:
    labels = effective_labels(np.array([[1, -1, 0]], np.int8), switch)
    assert labels.tolist() == [[1, -1, expected]]
    assert labels.dtype == np.float32


def test_mirrored_boxes_are_where_their_pixels_went() -> None:
    picture = torch.zeros(10, 20)
    picture[2:5, 3:9] = 1
    assert mirror_boxes(torch.tensor([[3.0, 2.0, 9.0, 5.0]]), 20).tolist() == [[11, 2, 17, 5]]
    assert picture.flip(-1)[2:5, 11:17].sum() == picture.sum()


def test_scaled_boxes_follow_each_axis() -> None:
    assert scale_boxes(np.array([[1, 2, 3, 4]], np.float32), 2.0, 0.5).tolist() == [[2, 1, 6, 2]]


def test_proposals_lose_the_small_in_original_pixels_and_then_the_surplus(tmp_path: Path) -> None:
    rows = [(0, 0, 16, 12), (0, 0, 9, 12), (4, 0, 32, 24), (0, 0, 10, 10)]
    photographs = Photographs(tmp_path, 1)
    method = made(Corners, input_size=64, min_proposal=10, max_proposals=2, flip=False)
    found = make_source(method, photographs, boxes(photographs, rows))
    [((image, proposals, _), _)] = found.step(plan(method.config, 1, 0, 0), 0)
    assert image.shape == (1, 3, 48, 64)
    assert proposals.tolist() == [[0, 0, 32, 24], [8, 0, 64, 48]]


def test_a_mirrored_example_has_mirrored_pixels_and_proposals(tmp_path: Path) -> None:
    photographs = Photographs(tmp_path, 12)
    found = make_source(made(Corners, min_proposal=0), photographs, boxes(photographs, [(0, 0, 8, 24)]))
    chosen = plan(found.config, 12, 0, 0)
    assert 0 < chosen.mirrored.sum() < 12
    for number in range(12):
        [((image, proposals, _), _)] = found.step(chosen, number)
        plain = found.images.load_fitted(found.ids[chosen.order[number]], 32)[0]
        was = chosen.mirrored[number]
        assert torch.equal(image[0], plain.flip(-1) if was else plain)
        assert proposals.tolist() == [[24, 0, 32, 24] if was else [0, 0, 8, 24]]


def test_proposals_come_with_their_own_scores_where_these_weigh(tmp_path: Path) -> None:
    photographs = Photographs(tmp_path, 1)
    rows, scores = np.array([[0, 0, 5, 5], [4, 0, 20, 24]]), np.array([0.75, 0.25])
    proposals = Proposals.from_arrays(photographs.ids, [rows] * len(photographs.ids), [scores] * len(photographs.ids))
    config = Wsddn.Config(net="tiny", weights="none", input_size=64, min_proposal=10, proposals="p.npz", box_scores=10)
    of = photographs.ids[0]
    assert select_proposals(proposals, config, of).tolist() == [[4, 0, 20, 24, 0.25]]
    assert select_proposals(proposals, config.model_copy(update={"box_scores": 0.0}), of).tolist() == [[4, 0, 20, 24]]
    assert scale_boxes(select_proposals(proposals, config, of), 2.0, 0.5).tolist() == [[8, 0, 40, 12, 0.25]]
    assert mirror_boxes(torch.tensor([[4.0, 0, 20, 24, 0.25]]), 30).tolist() == [[10, 0, 26, 24, 0.25]]
    with pytest.raises(TypeError, match="given none"):
        select_proposals(Proposals.from_arrays(photographs.ids, [rows] * len(photographs.ids)), config, of)


def test_images_without_proposals_are_left_out_and_counted(tmp_path: Path) -> None:
    photographs = Photographs(tmp_path, 3)
    large, small = np.array([[0, 0, 20, 20]]), np.array([[0, 0, 2, 2]])
    proposals = Proposals.from_arrays(photographs.ids, [small, large, np.zeros((0, 4))])
    config, truth = ProposalConfig(**{**FLAT, "min_proposal": 8}), photographs.ground_truth("train")
    found, left_out = make_batch_source(config, Images(photographs), truth, proposals)
    assert (found.ids, left_out) == (("01",), 2)
    assert found.labels.tolist() == photographs.labels[[1]].tolist()
    with pytest.raises(RequestError, match="no image to train on"):
        make_batch_source(config.model_copy(update={"min_proposal": 30}), Images(photographs), truth, proposals)


def test_images_stay_in_memory_while_they_fit_the_budget(tmp_path: Path) -> None:
    photographs = Photographs(tmp_path, 2)
    bytes_each = 3 * 16 * 16
    images = Images(photographs, budget=bytes_each)
    first = [images.load_square(image, 16) for image in photographs.ids]
    photographs.opened.clear()
    again = [images.load_square(image, 16) for image in photographs.ids]
    assert all(torch.equal(one, other) for one, other in zip(again, first, strict=True))
    assert photographs.opened == ["01"]


def test_an_unreadable_photograph_is_named(tmp_path: Path) -> None:
    photographs = Photographs(tmp_path, 1)
    (tmp_path / "00.png").write_bytes(b"not a picture")
    with pytest.raises(BadFileError, match=r"00\.png"):
        Images(photographs).load_square("00", 16)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_work_ahead_comes_in_order(workers: int) -> None:
    def make(number: int) -> int:
        time.sleep(0.001 * (number % 3))
        return number

    assert list(prefetch(make, 20, workers)) == list(range(20))
    assert list(prefetch(make, 0, workers)) == []


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_an_error_comes_where_its_item_would_have_come(workers: int) -> None:
    def make(number: int) -> int:
        if number == 4:
            raise BadFileError("4.png", "is broken")
        return number

    items = prefetch(make, 10, workers)
    assert [next(items) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(BadFileError, match=r"4\.png: is broken"):
        next(items)


def test_work_ahead_is_bounded_and_stops_when_nobody_wants_more() -> None:
    begun: list[int] = []
    items = prefetch(lambda number: begun.append(number) or number, 100, 2)
    assert next(items) == 0
    items.close()
    assert len(begun) <= 5
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_work_ahead_leaves_the_threads_of_the_computation_alone() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        list(prefetch(lambda _: torch.rand(8, 8) @ torch.rand(8, 8), 4, 2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
