"""Ranking and average precision: the tie rule, many replicates at once, and what is undefined."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from bench.data.ground_truth import GroundTruth, Objects, derive_labels
from bench.scoring.average_precision import average_precision, average_precisions, rank_rows


@pytest.fixture
def truth() -> GroundTruth:
    none = Objects(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros((0, 4)), np.zeros(0, np.bool_))
    return GroundTruth(
        "toy", "test", ("cat", "dog"), ("b", "a"), np.ones((2, 2), np.int32), derive_labels(2, 2, none), none
    )


def test_rows_go_by_class_then_score_then_image_id_then_file_order(truth: GroundTruth) -> None:
    image = np.array([0, 1, 0, 1, 1])
    label = np.array([1, 1, 0, 1, 1])
    score = np.array([0.5, 0.5, 0.1, 0.9, 0.5])
    # the cat first; then the dog of .9; of the ties image "a" (index 1) in file order, then image "b"
    assert rank_rows(truth, image, label, score).tolist() == [2, 3, 1, 4, 0]


def test_without_ties_the_unstable_order_is_the_same(truth: GroundTruth) -> None:
    score = np.random.default_rng(0).permutation(50) / 50
    image = label = np.zeros(50, dtype=np.int32)
    assert (rank_rows(truth, image, label, score) == rank_rows(truth, image, label, score, stable=False)).all()


def test_replicates_at_once_are_replicates_one_by_one() -> None:
    generator = np.random.default_rng(0)
    image, hit = generator.integers(0, 30, 200), generator.random(200) < 0.3
    draws = generator.integers(0, 3, (30, 6)).astype(np.float64)
    positives = draws.sum(axis=0) * 3
    together = average_precision(image, hit, positives, draws)
    for b in range(6):
        alone = average_precision(image, hit, positives[[b]], draws[:, [b]])
        assert [form[b] for form in together] == pytest.approx([form[0] for form in alone], abs=1e-12)


def test_the_non_interpolated_form_equals_scikit_learn() -> None:
    generator = np.random.default_rng(1)
    score, hit = np.sort(generator.random(300))[::-1], generator.random(300) < 0.2
    found = average_precision(np.arange(300), hit, np.array([float(hit.sum())]), np.ones((300, 1)))
    assert found.non_interpolated[0] == pytest.approx(average_precision_score(hit, score), abs=1e-12)


def test_a_class_without_positives_is_undefined_and_one_without_rows_is_zero() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    found = average_precisions(nothing, nothing, nothing.astype(bool), np.array([[0.0, 4.0]]), np.ones((1, 5)))
    for form in found:
        assert np.isnan(form[0, 0])
        assert form[0, 1] == 0
