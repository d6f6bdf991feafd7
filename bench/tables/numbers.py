"""Fractions as people read them: per cent, one digit."""

from __future__ import annotations


def percent(value: float | None) -> str:
    """A fraction as per cent; nothing where it is undefined.

    >>> percent(0.6963)
    '69.6'
    """
    return "" if value is None else f"{100 * value:.1f}"


def with_interval(value: float | None, interval: tuple[float, float] | None) -> str:
    """A fraction with its interval.

    >>> with_interval(0.5, (0.25, 0.75))
    '50.0 [25.0, 75.0]'
    """
    if value is None or interval is None:
        return percent(value)
    return f"{percent(value)} [{percent(interval[0])}, {percent(interval[1])}]"


def with_spread(mean: float, deviation: float, count: int) -> str:
    """The mean over seeds, its sample standard deviation, and how many there were.

    >>> with_spread(0.5, 0.01, 3)
    '50.0 ± 1.0 (3)'
    """
    return f"{percent(mean)} ± {percent(deviation)} ({count})"
