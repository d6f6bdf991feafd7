"""Whether a printed number was reproduced."""

from __future__ import annotations

from typing import Literal

from bench.core.bootstrap import ROUNDING

Verdict = Literal["reproduced", "within noise", "off"]

TOLERANCE = 0.005
"""Fractions at most this far apart count as equal: half a point."""

SIGNS: dict[Verdict, str] = {"reproduced": "=", "within noise": "~", "off": "!"}
"""How a table shows them."""


def verdict(
    measured: float, reported: float, interval: tuple[float, float] | None, *, tolerance: float = TOLERANCE
) -> Verdict:
    """Whether `measured` is within `tolerance` of `reported`, or `reported` within its interval, or neither.

    Fractions in full precision. Without an interval the noise is unknown.

    >>> verdict(0.470, 0.473, None), verdict(0.46, 0.473, (0.44, 0.48)), verdict(0.46, 0.473, (0.45, 0.47))
    ('reproduced', 'within noise', 'off')
    """
    if abs(measured - reported) <= tolerance + ROUNDING:
        return "reproduced"
    if interval is not None and interval[0] - ROUNDING <= reported <= interval[1] + ROUNDING:
        return "within noise"
    return "off"
