"""The bootstrap: what a replicate is, that it repeats, and what it says of one number, of two, and of many."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.bootstrap import (
    average_over_seeds,
    bootstrap,
    class_mean,
    count_by_class,
    difference_interval,
    draw_weights,
    interval,
    p_value,
    rank_values,
    ratio,
)


def all_weights(images: int, replicates: int, seed: int) -> np.ndarray:
    return np.concatenate(list(draw_weights(images, replicates, seed)))


def test_a_replicate_draws_as_many_images_as_there_are() -> None:
    weights = all_weights(50, 20, seed=0)
    assert weights.shape == (20, 50)
    assert (weights.sum(axis=1) == 50).all()
    assert (weights == weights.round()).all()


def test_the_same_seed_draws_the_same_whatever_is_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = all_weights(30, 11, seed=4)
    monkeypatch.setattr("bench.core.bootstrap._CHUNK", 60)
    assert (all_weights(30, 11, seed=4) == whole).all()
    assert (all_weights(30, 11, seed=5) != whole).any()


def test_the_interval_of_a_mean_has_the_width_that_theory_gives() -> None:
    # 400 images, half of them hits: standard error .025, so 95 % within about .049 of .5.
    hits = np.arange(400) % 2
    drawn = bootstrap(lambda w: {"mean": w @ hits / w.sum(axis=1)}, 400, replicates=2000, seed=0)
    low, high = interval(drawn["mean"], 0.5) or (0, 0)
    assert (low, high) == (pytest.approx(0.451, abs=0.006), pytest.approx(0.549, abs=0.006))


def test_undefined_replicates_are_left_out() -> None:
    values = np.array([np.nan, *np.linspace(-0.5, 0.5, 39)])
    assert difference_interval(values, 0.0) == (pytest.approx(-0.5), pytest.approx(0.5))  # the first and the last
    assert interval(np.abs(values), 0.5) == interval(np.abs(values[1:]), 0.5)
    assert p_value(values, 0.0) == p_value(values[1:], 0.0) == 1.0
    for undefined in (np.array([np.nan]), np.zeros(0)):
        assert interval(undefined, 0.5) is None
        assert p_value(undefined, 0.5) is None
    assert interval(values, np.nan) is None
    assert p_value(values, np.nan) is None


def test_an_interval_reaches_from_one_correction_of_the_bias_to_the_other() -> None:
    # Of 39 replicates the first and the last are the quantiles; their mean exceeds the value by the bias.
    values = np.linspace(0.4, 0.6, 39)
    assert interval(values, 0.5) == (pytest.approx(0.4), pytest.approx(0.6))
    for bias in (0.02, -0.02):
        low, high = interval(values + bias, 0.5) or (0, 0)
        ends = sorted((-bias, -3 * bias))
        assert (low, high) == (pytest.approx(0.4 + ends[0]), pytest.approx(0.6 + ends[1]))
    assert p_value(values + 0.25, 0.0) == p_value(values, 0.0) == 1.0  # of a difference, they say how far and not where


def test_an_interval_holds_its_value_and_only_fractions() -> None:
    values = np.linspace(0.4, 0.6, 39)
    assert interval(values + 0.13, 0.5) == (pytest.approx(0.4 - 0.13 * 3), 0.5)
    assert interval(values - 0.48, 0.02) == (0.0, pytest.approx(0.12))
    assert interval(np.ones(50), 1.0) == (1.0, 1.0)


def test_a_p_value_by_hand() -> None:
    # Moved to -1, 0, 1 ... 7: two replicates at 0 or below, one more for the split itself, of nine and one.
    assert p_value(np.arange(9.0), 3.0) == pytest.approx(2 * 3 / 10)
    assert p_value(np.arange(1.0, 10.0), 30.0) == pytest.approx(2 * 1 / 10)
    assert p_value(np.arange(9.0), 30.0) == pytest.approx(2 * 2 / 10)  # the replicate at 0 stays there


@pytest.mark.parametrize("seed", range(8))
def test_one_image_alone_is_no_difference_whichever_it_is(seed: int) -> None:
    # On 37 draws in 100 it is missing, and both agree; whether the others' mean is high or low is chance.
    outcomes = np.zeros(145)
    outcomes[seed] = 1.0
    drawn = bootstrap(lambda w: {"difference": w @ outcomes / 145}, 145, replicates=1000, seed=seed)["difference"]
    low, high = difference_interval(drawn, 1 / 145) or (1, 0)
    assert low == 0 < high
    assert 0.6 < (p_value(drawn, 1 / 145) or 0) < 0.9


def test_a_difference_of_fractions_is_at_most_1() -> None:
    assert difference_interval(np.linspace(-1.0, 0.9, 96) - 0.05, -0.9) == (-1.0, pytest.approx(-0.04, abs=0.1))


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30), st.floats(-1, 1))
def test_two_numbers_swapped_negate_the_interval_and_keep_the_p_value(values: list[float], value: float) -> None:
    draws = np.array(values)
    low, high = difference_interval(draws, value) or (0, 0)
    assert difference_interval(-draws, -value) == (pytest.approx(-high, abs=1e-12), pytest.approx(-low, abs=1e-12))
    assert p_value(-draws, -value) == p_value(draws, value)
    assert 0 < (p_value(draws, value) or 0) <= 1


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30), st.randoms(use_true_random=False))
def test_the_order_of_replicates_says_nothing(values: list[float], random: object) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert interval(np.array(shuffled), 0.5) == pytest.approx(interval(np.array(values), 0.5), abs=1e-12)


def test_a_number_is_not_different_from_itself() -> None:
    assert interval(np.zeros(100), 0.0) == (0.0, 0.0)
    assert p_value(np.zeros(100), 0.0) == 1.0
    assert p_value(np.full(100, 1e-17), 0.0) == 1.0


def test_of_normal_outcomes_nineteen_intervals_in_twenty_hold_the_truth_and_one_test_in_twenty_errs() -> None:
    # 400 pairs of methods on 100 images: the second better by .3, its outcomes correlated with those of the first.
    generator = np.random.default_rng(0)
    one = generator.normal(0, 1, (100, 400))
    two = one + generator.normal(0.3, 1, (100, 400))
    drawn = bootstrap(lambda w: {"difference": w @ (two - one) / 100}, 100, replicates=400, seed=0)["difference"].T
    found = (two - one).mean(axis=0)
    held = [low <= 0.3 <= high for low, high in map(difference_interval, drawn, found)]
    wrong = [p_value(values, value) < 0.05 for values, value in zip(drawn - 0.3, found - 0.3, strict=True)]
    assert 0.91 < np.mean(held) < 0.98
    assert 0.02 < np.mean(wrong) < 0.09
    assert np.mean([p_value(values, value) < 0.05 for values, value in zip(drawn, found, strict=True)]) > 0.7


def test_the_interval_and_the_p_value_say_the_same() -> None:
    draws = np.random.default_rng(0).gamma(2, 0.1, 1000)
    for value in np.linspace(0.001, 0.6, 60):
        low, high = difference_interval(draws, value) or (0, 0)
        if abs(low) > 0.002:  # at the edge itself p counts the split as one replicate more
            assert (low <= 0 <= high) == (p_value(draws, value) >= 0.05)


def spread(values: list[float], deviation: float, count: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and their independent normal replicates."""
    return np.array(values), np.array(values)[:, None] + np.random.default_rng(0).normal(
        0, deviation, (len(values), count)
    )


def test_numbers_within_noise_share_a_rank() -> None:
    # A difference of two has a deviation of .014: .01 is noise, .05 and more is not.
    assert rank_values(*spread([0.50, 0.45, 0.51, 0.20], 0.01)) == [1, 3, 1, 4]
    assert rank_values(*spread([0.50, 0.45, 0.51, 0.20], 1e-6)) == [2, 3, 1, 4]
    assert rank_values(*spread([0.50, 0.45, 0.51, 0.20], 1.0)) == [1, 1, 1, 1]
    assert rank_values(*spread([0.5], 0.01)) == [1]


def test_a_chain_of_neighbours_within_noise_is_set_apart_by_its_ends() -> None:
    # Neighbours differ by 1.4 deviations of their difference, the ends by 2.8: only the last is worse than the first.
    assert rank_values(*spread([0.54, 0.52, 0.50], 0.01)) == [1, 1, 2]


@pytest.mark.parametrize("count", [0, 20, 60])
def test_ranks_are_those_that_every_pairs_p_value_gives(count: int) -> None:
    random = np.random.default_rng(count)
    values = random.uniform(0, 1, 30)
    draws = values[:, None] + random.normal(0, 0.02, (30, count))
    draws[3, :1] = np.nan

    def better(one: int, mine: int) -> bool:
        p = p_value(draws[one] - draws[mine], values[one] - values[mine])
        return values[one] > values[mine] and p is not None and p < 0.05

    assert rank_values(values, draws) == [1 + sum(better(one, mine) for one in range(30)) for mine in range(30)]


def test_ranks_come_from_pairs_that_vary_together() -> None:
    values, draws = spread([0.50, 0.49], 0.0001)
    assert rank_values(values, draws + np.random.default_rng(1).normal(0, 0.5, 2000)) == [1, 2]


def test_the_mean_over_seeds_varies_with_images_and_with_seeds() -> None:
    # Seeds .1, .2, .3 without any noise of images: variance .01 / 3.
    alike = np.repeat([[0.1], [0.2], [0.3]], 20_000, axis=1)
    assert average_over_seeds(alike).mean() == pytest.approx(0.2, abs=0.002)
    assert average_over_seeds(alike).var() == pytest.approx(0.01 / 3, rel=0.05)
    noise = np.random.default_rng(0).normal(0, 1, 50)
    assert average_over_seeds(np.stack([noise] * 4)) == pytest.approx(noise)
    assert average_over_seeds(noise[None]).tolist() == noise.tolist()


def test_as_many_seeds_are_paired() -> None:
    seeds = np.random.default_rng(0).normal(0, 1, (3, 100))
    assert average_over_seeds(seeds + 0.5) - average_over_seeds(seeds) == pytest.approx(0.5)


def test_the_mean_is_over_defined_classes() -> None:
    assert class_mean(np.array([[0.5, np.nan, 1.0]])).tolist() == [0.75]
    assert np.isnan(class_mean(np.array([[np.nan, np.nan]]))).all()
    assert class_mean(np.array([0.25])).tolist() == [0.25]


def test_totals_count_rows_by_class_as_often_as_their_image() -> None:
    # image 0 holds two rows of class 1, image 1 one of class 0; image 0 is drawn three times, image 1 never.
    image, label = np.array([0, 0, 1]), np.array([1, 1, 0])
    assert count_by_class(np.array([[3.0, 0.0]]), image, label, 2).tolist() == [[0.0, 6.0]]
    keep = np.array([True, False, True])
    assert count_by_class(np.array([[3.0, 1.0]]), image, label, 2, keep).tolist() == [[1.0, 3.0]]


def test_a_share_of_nothing_is_undefined() -> None:
    assert ratio(np.array([1.0, 0.0]), np.array([2.0, 0.0])).tolist()[0] == 0.5
    assert np.isnan(ratio(np.array([0.0]), np.array([0.0]))).all()


def test_no_images_give_no_replicates() -> None:
    assert bootstrap(lambda w: {"mean": w.sum(axis=1)}, 0, replicates=5, seed=0) == {}
