"""The box convention: conversions, overlaps against COCO's own code and VOC's definition, unions against pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from bench.core.boxes import area, find_best_overlaps, from_coco, from_voc, iou, to_coco, to_voc, union_area

WHOLE = arrays(np.float64, st.tuples(st.integers(0, 6), st.just(4)), elements=st.integers(0, 12).map(float))
PROPER = WHOLE.map(lambda b: np.concatenate([b[:, :2], b[:, :2] + b[:, 2:] % 7 + 1], axis=1))


def voc_iou(a: list[float], b: list[float]) -> float:
    """IoU as VOC's devkit writes it, on 1-based inclusive corners."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    union = (a[2] - a[0] + 1) * (a[3] - a[1] + 1) + (b[2] - b[0] + 1) * (b[3] - b[1] + 1) - width * height
    return width * height / union


@given(PROPER, PROPER)
def test_iou_equals_vocs_on_inclusive_corners(a: np.ndarray, b: np.ndarray) -> None:
    expected = [[voc_iou(one, two) for two in to_voc(b).tolist()] for one in to_voc(a).tolist()]
    np.testing.assert_allclose(iou(a, b), np.reshape(expected, (len(a), len(b))), rtol=1e-14)


@given(PROPER, PROPER)
def test_iou_equals_cocos_on_widths_and_heights(a: np.ndarray, b: np.ndarray) -> None:
    expected = coco.iou(to_coco(a), to_coco(b), [0] * len(b)) if len(a) and len(b) else np.zeros((len(a), len(b)))
    np.testing.assert_allclose(iou(a, b), expected, rtol=1e-14)


@given(WHOLE)
def test_every_conversion_comes_back(boxes: np.ndarray) -> None:
    np.testing.assert_array_equal(from_voc(to_voc(boxes)), boxes)
    np.testing.assert_array_equal(from_coco(to_coco(boxes)), boxes)


@given(arrays(np.int64, (5, 4), elements=st.integers(1, 10**7)), st.integers(0, 4))
def test_widths_come_back_as_the_decimals_that_a_file_had(digits: np.ndarray, places: int) -> None:
    written = digits / 10.0**places  # 33.3 + 100.0 - 33.3 is not 100.0, and half of it no half
    np.testing.assert_array_equal(to_coco(from_coco(written)), written)


@given(arrays(np.float64, (3, 4), elements=st.floats(-1e9, 1e9)))
def test_a_corner_that_is_no_decimal_comes_back_as_it_was_or_as_near_as_subtraction_gets(boxes: np.ndarray) -> None:
    plain = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    found, expected = (np.abs(from_coco(one) - boxes) for one in (to_coco(boxes), plain))
    assert (found <= expected).all()


def test_one_inclusive_pixel_has_area_one() -> None:
    assert area(from_voc([[7, 9, 7, 9]])).tolist() == [1.0]


def test_inverted_boxes_have_no_area_and_no_overlap() -> None:
    assert area([[5, 5, 1, 1]]).tolist() == [0.0]
    assert iou([[5, 5, 1, 1]], [[0, 0, 9, 9]]).tolist() == [[0.0]]


def test_corners_as_large_as_numbers_go_overlap_nothing() -> None:
    huge = [[-1e308, -1e308, 1e308, 1e308]]
    assert iou(huge, [[0, 0, 9, 9]]).tolist() == [[0.0]]
    assert iou(huge, huge).tolist() == [[0.0]]


@given(PROPER)
def test_the_union_is_the_number_of_covered_pixels(boxes: np.ndarray) -> None:
    pixels = np.zeros((24, 24), dtype=bool)
    for x1, y1, x2, y2 in boxes.astype(int):
        pixels[y1:y2, x1:x2] = True
    assert union_area(boxes) == pixels.sum()


@pytest.mark.parametrize("plus_one", [True, False])
@settings(deadline=None)
@given(PROPER, PROPER, st.data())
def test_the_best_overlap_is_the_first_largest_among_the_same_key(
    plus_one: bool, boxes: np.ndarray, objects: np.ndarray, data: st.DataObject
) -> None:
    key, object_key = (data.draw(arrays(np.int64, len(rows), elements=st.integers(0, 2))) for rows in (boxes, objects))
    best, which = find_best_overlaps(boxes, key, objects, object_key, plus_one=plus_one)
    trim = [0, 0, 0, 0] if plus_one else [0, 0, 1, 1]
    table = np.where(key[:, None] == object_key, iou(boxes - trim, objects - trim), -1.0)
    for row, overlaps in enumerate(table):
        same = len(objects) > 0 and overlaps.max() >= 0
        assert (best[row], which[row]) == ((overlaps.max(), overlaps.argmax()) if same else (0.0, -1))


def test_overlaps_do_not_depend_on_how_the_work_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    boxes, objects = (np.sort(generator.integers(0, 20, (n, 2, 2)), axis=1).reshape(n, 4) * 1.0 for n in (200, 30))
    keys = generator.integers(0, 5, 200), generator.integers(0, 5, 30)
    whole = find_best_overlaps(boxes, keys[0], objects, keys[1])
    monkeypatch.setattr("bench.core.boxes._ROWS", 7)
    cut = find_best_overlaps(boxes, keys[0], objects, keys[1])
    assert all((one == two).all() for one, two in zip(whole, cut, strict=True))
