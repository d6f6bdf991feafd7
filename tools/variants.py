"""Make `methods/recipes/variants.toml`, which `plan` reads instead of the methods: `python -m tools.variants`."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from bench import registry
from bench.core.files import write_text
from bench.paper_recipe import read_recipes
from bench.tables.method_settings import FILE, write_value
from bench.tables.reported import load_table, reported_tables

HEAD = """\
# What the papers' tables set, and how far it trains: read by `bench plan`, which imports no method.
# Made of the methods by python -m tools.variants.
"""


def make_variants() -> str:
    """Make the file: the tables' settings that affect only predictions, and the training settings of their variants."""
    named = _list_named()
    lines = [HEAD, "[all]", f"prediction = {_list_prediction_settings({*named})!r}".replace("'", '"')]
    for method, variants in sorted(named.items()):
        cls = registry.method(method)
        for variant in sorted(variants):
            set_by_it = cls.variants[variant]
            trained = {key: set_by_it[key] for key in sorted(set_by_it) if _trains(cls, key)}
            lines += ["", f'[{method}."{variant}"]', *(f'{key} = "{write_value(trained[key])}"' for key in trained)]
    return "\n".join(lines) + "\n"


def _list_named() -> dict[str, set[str]]:
    """List the tables' methods that are implemented here, each with the variants named there and its default one."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for name in reported_tables():
        for number in load_table(name).numbers():
            method, _, variant = str(number.method).partition(":")
            if method in registry.methods():
                found[method] |= {one for one in (variant, registry.default_variant(method)) if one}
    return found


def _list_prediction_settings(methods: set[str]) -> list[str]:
    """List the settings in tables and recipes of these methods that do not affect training."""
    printed = {key for name in reported_tables() for number in load_table(name).numbers() for key in number.setting}
    recipes = {key for method in methods & {*read_recipes()} for key in read_recipes()[method].settings}
    classes = [registry.method(method) for method in methods]
    having = {key: [cls for cls in classes if key in cls.Config.model_fields] for key in printed | recipes}
    return sorted(key for key, some in having.items() if some and not any(_trains(cls, key) for cls in some))


def _trains(cls: Any, key: str) -> bool:
    return bool(cls.Config.model_fields[key].json_schema_extra["stage"] == "training")


if __name__ == "__main__":
    write_text(FILE, make_variants())
