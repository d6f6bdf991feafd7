"""Maps decoded into points, boxes and masks: by hand, with class scores and without."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bench.data.ground_truth import GroundTruth, empty_objects
from bench.errors import BadFileError, RequestError
from bench.predictions.map_decoding import decode_boxes, decode_masks, decode_points
from bench.predictions.table import About, Predictions, ResolvedPredictions, resolve

IDS, CLASSES = ("a", "b"), ("cat", "dog", "eel")
TRUTH = GroundTruth(
    "toy", "test", CLASSES, IDS, np.full((2, 2), 4, np.int32), np.ones((2, 3), np.int8), empty_objects()
)
CAT = np.array([[0, 0, 0, 0], [0, 4, 2, 0], [0, 2, 1, 0], [0, 0, 0, 0]], np.float32)
DOG = np.array([[9, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 5]], np.float32)


def maps(*rows: tuple[str, str, np.ndarray], **about: Any) -> Predictions:
    """Maps of images and classes."""
    table = pa.table({"image": [image for image, *_ in rows], "label": [label for _, label, _ in rows]})
    return Predictions("maps", table, About("mine", **about), "mine.npz", (), lambda: (one for *_, one in rows))


def scores(*rows: tuple[str, str, float]) -> ResolvedPredictions:
    columns: dict[str, Any] = dict(zip(("image", "label", "score"), map(list, zip(*rows, strict=True)), strict=True))
    return resolve(Predictions("scores", pa.table(columns), About("mine"), "scores"), TRUTH)


GIVEN = maps(("b", "dog", DOG), ("a", "cat", CAT), ("b", "cat", CAT))


def test_a_box_is_that_of_the_rule_and_scores_what_its_map_has_at_most() -> None:
    found = decode_boxes(GIVEN, TRUTH, rule="largest-component", threshold=0.3)
    assert [tuple(row.values()) for row in found.table.to_pylist()] == [
        ("b", "dog", 9.0, 0, 0, 1, 1),
        ("a", "cat", 4.0, 1, 1, 3, 3),
        ("b", "cat", 4.0, 1, 1, 3, 3),
    ]
    assert "scored by the maxima of the maps" in found.notes[0]
    every = decode_boxes(GIVEN, TRUTH, rule="every-component", threshold=0.3)
    assert len(every.table) == 4
    assert (found.kind, found.about, resolve(found, TRUTH).covered.tolist()) == ("boxes", GIVEN.about, [True, True])


def test_points_are_peaks_and_have_the_scores_of_their_classes() -> None:
    known = scores(("a", "cat", 0.5), ("b", "cat", 0.25), ("b", "dog", 0.75), ("b", "eel", 0.1))
    found = decode_points(GIVEN, TRUTH, known)
    assert [tuple(row.values()) for row in found.table.to_pylist()] == [
        ("b", "dog", 0.75, 0, 0),
        ("a", "cat", 0.5, 1, 1),
        ("b", "cat", 0.25, 1, 1),
    ]
    assert found.notes == ()
    with pytest.raises(RequestError, match="no score of class 'cat' in image 'a'"):
        decode_points(GIVEN, TRUTH, scores(("b", "cat", 0.25), ("b", "dog", 0.75)))


def draw(found: Predictions) -> dict[str, Any]:
    """Masks by image; drawn twice, as an audit does."""
    masks = resolve(found, TRUTH)
    drawn = [
        [(TRUTH.ids[row], mask.tolist()) for row, mask in zip(masks.image, masks.arrays(), strict=True)]
        for _ in range(2)
    ]
    assert drawn[0] == drawn[1]
    return dict(drawn[0])


def test_a_mask_has_the_class_whose_map_is_largest_as_a_share_of_its_maximum() -> None:
    rows = (("a", "dog", DOG), ("a", "cat", CAT), ("b", "cat", CAT))
    found = decode_masks(maps(*rows), TRUTH, rule="own-maximum", threshold=0.3, least_score=0.0)
    cat = [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    both = [[2, 0, 0, 0], [0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 2]]
    assert draw(found) == {"a": both, "b": cat}
    assert "every class that an image has a map of takes part" in found.notes[0]
    common = decode_masks(maps(*rows), TRUTH, rule="common-maximum", threshold=0.5, least_score=0.0)
    assert draw(common)["a"] == [[2, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 2]]


def test_scores_say_which_classes_take_part_in_a_mask() -> None:
    rows = (("a", "dog", DOG), ("a", "cat", CAT), ("b", "cat", CAT))
    known = scores(("a", "cat", 0.2), ("a", "dog", 0.4), ("b", "cat", 0.1))
    options: Any = {"rule": "own-maximum", "threshold": 0.3}
    masks = draw(decode_masks(maps(*rows), TRUTH, known, least_score=0.3, **options))
    assert {one for row in masks["a"] for one in row} == {0, 2}
    assert {one for row in masks["b"] for one in row} == {0, 1}  # the best of the image
    both = draw(decode_masks(maps(*rows), TRUTH, known, least_score=0.2, **options))
    assert {one for row in both["a"] for one in row} == {0, 1, 2}


def test_an_image_without_maps_is_background() -> None:
    found = decode_masks(maps(("a", "cat", CAT), ids=IDS), TRUTH, rule="own-maximum", threshold=0.3, least_score=0.0)
    assert draw(found)["b"] == [[0]]


def test_maps_that_cannot_become_a_mask_are_refused() -> None:
    options: Any = {"rule": "own-maximum", "threshold": 0.3, "least_score": 0.0}
    with pytest.raises(BadFileError, match="the maps of an image must follow one another"):
        decode_masks(maps(("a", "dog", DOG), ("b", "cat", CAT), ("a", "cat", CAT)), TRUTH, **options)
    with pytest.raises(BadFileError, match="the maps of image 'a' differ in shape"):
        draw(decode_masks(maps(("a", "dog", DOG), ("a", "cat", CAT[:2])), TRUTH, **options))


def test_an_image_of_unknown_size_is_refused() -> None:
    unsized = replace(TRUTH, size=np.array([[4, 4], [0, 0]], np.int32))
    with pytest.raises(RequestError, match="at the size of their image, which toy lacks for 'b'"):
        decode_points(GIVEN, unsized)
