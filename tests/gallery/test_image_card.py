"""What a picture says of an image and class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bench.gallery.image_card import Run, evaluate_images, explain_goodness, goodness


def make_run(**columns: Any) -> Run:
    return Run(truth=None, found={}, outcomes=pa.table(columns), masks={}, maps={})  # type: ignore[arg-type]


def test_of_detections_the_best_tells_whether_it_hit() -> None:
    run = make_run(
        image=[0, 0, 1, 1, 2],
        label=[0, 0, 0, 0, 1],
        score=[0.9, 0.2, 0.1, 0.8, np.nan],
        hit=[False, True, False, True, False],
        missed=[False, False, False, False, True],
    )
    assert [run.is_hit(*pair) for pair in ((0, 0), (1, 0), (2, 1), (2, 0))] == [False, True, False, None]


@pytest.mark.parametrize("hits", [[True, False], [False, True]])
def test_of_several_boxes_of_a_class_one_that_hits_is_enough(hits: list[bool]) -> None:
    assert make_run(image=[0, 0], label=[3, 3], hit=hits).is_hit(0, 3)


def test_of_detections_each_object_counts_with_the_precision_that_finds_it() -> None:
    """An image with two found of three cats, between false ones, and a dog of another; the rows stand by class."""
    outcomes = pa.table(
        {
            "image": [0, 0, 1, 0, 0, 1, 0, 1],
            "label": [0, 0, 0, 0, 1, 1, 0, 1],
            "score": [0.9, 0.8, 0.7, 0.2, 0.9, 0.1, np.nan, np.nan],
            "hit": [True, False, False, True, False, True, False, False],
            "missed": [False, False, False, False, False, False, True, True],
        }
    )
    np.testing.assert_allclose(goodness(outcomes), [1, np.nan, np.nan, 2 / 3, np.nan, 1, 0, 0])
    np.testing.assert_allclose(evaluate_images(outcomes, 3), [(1 + 2 / 3) / 3, 1 / 2, np.nan])
    assert "the one that finds it" in explain_goodness(outcomes.column_names)


@pytest.mark.parametrize("score", [0.5, np.nan])
def test_of_equal_scores_none_is_better(score: float) -> None:
    columns = {"image": [0, 0, 0, 1, 1, 1], "label": [0, 1, 2] * 2, "score": [score] * 6, "ranked": [True] * 6}
    outcomes = pa.table({**columns, "positive": [True, False, False, False, False, True]})
    np.testing.assert_allclose(goodness(outcomes), [1 / 3, np.nan, np.nan, np.nan, np.nan, 1 / 3])


def test_of_detections_as_in_coco_ignored_ones_do_not_count() -> None:
    """Bit 0: IoU .5, all sizes. Of two cats one is found, after a false and an ignored one; a dog is missed."""
    outcomes = pa.table(
        {
            "image": [0, 0, 0, 0, 0, 0],
            "label": [0, 0, 0, 0, 0, 1],
            "score": [0.9, 0.8, 0.7, np.nan, np.nan, np.nan],
            "hit_all": [2, 0, 3, 0, 0, 0],
            "ignored_all": [0, 1, 0, 1023, 1023, 1023],
            "wanted": [0, 0, 0, 1, 1, 3],
        }
    )
    np.testing.assert_allclose(goodness(outcomes), [np.nan, np.nan, np.nan, 1 / 4, 1 / 4, 0])


def test_of_classification_an_image_counts_with_the_average_precision_of_its_labels() -> None:
    from sklearn.metrics import label_ranking_average_precision_score

    random = np.random.default_rng(0)
    score, positive = random.random((20, 6)), random.random((20, 6)) < 0.3
    label, image = (place.ravel() for place in np.indices((6, 20)))  # by class, as outcomes are
    columns = {"score": score.T.ravel(), "positive": positive.T.ravel(), "ranked": np.ones(120, bool)}
    values = evaluate_images(pa.table({"image": image, "label": label, **columns}), 20)
    expected = [
        label_ranking_average_precision_score(positive[[row]], score[[row]]) if positive[row].any() else np.nan
        for row in range(20)
    ]
    np.testing.assert_allclose(values, expected)


def test_a_class_without_a_score_is_last_or_counts_for_nothing() -> None:
    columns = {"image": [0, 0], "label": [0, 1], "score": [0.5, np.nan], "positive": [False, True]}
    for ranked, value in ((True, 1 / 2), (False, 0)):
        np.testing.assert_allclose(goodness(pa.table({**columns, "ranked": [True, ranked]})), [np.nan, value])
