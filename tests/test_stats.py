"""The bootstrap: what a replicate is, that it repeats, and how undefined replicates are left out."""

from __future__ import annotations

import numpy as np
import pytest

from bench.stats import bootstrap, class_mean, interval, ratio, replicate_weights, totals


def all_weights(images: int, replicates: int, seed: int) -> np.ndarray:
    return np.concatenate(list(replicate_weights(images, replicates, seed)))


def test_a_replicate_draws_as_many_images_as_there_are() -> None:
    weights = all_weights(50, 20, seed=0)
    assert weights.shape == (20, 50)
    assert (weights.sum(axis=1) == 50).all()
    assert (weights == weights.round()).all()


def test_the_same_seed_draws_the_same_whatever_is_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = all_weights(30, 11, seed=4)
    monkeypatch.setattr("bench.stats._CHUNK", 60)
    assert (all_weights(30, 11, seed=4) == whole).all()
    assert (all_weights(30, 11, seed=5) != whole).any()


def test_the_interval_of_a_mean_has_the_width_that_theory_gives() -> None:
    # 400 images, half of them hits: standard error .025, so 95 % within about .049 of .5.
    hits = np.arange(400) % 2
    drawn = bootstrap(lambda w: {"mean": w @ hits / w.sum(axis=1)}, 400, replicates=2000, seed=0)
    low, high = interval(drawn["mean"]) or (0, 0)
    assert (low, high) == (pytest.approx(0.451, abs=0.006), pytest.approx(0.549, abs=0.006))


def test_undefined_replicates_are_left_out_of_the_interval() -> None:
    values = np.array([np.nan, *np.linspace(0, 1, 41)])
    assert interval(values) == (pytest.approx(0.025), pytest.approx(0.975))
    assert interval(np.array([np.nan])) is None


def test_the_mean_is_over_defined_classes() -> None:
    assert class_mean(np.array([[0.5, np.nan, 1.0]])).tolist() == [0.75]
    assert np.isnan(class_mean(np.array([[np.nan, np.nan]]))).all()
    assert class_mean(np.array([0.25])).tolist() == [0.25]


def test_totals_count_rows_by_class_as_often_as_their_image() -> None:
    # image 0 holds two rows of class 1, image 1 one of class 0; image 0 is drawn three times, image 1 never.
    image, label = np.array([0, 0, 1]), np.array([1, 1, 0])
    assert totals(np.array([[3.0, 0.0]]), image, label, 2).tolist() == [[0.0, 6.0]]
    assert totals(np.array([[3.0, 1.0]]), image, label, 2, np.array([True, False, True])).tolist() == [[1.0, 3.0]]


def test_a_share_of_nothing_is_undefined() -> None:
    assert ratio(np.array([1.0, 0.0]), np.array([2.0, 0.0])).tolist()[0] == 0.5
    assert np.isnan(ratio(np.array([0.0]), np.array([0.0]))).all()


def test_no_images_give_no_replicates() -> None:
    assert bootstrap(lambda w: {"mean": w.sum(axis=1)}, 0, replicates=5, seed=0) == {}
