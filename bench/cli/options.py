"""The options that several verbs share, and how their values are parsed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from bench.cli.output import name_program, say
from bench.errors import RequestError

Verb = TypeVar("Verb", bound=Callable[..., Any])

FILE = click.Path(path_type=Path)

RUNS = "runs"
"""The runs folder, unless another is given."""


def parse_names(_context: click.Context, _option: click.Parameter, values: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct values of an option that can be repeated and accepts comma-separated lists, in order."""
    parts = (part.strip() for value in values for part in value.split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


def make_completer(*kinds: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return a shell completer for names of these kinds, those of `_list_names`.

    In a comma-separated list, it completes the last name.
    """

    def complete(context: click.Context, _option: click.Parameter, incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        names = (name for kind in kinds for name in _list_names(kind, context.params, last))
        return [f"{before}{comma}{name}" for name in names if name.startswith(last)]

    return complete


def _list_names(kind: str, given: Mapping[str, Any], last: str) -> Iterable[str]:
    """List the names of a kind, narrowed down by the other given options."""
    from bench import registry
    from bench.cli.nets import NETS
    from bench.data.datasets import list_datasets
    from bench.tables.papers import reported_tables

    if kind == "datasets":
        return list_datasets()
    if kind == "nets":
        return NETS
    if kind in ("tables", "papers"):
        return (*(["leaderboard"] if kind == "tables" else []), *reported_tables())
    if kind == "tracks":
        from bench.tracks.track import list_tracks

        return list_tracks()
    if kind == "addresses":
        return _list_addresses(given)
    if kind == "settings":
        classes = [registry.parse(method, {})[0] for method in given.get("methods") or ()]
        return dict.fromkeys(f"{field}=" for cls in classes for field in cls.Config.model_fields)
    if kind == "conventions":
        records = [registry.protocol(name) for name in given.get("protocols") or filter(None, [given.get("protocol")])]
        return dict.fromkeys(f"{key}=" for record in records for key in record.conventions)
    if kind == "protocols":
        return registry.protocols()
    name, colon, _ = last.partition(":")
    if colon and name in registry.methods():
        return [f"{name}:{variant}" for variant in registry.variants(registry.methods()[name])]
    return registry.methods()


def _list_addresses(given: Mapping[str, Any]) -> Iterable[str]:
    """List the addresses of published results and of those in the runs folder, by the names of their records."""
    from bench.verbs.results import MEASURED, find_results

    folders = (find_results(given.get("results")) / MEASURED, Path(given.get("runs") or RUNS) / "results")
    return (path.stem.rpartition(".")[2] for folder in folders for path in sorted(folder.glob("[!.]*.json")))


def parse_pairs(_context: click.Context, option: click.Parameter, values: Iterable[str]) -> dict[str, str]:
    """Parse `key=value[,key=value]` of an option that can be repeated; the last value of a key wins.

    Raises RequestError for a part that is not a pair.
    """
    pairs: dict[str, str] = {}
    for part in (part for value in values for part in value.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise RequestError(
                f"{option.opts[0]}: expected key=value, but got {part!r} (write a list with +, as in 480+576)."
            )
        pairs[key.strip()] = value.strip()
    return pairs


def parse_switches(context: click.Context, option: click.Parameter, values: Iterable[str]) -> dict[str, Any]:
    """Parse pairs whose values are TOML (`0.5`, `true`), or else plain text (`area`)."""
    return {key: _parse_value(value) for key, value in parse_pairs(context, option, values).items()}


def parse_seeds(_context: click.Context, option: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Parse seeds, as in `0,1,2`. Raises RequestError."""
    if value is None:
        return None
    parts = value.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise RequestError(f"{option.opts[0]}: expected whole numbers such as 0,1,2, but got {value!r}.")
    return tuple(dict.fromkeys(int(part) for part in parts))


def _parse_value(text: str) -> Any:
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def parse_dataset(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """Return the name of a dataset; `FILE.toml` is read first. Raises as `use_description`."""
    if value is None or not value.endswith(".toml"):
        return value
    from bench.data.datasets import use_description

    return use_description(Path(value))


def parse_datasets(context: click.Context, option: click.Parameter, values: Iterable[str]) -> tuple[str, ...]:
    """Return the names of datasets, as `parse_names` and `parse_dataset` do."""
    return tuple(str(parse_dataset(context, option, name)) for name in parse_names(context, option, values))


def _use_plugins(_context: click.Context, _option: click.Parameter, files: tuple[Path, ...]) -> None:
    from bench.registry import use_plugin

    for file in files:
        use_plugin(file)


def example(arguments: str) -> str:
    """Return an example of a verb, which its help ends with."""
    return name_program(f"\b\nExample:\n  python -m bench {arguments}")


def combine(*options: Callable[[Verb], Verb]) -> Callable[[Verb], Verb]:
    """Combine decorators into one; help lists their options in the given order."""
    return lambda verb: functools.reduce(lambda decorated, option: option(decorated), reversed(options), verb)


plugin = click.option(
    "--plugin",
    multiple=True,
    type=FILE,
    is_eager=True,
    expose_value=False,
    callback=_use_plugins,
    help="File with a method or net (.py), protocol or dataset (.toml) of your own; can be repeated.",
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, the rest on stderr.")

allow_dirty = click.option(
    "--allow-dirty",
    is_flag=True,
    help="Take results from an edited checkout too; they are marked wherever they are shown.",
)

conventions = click.option(
    "--convention",
    "conventions",
    multiple=True,
    callback=parse_switches,
    metavar="KEY=VALUE",
    shell_complete=make_completer("conventions"),
    help="Override a convention of the protocol; can be repeated or comma-separated.",
)

dataset_options = click.option(
    "--data-option",
    "data_options",
    multiple=True,
    callback=parse_switches,
    metavar="KEY=VALUE",
    help="Option of the dataset, such as train=200; can be repeated or comma-separated.",
)

data = combine(
    click.option(
        "--data",
        metavar="NAME|FILE.toml",
        callback=parse_dataset,
        shell_complete=make_completer("datasets"),
        help="Use this dataset instead of the protocol's; shapes is built in.",
    ),
    dataset_options,
)

track = click.option(
    "--track",
    metavar="NAME|FILE.toml",
    shell_complete=make_completer("tracks"),
    help="Track: methods compared on the same data, net and budget (python -m bench list tracks).",
)


def _find_results(_context: click.Context, _option: click.Parameter, value: Path | None) -> Path:
    from bench.verbs.results import find_results

    found = find_results(value)
    if value is not None and not found.is_dir() and _context.info_name in _READERS:
        say(f"Note: there is no folder of results {found}.")
    return found


results = click.option(
    "--results",
    type=FILE,
    callback=_find_results,
    help="Folder of published results and baselines, or set BENCH_RESULTS.  [default: those of this checkout, or those "
    "installed with weakloc]",
)

OWN_RESULTS = "Give --results DIR, or set BENCH_RESULTS, to a folder of your own."
"""What to do where published results cannot be written."""

FORMATS = ("text", "md", "latex", "csv", "html")
"""Table formats: the names of `bench.tables.render.FORMATS`, repeated here because importing it is slow."""

format_ = click.option(
    "--format", "format_", type=click.Choice(FORMATS), default="text", show_default=True, help="Format of the table."
)

only_protocols = click.option(
    "--protocol",
    "protocols",
    multiple=True,
    callback=parse_names,
    shell_complete=make_completer("protocols"),
    help="Only these protocols; can be repeated or comma-separated.",
)


def tuned_on(default: str, *more: str) -> Callable[[Verb], Verb]:
    """Return the option --tuned-on."""
    return click.option(
        "--tuned-on",
        type=click.Choice(["none", "val-boxes", "test-oracle", *more]),
        default=default,
        show_default=True,
        help="Supervision beyond image labels that thresholds or settings were tuned on; kept in the record.",
    )


allow_missing = click.option(
    "--allow-missing", is_flag=True, help="Treat images missing from the file as images without predictions."
)

workers = click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    help="Threads that load images ahead of need; processes that compute region proposals.",
)


_READERS = ("list", "show", "table", "compare", "trend", "report")
"""Verbs that show results of the runs folder beside published ones."""

_USERS = ("gate", "sync", "du", "prune")
"""Verbs that succeed if nothing in the runs folder is wrong, and so would if the folder were missing."""


def _notice_absence(runs: Path, data_root: Path | None) -> None:
    """Report a given folder that does not exist; raise MissingDataError for a verb that can do nothing without it."""
    from click.core import ParameterSource

    from bench.errors import MissingDataError

    context = click.get_current_context()
    if data_root is not None and not data_root.is_dir() and context.command_path.endswith("data check"):
        raise MissingDataError("Data root", data_root, "Give the folder that the datasets are in.")
    if runs.is_dir() or context.get_parameter_source("runs") is ParameterSource.DEFAULT:
        return
    if context.info_name in _USERS and context.params.get("report") is None:  # a review is of published results alone
        raise MissingDataError("Runs folder", runs, "Give the one that the runs were made in.")
    if context.info_name in _READERS:
        say(f"Note: there is no runs folder {runs}, so none of its results is shown.")


def places(verb: Verb) -> Verb:
    """Add --data-root and --runs to a verb, which receives them as `places`."""

    @click.option("--data-root", type=FILE, envvar="BENCH_DATA", help="Root folder of the datasets, or set BENCH_DATA.")
    @click.option(
        "--runs",
        type=FILE,
        envvar="BENCH_RUNS",
        default=RUNS,
        show_default=True,
        help="Folder of trainings, predictions and results, or set BENCH_RUNS.",
    )
    @functools.wraps(verb)
    def with_places(*arguments: Any, data_root: Path | None, runs: Path, **rest: Any) -> Any:
        from bench.core.files import Places

        _notice_absence(runs, data_root)
        return verb(*arguments, places=Places(runs, data_root), **rest)

    return with_places  # type: ignore[return-value]
