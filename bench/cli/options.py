"""The options that verbs share, and how their texts are read."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from bench.errors import RequestError

Verb = TypeVar("Verb", bound=Callable[..., Any])

FILE = click.Path(path_type=Path)


def names(_context: click.Context, _option: click.Parameter, values: Iterable[str]) -> tuple[str, ...]:
    """Texts of an option that repeats and takes commas, each once, in order."""
    parts = (part.strip() for value in values for part in value.split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


def complete(*kinds: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """What completes the names of `methods`, `protocols`, `datasets` and `tables`, the last of several with commas."""

    def completed(_context: click.Context, _option: click.Parameter, incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for kind in kinds for name in _names_of(kind) if name.startswith(last)]

    return completed


def _names_of(kind: str) -> Iterable[str]:
    from bench import registry
    from bench.data.datasets import DATASETS
    from bench.tables.papers import reported_tables

    if kind == "datasets":
        return DATASETS
    if kind == "tables":
        return ("leaderboard", *reported_tables())
    return registry.methods() if kind == "methods" else registry.protocols()


def pairs(_context: click.Context, option: click.Parameter, values: Iterable[str]) -> dict[str, str]:
    """`key=value[,key=value]` of an option that repeats; the last value of a key wins. Raises RequestError."""
    found: dict[str, str] = {}
    for part in (part for value in values for part in value.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise RequestError(f"{option.opts[0]}: expected key=value, but got {part!r} (join tuples by +: 480+576).")
        found[key.strip()] = value.strip()
    return found


def switches(context: click.Context, option: click.Parameter, values: Iterable[str]) -> dict[str, Any]:
    """`pairs` whose values are read as TOML where they are TOML (`0.5`, `true`), else as text (`area`)."""
    return {key: _toml(value) for key, value in pairs(context, option, values).items()}


def seeds(_context: click.Context, option: click.Parameter, value: str) -> tuple[int, ...]:
    """Seeds `0,1,2`. Raises RequestError."""
    parts = value.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise RequestError(f"{option.opts[0]}: expected whole numbers such as 0,1,2, but got {value!r}.")
    return tuple(dict.fromkeys(int(part) for part in parts))


def _toml(text: str) -> Any:
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _use_plugins(_context: click.Context, _option: click.Parameter, files: tuple[Path, ...]) -> None:
    from bench.registry import use_plugin

    for file in files:
        use_plugin(file)


def together(*options: Callable[[Verb], Verb]) -> Callable[[Verb], Verb]:
    """One decorator of several, the first shown first."""
    return lambda verb: functools.reduce(lambda decorated, option: option(decorated), reversed(options), verb)


plugin = click.option(
    "--plugin",
    multiple=True,
    type=FILE,
    is_eager=True,
    expose_value=False,
    callback=_use_plugins,
    help="A method (.py) or protocol (.toml) of your own; repeats.",
)

as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, the rest on stderr.")

conventions = click.option(
    "--convention",
    "conventions",
    multiple=True,
    callback=switches,
    metavar="KEY=VALUE",
    help="Move a switch of the protocol; repeats and takes commas.",
)

dataset_options = click.option(
    "--data-option",
    "data_options",
    multiple=True,
    callback=switches,
    metavar="KEY=VALUE",
    help="An option of the dataset, such as train=200; repeats and takes commas.",
)

data = together(
    click.option(
        "--data",
        metavar="DATASET",
        shell_complete=complete("datasets"),
        help="Another dataset than the protocol's: shapes is built in.",
    ),
    dataset_options,
)

FORMATS = ("text", "md", "latex", "csv", "html")
"""What a table is written as, by the names of `bench.tables.render.FORMATS`, which would load the tables."""

format_ = click.option("--format", "format_", type=click.Choice(FORMATS), default="text", show_default=True)

only_protocols = click.option(
    "--protocol",
    "protocols",
    multiple=True,
    callback=names,
    shell_complete=complete("protocols"),
    help="Only these; repeats, takes commas.",
)


def tuned_on(default: str, *more: str) -> Callable[[Verb], Verb]:
    """The option --tuned-on."""
    return click.option(
        "--tuned-on",
        type=click.Choice(["none", "val-boxes", "test-oracle", *more]),
        default=default,
        show_default=True,
        help="What more than image labels chose a threshold or setting; the record says it.",
    )


allow_missing = click.option(
    "--allow-missing", is_flag=True, help="Images that the file does not cover count as unanswered."
)

workers = click.option(
    "--workers", type=click.IntRange(min=0), default=2, show_default=True, help="Processes that load data."
)


def places(verb: Verb) -> Verb:
    """Add --data-root and --runs; the verb gets them as `places`."""

    @click.option(
        "--data-root", type=FILE, envvar="BENCH_DATA", help="Folder that holds VOCdevkit/VOC2007 (BENCH_DATA)."
    )
    @click.option("--runs", type=FILE, envvar="BENCH_RUNS", default="runs", show_default=True, help="(BENCH_RUNS)")
    @functools.wraps(verb)
    def with_places(*arguments: Any, data_root: Path | None, runs: Path, **rest: Any) -> Any:
        from bench.core.files import Places

        return verb(*arguments, places=Places(runs, data_root), **rest)

    return with_places  # type: ignore[return-value]
