"""The recipes `paper`: how the papers train each method, every value with its source, from one TOML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from bench.core.toml import read_toml
from bench.errors import BadFileError, RequestError

FILE = Path(__file__).resolve().parent.parent / "methods" / "recipes" / "paper.toml"


@dataclass(frozen=True)
class SourcedValue:
    """A value and its source. is_open: whether the papers leave it open, so that `source` is another's choice."""

    value: Any
    source: str
    is_open: bool


Settings = dict[str, SourcedValue]


@dataclass(frozen=True)
class PaperRecipe:
    """The recipe of a method. on: settings that differ on a dataset. notes: what settings cannot express."""

    paper: str
    settings: Settings
    on: Mapping[str, Settings] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def get_settings(self, dataset: str) -> Settings:
        """Return its settings on a dataset."""
        return {**self.settings, **self.on.get(dataset, {})}


@cache
def read_recipes(path: Path = FILE) -> dict[str, PaperRecipe]:
    """Read the recipe of every method that has one. Raises BadFileError for a value without a source."""
    raw = _read(path)
    shared = {name: _read_settings(table, path, f"shared.{name}") for name, table in raw["shared"].items()}
    return {
        name: PaperRecipe(
            paper=table["paper"],
            settings={
                key: setting
                for part in (
                    *(shared[one] for one in table["shared"]),
                    _read_settings(table.get("settings", {}), path, name),
                )
                for key, setting in part.items()
            },
            on={
                dataset: _read_settings(one, path, f"{name}.on.{dataset}")
                for dataset, one in table.get("on", {}).items()
            },
            notes=tuple(table.get("notes", ())),
        )
        for name, table in raw.items()
        if name not in ("without", "shared")
    }


def read_reasons(path: Path = FILE) -> dict[str, str]:
    """Read the reasons why some methods have no recipe."""
    return dict(_read(path)["without"])


def find_recipe(method: str) -> PaperRecipe:
    """Return the recipe of a method. Raises RequestError, with the reason, for one without."""
    recipes = read_recipes()
    if method not in recipes:
        reason = read_reasons().get(method, f"{FILE.name} has none of it")
        raise RequestError(f"There is no recipe paper for {method}: {reason}. Leave out --recipe.")
    return recipes[method]


@cache
def _read(path: Path) -> dict[str, Any]:
    return read_toml(path)


def _read_settings(table: Mapping[str, Any], path: Path, where: str) -> Settings:
    """Read settings, each a table of `value`, and `source` or `open`."""
    for key, entry in table.items():
        if {*entry} not in ({"value", "source"}, {"value", "open"}):
            raise BadFileError(
                path, "expected { value = ..., source = ... } or open in place of source", row=f"{where}.{key}"
            )
    return {
        key: SourcedValue(_freeze(entry["value"]), entry.get("source") or entry["open"], "open" in entry)
        for key, entry in table.items()
    }


def _freeze(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
