"""Reproduced, within noise, off: from tolerance and interval in full precision."""

from __future__ import annotations

import pytest

from bench.tables.verdict import SIGNS, Verdict, verdict


@pytest.mark.parametrize(
    ("measured", "reported", "interval", "is_"),
    [
        (0.473, 0.473, None, "reproduced"),
        (0.478, 0.473, None, "reproduced"),  # half a point, which floats make a little more
        (0.468, 0.473, (0.467, 0.469), "reproduced"),
        (0.4781, 0.473, None, "off"),  # 47.8 and 47.3 as people read them
        (0.4781, 0.473, (0.473, 0.484), "within noise"),
        (0.4781, 0.473, (0.4731, 0.484), "off"),
        (0.46, 0.473, (0.44, 0.473), "within noise"),
        (0.60, 0.473, (0.59, 0.61), "off"),
    ],
)
def test_a_verdict(measured: float, reported: float, interval: tuple[float, float] | None, is_: Verdict) -> None:
    assert verdict(measured, reported, interval) == is_


@pytest.mark.parametrize(("tolerance", "is_"), [(0.001, "off"), (0.002, "reproduced"), (0.1, "reproduced")])
def test_the_tolerance_is_what_is_asked(tolerance: float, is_: Verdict) -> None:
    assert verdict(0.475, 0.473, None, tolerance=tolerance) == is_


def test_every_verdict_has_a_sign_of_its_own() -> None:
    assert len(set(SIGNS.values())) == 3
