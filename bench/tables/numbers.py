"""Fractions as people read them: per cent, one digit."""

from __future__ import annotations


def percent(value: float | None, digits: int = 1) -> str:
    """Format a fraction as per cent; empty if undefined.

    >>> percent(0.6963), percent(0.6963, 2)
    ('69.6', '69.63')
    """
    return "" if value is None else f"{100 * value:.{digits}f}"


def format_difference(value: float | None, digits: int = 1) -> str:
    """Format a difference as per cent with its sign; empty if undefined.

    >>> format_difference(0.012), format_difference(-0.5), format_difference(0.0), format_difference(-0.0001)
    ('+1.2', '-50.0', '0.0', '0.0')
    """
    text = percent(value, digits)
    return "" if value is None else text.lstrip("-") if float(text) == 0 else f"{float(text):+.{digits}f}"


def bounds(interval: tuple[float, float] | None) -> str:
    """Format an interval as per cent; empty if there is none.

    >>> bounds((0.25, 0.75))
    '[25.0, 75.0]'
    """
    return "" if interval is None else f"[{percent(interval[0])}, {percent(interval[1])}]"


def with_interval(value: float | None, interval: tuple[float, float] | None) -> str:
    """Format a fraction with its interval.

    >>> with_interval(0.5, (0.25, 0.75))
    '50.0 [25.0, 75.0]'
    """
    return f"{percent(value)} {bounds(interval)}".strip()


def spread(deviation: float, count: int) -> str:
    """Format the sample standard deviation over seeds with their number.

    >>> spread(0.01, 3)
    '± 1.0 (3)'
    """
    return f"± {percent(deviation)} ({count})"
