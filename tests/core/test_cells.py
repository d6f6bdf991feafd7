"""Cells of maps: interpolation between their true centres, against a loop over pixels."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bench.core.cells import Cells, find_centres, spread_evenly

PLACES = st.builds(Cells, st.floats(-0.2, 0.6), st.floats(0.02, 0.5))


def value_at(row: list[float], cells: Cells, point: float) -> float:
    """The value at a point, between the two cells around it; the first and the last hold beyond the ends."""
    centres = [cells.origin + cell * cells.stride for cell in range(len(row))]
    for left, right, low, high in zip(centres[:-1], centres[1:], row[:-1], row[1:], strict=True):
        if left <= point <= right:
            return low + (high - low) * (point - left) / cells.stride
    return row[0] if point <= centres[0] else row[-1]


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=9), PLACES, st.integers(1, 40))
def test_weights_interpolate_as_a_loop_does(row: list[float], cells: Cells, side: int) -> None:
    points = find_centres(side)
    found = cells.weigh(len(row), points) @ np.array(row)
    np.testing.assert_allclose(found, [value_at(row, cells, point) for point in points], atol=1e-5)


@given(PLACES, st.integers(2, 12), st.floats(-3, 3), st.floats(-3, 3))
def test_a_ramp_stays_a_ramp_between_the_outer_cells(cells: Cells, count: int, slope: float, at_0: float) -> None:
    centres = find_centres(count, cells)
    points = np.linspace(centres[0], centres[-1], 50)
    ramp = at_0 + slope * points
    np.testing.assert_allclose(cells.weigh(count, points) @ (at_0 + slope * centres), ramp, atol=1e-5)


@given(PLACES, st.integers(1, 12))
def test_cells_have_their_own_value_at_their_centre_and_are_nearest_to_it(cells: Cells, count: int) -> None:
    centres = find_centres(count, cells)
    np.testing.assert_allclose(cells.weigh(count, centres), np.eye(count), atol=1e-6)
    np.testing.assert_array_equal(cells.nearest(count, centres), np.arange(count))


@given(PLACES, st.integers(1, 12))
def test_mirrored_cells_lie_as_far_from_the_other_side_in_reverse(cells: Cells, count: int) -> None:
    there = find_centres(count, cells.mirror(count))
    np.testing.assert_allclose(there, (1 - find_centres(count, cells))[::-1], atol=1e-9)
    assert cells.mirror(count).mirror(count).is_close(cells)


def test_even_cells_are_their_own_mirror_image() -> None:
    assert spread_evenly(7).mirror(7).is_close(spread_evenly(7))
    assert not Cells(0.1, 1 / 7).is_close(spread_evenly(7))
