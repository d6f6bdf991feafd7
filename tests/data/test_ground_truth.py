"""Truth tables: labels from objects, subsets, digests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.data.ground_truth import GroundTruth, Objects, derive_labels
from bench.errors import RequestError, UnknownNameError


def objects() -> Objects:
    """cat in a; a difficult dog in a; a difficult and a clear dog in c."""
    return Objects(
        np.array([0, 0, 2, 2], dtype=np.int32),
        np.array([0, 1, 1, 1], dtype=np.int32),
        np.arange(16, dtype=np.float64).reshape(4, 4),
        np.array([False, True, True, False]),
    )


@pytest.fixture
def truth() -> GroundTruth:
    size = np.array([[10, 20], [30, 40], [50, 60]], dtype=np.int32)
    return GroundTruth("toy", "all", ("cat", "dog"), ("c", "a", "b"), size, derive_labels(3, 2, objects()), objects())


def test_a_label_is_present_absent_or_present_only_as_difficult() -> None:
    assert derive_labels(3, 2, objects()).tolist() == [[1, 0], [-1, -1], [-1, 1]]


def test_a_subset_has_its_images_in_the_order_given(truth: GroundTruth) -> None:
    part = truth.subset(("b", "c"), split="part")
    assert (part.ids, part.split, part.size.tolist()) == (("b", "c"), "part", [[50, 60], [10, 20]])
    assert part.labels.tolist() == [[-1, 1], [1, 0]]
    assert part.objects.image.tolist() == [0, 0, 1, 1]
    assert part.objects.box[:, 0].tolist() == [8, 12, 0, 4]


def test_a_subset_of_everything_has_the_same_digest(truth: GroundTruth) -> None:
    assert truth.subset(truth.ids, split="other").digest == truth.digest


def test_an_unknown_image_is_refused(truth: GroundTruth) -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown image of toy all 'z'\."):
        truth.subset(("a", "z"), split="part")


def test_an_image_twice_is_refused(truth: GroundTruth) -> None:
    with pytest.raises(RequestError, match="Image 'a' is listed twice in part"):
        truth.subset(("a", "b", "a"), split="part")


def test_a_moved_box_moves_the_digest_and_not_that_of_the_ids(truth: GroundTruth) -> None:
    moved = replace(truth, objects=replace(truth.objects, box=truth.objects.box + 1))
    assert moved.digest != truth.digest
    assert moved.ids_digest == truth.ids_digest


def test_ranks_follow_the_ids_and_not_the_list(truth: GroundTruth) -> None:
    assert truth.id_rank.tolist() == [2, 0, 1]


def test_a_pair_is_the_cell_of_the_label_table(truth: GroundTruth) -> None:
    assert truth.labels.ravel()[truth.pair(np.array([2]), np.array([1]))] == truth.labels[2, 1]
