"""Colours of series: legible on the page, and told apart by the colour-blind, in light and dark."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pytest

from bench.core.boxes import FloatArray
from bench.site.material import HERE

SERIES = ("--c0", "--c1", "--c2", "--c3", "--c4", "--c5")

SEEN = {
    "all colours": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "no red": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "no green": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "no blue": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
"""Linear RGB as it is seen (Machado et al. 2009, full deficiency)."""

TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = TO_XYZ.sum(axis=1)


def read_colours(scheme: str) -> dict[str, FloatArray]:
    """Linear RGB of each variable of the style sheet."""
    found = re.findall(r"(--\w+): light-dark\((#\w+), (#\w+)\)", (HERE / "assets" / "site.css").read_text())
    return {name: to_linear(light if scheme == "light" else dark) for name, light, dark in found}


def to_linear(colour: str) -> FloatArray:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = np.array([int(digits[at : at + 2], 16) for at in (0, 2, 4)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def to_lab(linear: FloatArray) -> FloatArray:
    """CIELAB, in which a distance of 2.3 is just seen."""
    x, y, z = np.cbrt(np.clip(TO_XYZ @ np.clip(linear, 0, 1) / WHITE, 0.008856, None))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one: FloatArray, other: FloatArray) -> float:
    """As WCAG 2 has it."""
    low, high = sorted([float(TO_XYZ[1] @ one), float(TO_XYZ[1] @ other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("seen", SEEN)
def test_series_and_kinds_of_errors_are_told_apart(scheme: str, seen: str) -> None:
    colours, seeing = read_colours(scheme), np.array(SEEN[seen])
    for one, other in combinations((*SERIES, "--soft"), 2):
        distance = np.linalg.norm(to_lab(seeing @ colours[one]) - to_lab(seeing @ colours[other]))
        assert distance > 18, (one, other)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_names_in_the_colours_of_series_are_legible(scheme: str) -> None:
    colours = read_colours(scheme)
    for name in (*SERIES, "--soft", "--ink", "--link"):
        assert contrast(colours[name], colours["--page"]) > 4.5, name
