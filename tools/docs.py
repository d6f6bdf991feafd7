"""The parts of `docs/` made of protocols, recipes, tracks and published results: `python -m tools.docs` renews them.

A page marks such a part by `<!-- made: WHAT -->` and `<!-- end -->`; what is between them is made here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, get_args

from pydantic.fields import FieldInfo

from bench import registry
from bench.cli.output import format_value
from bench.core.files import write_text
from bench.paper_recipe import PaperRecipe, read_reasons, read_recipes
from bench.predictions.table import FOLDERS, KINDS
from bench.records.collection import StoredResult
from bench.records.result import list_records, read_result
from bench.scoring.protocol import BoundProtocol, read_record
from bench.tables.render import FORMATS
from bench.tracks.leaderboards import make_leaderboards
from bench.tracks.track import read_track

FOLDER = registry.ROOT / "docs"
MEASURED = registry.ROOT / "results" / "measured"

_PART = re.compile(r"(<!-- made: ([\w -]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def rebuild(page: str) -> str:
    """Rebuild every generated part of a page."""
    bound = [registry.bind(read_record(Path(one.origin))) for one in registry.protocols().values()]
    return _PART.sub(lambda part: f"{part[1]}{_build_part(part[2], bound)}\n{part[3]}", page)


def _build_part(what: str, bound: list[BoundProtocol]) -> str:
    if what == "protocols":
        head = ("protocol", "learns on, is evaluated on", "takes", "metrics, primary first", "seen in")
        return _table(head, map(_protocol, bound))
    if what == "recipes":
        return "\n\n".join(_recipe(name, recipe) for name, recipe in sorted(read_recipes().items()))
    if what == "methods without a recipe":
        return _table(("method", "why"), ((f"`{name}`", reason) for name, reason in sorted(read_reasons().items())))
    if what.startswith("track "):
        return _leaderboard(*what.split()[1:])
    if what.startswith("settings of "):
        return _table(("method", "settings", "how they were chosen"), _list_entries(what.split()[-1]))
    if what == "kinds":
        return _table(("kind", "columns, or what an array is of", "taken by"), _kinds(bound))
    family = [one for one in bound if f"switches {one.record.family}" == what]
    rows = [
        row for name, field in family[0].family.Conventions.model_fields.items() for row in _switch(name, field, family)
    ]
    return _table(("switch", "value", "of", "source"), rows) if rows else "There is no switch."


def _protocol(bound: BoundProtocol) -> Iterator[str]:
    record = bound.record
    yield f"`{record.name}`"
    yield f"{record.dataset or 'any'} {record.train_split}, {record.eval_split}"
    yield ", ".join(record.predicts) + "".join(f" (and {kind})" for kind in record.also)
    yield ", ".join(bound.metrics)
    yield ", ".join(record.seen_in)


def _recipe(name: str, recipe: PaperRecipe) -> str:
    """Return the section of a method: its paper, a table of its values and sources, and notes."""
    every = {"": recipe.settings, **{f" on {dataset}": settings for dataset, settings in recipe.on.items()}}
    rows = [
        (f"`{key}`{where}", f"`{format_value(one.value)}`", f"*open*: {one.source}" if one.is_open else one.source)
        for where, settings in every.items()
        for key, one in settings.items()
    ]
    table = _table(("setting", "value", "source"), rows)
    notes = "\n".join(f"- {note}" for note in recipe.notes)
    return "\n\n".join(part for part in (f"### {name}", f"{recipe.paper}.", table, notes) if part)


def _leaderboard(name: str, protocol: str) -> str:
    """Return the leaderboard of a track under a protocol, of the published results."""
    published = [StoredResult(read_result(path), path) for path in list_records(MEASURED)]
    (table,) = make_leaderboards(read_track(name), published, [protocol])
    return FORMATS["md"](table)


def _list_entries(name: str) -> Iterator[tuple[str, ...]]:
    """Yield each method of a track, its own settings, and the search that chose them."""
    for method, entry in read_track(name).methods.items():
        settings = ", ".join(f"{key}={format_value(value)}" for key, value in entry.settings.items())
        search = entry.search and f"trial {entry.search.trial} of {entry.search.trials}, {entry.search.score:.1%}"
        yield f"`{method}`", settings, f"like `{entry.like}`" if entry.like else search or ""


def _kinds(bound: list[BoundProtocol]) -> Iterator[tuple[str, ...]]:
    for kind, columns in {**KINDS, **FOLDERS}.items():
        takers = [one.record.name for one in bound if kind in (*one.record.predicts, *one.record.also)]
        yield f"`{kind}`", ", ".join(f"`{name}`" for name in columns), ", ".join(takers)


def _switch(name: str, field: FieldInfo, family: list[BoundProtocol]) -> Iterator[tuple[str, ...]]:
    """Return a row for each value of a convention, with the protocols that share it and its source."""
    choices = ", ".join(f"`{_text(one)}`" for one in get_args(field.annotation))
    meaning = f"**{name}**{choices and f' ({choices})'}: {field.description}"
    chosen = [(_text(one.record.conventions[name]), one.record.sources[name], one.record.name) for one in family]
    for (value, source), group in groupby(sorted(chosen), key=lambda one: one[:2]):
        of = [protocol for *_, protocol in group]
        yield meaning, f"`{value}`", "all" if len(of) == len(family) else ", ".join(of), source
        meaning = ""


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _table(head: tuple[str, ...], rows: Iterable[Iterable[str]]) -> str:
    lines = [head, ("---",) * len(head), *map(tuple, rows)]
    return "\n".join(f"| {' | '.join(' '.join(cell.split()) for cell in line)} |" for line in lines)


if __name__ == "__main__":
    for path in sorted(FOLDER.rglob("*.md")):
        write_text(path, rebuild(path.read_text(encoding="utf-8")))
