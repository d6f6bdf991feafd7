"""Contours at many levels: as OpenCV's one by one, and without small ones no hit changes."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import registry
from bench.core.boxes import iou
from protocols.scoring import maxbox
from protocols.scoring.level_contours import remove_small, trace_levels

SIDE = maxbox.SIDE


def blurred(seed: int, sigma: float, share: float) -> np.ndarray:
    """A map of noise: `share` of its pixels are set, then blurred."""
    pixels = (np.random.default_rng(seed).random((SIDE, SIDE)) < share).astype(np.float64)
    return maxbox.scale_map(cv2.GaussianBlur(pixels, (0, 0), sigma) if sigma else pixels + pixels[::-1, ::-1] / 2)


def plain_hits(grey: np.ndarray, level: int, wanted: np.ndarray, ends: str) -> list[bool]:
    contours, _ = cv2.findContours((grey > level).astype(np.uint8), cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    boxes = np.array([[x, y, x + w, y + h] for x, y, w, h in map(cv2.boundingRect, contours)] or [[0] * 4], float)
    if ends == "wsolevaluation":
        boxes[:, 2:] = np.minimum(boxes[:, 2:], SIDE - 1) + 1
    areas = [cv2.contourArea(one) for one in contours] or [0.0]
    best = iou(boxes, wanted).max(axis=1)
    return [best[areas.index(max(areas))] >= 0.5, *(best.max() >= least for least in (0.3, 0.5, 0.7))]


def conventions(ends: Literal["tight", "wsolevaluation"]) -> Any:
    record = registry.protocol("cub-maxbox")
    return registry.bind(record).conventions.model_copy(update={"box_ends": ends})


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 99),
    sigma=st.sampled_from([0.0, 0.8, 2.0, 5.0]),
    share=st.sampled_from([0.001, 0.02, 0.3, 0.6]),
    corner=st.tuples(st.integers(0, 180), st.integers(0, 180)),
    side=st.tuples(st.integers(1, 120), st.integers(1, 120)),
    ends=st.sampled_from(["tight", "wsolevaluation"]),
    is_aimed=st.booleans(),
)
def test_hits_are_those_of_all_contours(
    seed: int, sigma: float, share: float, corner: Any, side: Any, ends: Any, is_aimed: bool
) -> None:
    found = blurred(seed, sigma, share)
    grey = (found * 255).astype(np.uint8)
    wanted = np.array([[*corner, *np.minimum(np.add(corner, side), SIDE)]], dtype=np.float64)
    contours, _ = cv2.findContours((grey > seed).astype(np.uint8), cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    if is_aimed and contours:
        x, y, width, height = cv2.boundingRect(max(contours, key=cv2.contourArea))
        wanted[0] = x, y, x + width, y + height
    hits = maxbox._hits(found, wanted, conventions(ends))
    for at in range(0, 1000, 37):
        assert hits[:, at].tolist() == plain_hits(grey, int(maxbox.TAUS[at] * grey.max()), wanted, ends)


def test_a_small_component_that_is_the_largest_hides_a_thin_one() -> None:
    """The thin line of the object's box has no area, the speck elsewhere has some: the largest contour misses."""
    found = np.zeros((SIDE, SIDE))
    found[50, 50:150] = found[50:150, 50] = 1.0
    found[200:206, 200:206] = 1.0
    wanted = np.array([[50.0, 50.0, 150.0, 150.0]])
    hits = maxbox._hits(found, wanted, conventions("tight"))
    assert hits[:, 500].tolist() == plain_hits((found * 255).astype(np.uint8), 100, wanted, "tight")
    assert hits[:, 500].tolist() == [False, True, True, True]


@pytest.mark.parametrize("size", [1, 3, 5])
def test_specks_and_holes_go_and_the_large_component_stays(size: int) -> None:
    grey = np.zeros((SIDE, SIDE), dtype=np.uint8)
    grey[20:180, 20:180] = 200
    grey[0:size, 0:size] = 90  # at the border
    grey[60 : 60 + size, 60 : 60 + size] = 10  # a hole
    specks = np.random.default_rng(0).random(grey.shape) < 0.03
    grey[specks] = 255
    kept, removed = remove_small(grey, np.array([[20.0, 20.0, 180.0, 180.0]]), 0.3)
    assert removed > 0
    assert (kept[40:50, 40:50] == 200).all()
    assert kept[:size, :size].max() == 0
    assert kept[60 : 60 + size, 60 : 60 + size].min() == 200


def test_nothing_is_removed_beside_a_small_object() -> None:
    grey = (blurred(1, 0.8, 0.3) * 255).astype(np.uint8)
    kept, removed = remove_small(grey, np.array([[20.0, 20.0, 26.0, 26.0]]), 0.3)
    assert removed == -1
    assert np.array_equal(kept, grey)


def test_boxes_and_areas_are_opencvs() -> None:
    grey = (blurred(2, 2.0, 0.1) * 255).astype(np.uint8)
    contours = trace_levels(grey, [90, 254, 255])
    found, _ = cv2.findContours((grey > 90).astype(np.uint8), cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    assert contours.area[: len(found)].tolist() == [cv2.contourArea(one) for one in found]
    boxes = [(x, y, x + w, y + h) for x, y, w, h in map(cv2.boundingRect, found)]
    assert [tuple(box) for box in contours.box[: len(found)].tolist()] == boxes
    assert contours.box[-1].tolist() == [0, 0, 0, 0]
    assert contours.first[0] == 0
    assert contours.first[-1] == len(contours.box) - 1
