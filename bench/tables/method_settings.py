"""The settings of methods' variants, from a file, since importing the methods themselves loads torch."""

from __future__ import annotations

from functools import cache
from typing import Any

from bench import registry
from bench.core.toml import read_toml
from bench.paper_recipe import FILE as RECIPES

FILE = RECIPES.with_name("variants.toml")


def write_value(value: Any) -> str:
    """Write a value so that equal ones are written alike, as it could be given on the command line.

    >>> write_value(0.10), write_value("1.0"), write_value((480, 576)), write_value(False), write_value(None)
    ('0.1', '1', '480+576', 'false', 'none')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "+".join(map(write_value, value))
    try:
        return f"{float(value):g}"
    except (TypeError, ValueError):
        return "none" if value is None else str(value)


def read_variant(method: str, variant: str | None) -> dict[str, str]:
    """Read the training settings of a method's variant (None: its default one); empty for one not in the file."""
    name = variant or registry.default_variant(method)
    return dict(_read().get(method, {}).get(name, {}))


def list_prediction_settings() -> frozenset[str]:
    """List the settings of the tables and recipes that do not affect training."""
    return frozenset(_read()["all"]["prediction"])


@cache
def _read() -> dict[str, Any]:
    return read_toml(FILE)
