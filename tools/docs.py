"""The parts of `docs/` generated from protocols, recipes, tracks and published results, by `python -m tools.docs`.

A page marks such a part by `<!-- made: WHAT -->` and `<!-- end -->`; the text between them is generated here.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any, cast, get_args

import click
from pydantic.fields import FieldInfo

from bench import registry
from bench.analysis.compare import Difference, compare
from bench.cli.main import GROUPS, verbs
from bench.cli.output import format_value
from bench.config import ProposalConfig
from bench.core.files import write_text
from bench.paper_recipe import PaperRecipe, read_reasons, read_recipes
from bench.predictions.table import FOLDERS, KINDS
from bench.records.collection import StoredResult
from bench.records.result import Result, list_records, read_result
from bench.scoring.protocol import BoundProtocol, read_record
from bench.tables.numbers import bounds, format_difference
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
    if what == "verbs":
        return "\n\n".join(_list_verbs())
    if what.startswith("floors of "):
        _, _, track, protocol, floor = what.split()
        return _compare_with(track, protocol, floor)
    if what.startswith("claims of "):
        return _tabulate_claims(what.split()[-1])
    if what.startswith("seconds of "):
        return _tabulate_seconds(what.split()[-1])
    if what == "recipes":
        return "\n\n".join(_recipe(name, recipe) for name, recipe in sorted(read_recipes().items()))
    if what.startswith("method "):
        return _describe_method(what.removeprefix("method "))
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


def _describe_method(name: str) -> str:
    """Return the first lines of a method's file, its own settings and its variants."""
    cls = registry.method(name)
    parts = [f"```text\n{inspect.getdoc(inspect.getmodule(cls))}\n```"]
    shared = {*registry.method("classifier").Config.model_fields, *ProposalConfig.model_fields, "base", "map_classes"}
    rows = [
        (f"`{key}`", f"`{format_value(field.default)}`", str(field.description))
        for key, field in cls.Config.model_fields.items()
        if key not in shared
    ]
    if rows:
        parts.append(_table(("setting", "default", "meaning"), rows))
    own = {variant: settings for variant, settings in cls.variants.items() if settings}
    if own:
        parts.append("\n".join(f"- `{name}:{variant}`: `{_list_settings(own[variant])}`" for variant in own))
    return "\n\n".join(parts)


def _list_settings(settings: dict[str, Any]) -> str:
    return ",".join(f"{key}={format_value(value)}" for key, value in settings.items())


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


SHARED = ("--data-root", "--runs", "--results", "--plugin", "--json")
"""Options that most verbs have, described once."""


def _list_verbs() -> Iterator[str]:
    """Describe every verb, group by group: what it does, an example, its arguments and options."""
    shared = [one for one in _get_verb("table").params if isinstance(one, click.Option) and one.opts[0] in SHARED]
    yield _table(("option of most verbs", "what it does"), map(_option, shared))
    for title, group in GROUPS.items():
        yield f"## {title}"
        for name in group:
            command = _get_verb(name)
            inner = command.commands.values() if isinstance(command, click.Group) else ()
            for each, words in [(command, name), *((one, f"{name} {one.name}") for one in inner)]:
                yield _describe_verb(each, words)


def _get_verb(name: str) -> click.Command:
    return cast(click.Command, verbs.get_command(click.Context(verbs), name))


def _describe_verb(command: click.Command, words: str) -> str:
    shown = [one for one in command.params if isinstance(one, click.Option) and one.opts[0] not in SHARED]
    arguments = [one.make_metavar(click.Context(command)) for one in command.params if isinstance(one, click.Argument)]
    usage = " ".join(["python -m bench", words, *arguments])
    example = (command.epilog or "").partition("Example:\n  ")[2]
    code = "\n".join(f"    {line}" for line in ([usage] if arguments else []) + ([example] if example else []))
    options = _table(("option", "what it does"), map(_option, shown)) if shown else ""
    return "\n\n".join(filter(None, [f"### {words}", inspect.cleandoc(command.help or ""), code, options]))


def _option(option: click.Option) -> tuple[str, str]:
    """Return an option as it is typed, and its help with its default."""
    names = "/".join([*option.opts, *option.secondary_opts])
    value = "" if option.is_flag else f" {option.make_metavar(click.Context(click.Command('')))}"
    value = value.replace("INTEGER RANGE", "N").replace("FLOAT RANGE", "X")
    default = f" Default: {option.default}." if option.show_default and not option.is_flag else ""
    words = f"{option.help or ''}{default}".replace("|", "\\|").replace("<", "&lt;")
    return f"`{names}{value}`".replace("|", "\\|"), words


Sides = dict[tuple[str, str], list[StoredResult]]
"""The published results of a track by protocol and entry, one of each seed."""

CLAIMS = (
    ("WELDON: negative evidence beats the maximum", "voc07-point-val", "weldon", "gmp"),
    ("and a minimum of equal weight (MANTRA)", "voc07-point-val", "weldon", "mantra"),
    ("MELM, Table 1: cliques help", "voc07-corloc", "melm:base+clique", "melm:base"),
    ("MELM, Table 1: localization beats discovery", "voc07-corloc", "melm", "melm:d+arl"),
    ("MELM, Table 1: the whole beats cliques alone", "voc07-corloc", "melm", "melm:base+clique"),
    ("MELM, Table 4: MELM beats WSDDN", "voc07-corloc", "melm", "wsddn"),
    ("OICR: refinement beats WSDDN", "voc07-corloc", "oicr", "wsddn"),
    ("PCL: clusters beat OICR", "voc07-corloc", "pcl", "oicr"),
    ("SPN: soft proposals beat CAM", "voc07-point-val", "spn", "cam"),
    ("c-MWP: contrast beats MWP", "voc07-point-val", "c-mwp", "mwp"),
    ("HaS: hiding patches extends boxes", "voc07-corloc", "has", "cam"),
    ("ACoL: erasing extends boxes", "voc07-corloc", "acol", "cam"),
    ("DANet: divergence extends boxes", "voc07-corloc", "danet", "cam"),
)
"""Claims of papers that a track could confirm: that the first method is above the second."""


def _list_sides(name: str) -> Sides:
    track = read_track(name)
    sides: Sides = {}
    for record in list_records(MEASURED):
        result = read_result(record)
        entry = track.find_entry(result) if track.includes(result) else None
        if entry is not None:
            sides.setdefault((result.protocol, entry), []).append(StoredResult(result, record))
    return sides


def _compare_with(track: str, protocol: str, floor: str) -> str:
    """Tabulate how far each method of a track is above a floor, the furthest first."""
    sides = _list_sides(track)
    found = {
        name: compare(side, sides[protocol, floor])
        for (of, name), side in sides.items()
        if of == protocol and name != floor
    }
    lines = {name: next(iter(one.metrics.values())) for name, one in found.items()}
    order = sorted(lines, key=lambda name: -(lines[name].difference or 0.0))
    rows = ((f"`{name}`", str(len(found[name].a)), *_describe_difference(lines[name])) for name in order)
    return _table(("method", "seeds", f"above `{floor}`, points", "p", "shown"), rows)


def _tabulate_claims(track: str) -> str:
    """Tabulate the claims of papers that a track could confirm, by the first metric of a protocol."""
    sides, rows = _list_sides(track), []
    for claim, protocol, a, b in CLAIMS:
        if (protocol, a) in sides and (protocol, b) in sides:
            line = next(iter(compare(sides[protocol, a], sides[protocol, b]).metrics.values()))
            rows.append((claim, f"`{protocol}`", f"`{a}` - `{b}`", *_describe_difference(line)))
    return _table(("claim", "by", "", "points", "p", "shown"), rows)


def _describe_difference(line: Difference) -> tuple[str, str, str]:
    """Describe a difference: points with the interval, p, and whether it is significant, and on which side."""
    if line.difference is None or line.p is None:
        return "", "", "undefined"
    verdict = "no" if line.p >= 0.05 else "yes" if line.difference > 0 else "below"
    ends = bounds(line.interval)
    return f"{format_difference(line.difference)} {ends}".strip(), f"{line.p:.3f}", verdict


def _tabulate_seconds(track: str) -> str:
    """Tabulate the cost of one seed of each method of a track, by its published results."""
    costs: dict[str, list[Result]] = {}
    for (_, entry), side in _list_sides(track).items():
        costs.setdefault(entry, []).extend(one.result for one in side)
    head = ("method", "training, s", "prediction, images/s", "peak memory, MiB")
    rows = sorted((_describe_cost(name, results) for name, results in costs.items()), key=lambda row: float(row[1]))
    return _table(head, rows)


def _describe_cost(name: str, results: list[Result]) -> tuple[str, str, str, str]:
    """Return the median over results of the seconds of a training, the speed of prediction and the peak memory."""
    seconds = [result.seconds.get("training", 0.0) for result in results]
    speeds = [speed for result in results if (speed := result.images_per_second.get("prediction"))]
    memory = [result.peak_memory_mib for result in results if result.peak_memory_mib is not None]
    return f"`{name}`", f"{median(seconds):.0f}", f"{median(speeds):,.4g}", f"{median(memory):,.0f}"


def _table(head: tuple[str, ...], rows: Iterable[Iterable[str]]) -> str:
    lines = [head, ("---",) * len(head), *map(tuple, rows)]
    return "\n".join(f"| {' | '.join(' '.join(cell.split()) for cell in line)} |" for line in lines)


if __name__ == "__main__":
    for path in sorted(FOLDER.rglob("*.md")):
        write_text(path, rebuild(path.read_text(encoding="utf-8")))
