"""COCO's masks: run lengths by hand and by pycocotools, and refusals of everything that is no mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask

from bench.data.rle import are_rles, check_rle, decode_runs, to_mask, to_rle


def test_a_rectangle_covers_its_pixels() -> None:
    found = to_mask(to_rle([[1, 1, 4, 1, 4, 3, 1, 3]], 6, 5), 6, 5)
    expected = np.zeros((5, 6), np.bool_)
    expected[1:3, 1:4] = True
    assert (found == expected).all()


def test_several_polygons_are_one_mask() -> None:
    both = to_mask(to_rle([[0, 0, 2, 0, 2, 2, 0, 2], [4, 3, 6, 3, 6, 5, 4, 5]], 6, 5), 6, 5)
    assert both.sum() == 8


def test_run_lengths_go_down_the_columns_and_start_with_background() -> None:
    found = to_mask(to_rle({"size": [2, 3], "counts": [1, 2, 3]}, 3, 2), 3, 2)
    assert found.tolist() == [[False, True, False], [True, False, False]]


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=60), min_size=1, max_size=1), st.integers(1, 5))
def test_compressed_text_is_read_as_pycocotools_wrote_it(pixels: list[list[bool]], columns: int) -> None:
    picture = np.asfortranarray(np.repeat(np.array(pixels[0], np.uint8)[:, None], columns, axis=1))
    height, width = picture.shape
    counts = mask.encode(picture)["counts"]
    flat = picture.ravel(order="F")
    ends = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *ends, len(flat)]).tolist()
    assert decode_runs(counts) == ([0, *runs] if flat[0] else runs)
    assert (to_mask(counts, width, height) == picture).all()
    assert check_rle(counts.decode(), width, height) == counts
    assert to_rle({"size": [height, width], "counts": runs if not flat[0] else [0, *runs]}, width, height) == counts


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        [],
        [[]],
        [[1, 1, 2, 2]],
        [[1, 1, 2, 2, 3]],
        [[1, 1, 2, 2, 3, "3"]],
        [[1, 1, 2, 2, 3, float("nan")]],
        [[1, 1, 2, 2, 3, 1e12]],
        [[1, 1, 2, 2, 3, True]],
        ["111222"],
        {"counts": [6]},
        {"size": [3, 2], "counts": [6]},
        {"size": [2, 3], "counts": [5]},
        {"size": [2, 3], "counts": [-1, 7]},
        {"size": [2, 3], "counts": [6.0]},
        {"size": [2, 3], "counts": {}},
        {"size": [2, 3], "counts": "~"},
        {"size": [2, 3], "counts": "é"},
        {"size": [2, 3], "counts": "o" * 50},
        {"size": [2, 3], "counts": "o"},
        {"size": [2, 3], "counts": "7"},
    ],
)
def test_what_is_no_mask_is_refused(segmentation: Any) -> None:
    with pytest.raises(ValueError):
        to_rle(segmentation, 3, 2)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=12), st.integers(0, 60)), max_size=12))
def test_many_are_checked_as_each(texts: list[tuple[bytes, int]]) -> None:
    whole = [(b"".join(bytes([48 + byte % 80]) for byte in text), pixels) for text, pixels in texts]

    def is_valid(text: bytes, pixels: int) -> bool:
        try:
            return check_rle(text, pixels, 1) == text
        except ValueError:
            return False

    expected = [is_valid(*one) for one in whole]
    assert are_rles([one for one, _ in whole], np.array([n for _, n in whole], np.int64)).tolist() == expected
