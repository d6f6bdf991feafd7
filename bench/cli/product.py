"""The options of `run` and `submit` that select runs, and the requests that they stand for."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import click

from bench.cli import options
from bench.cli.options import Verb
from bench.cli.output import say
from bench.core.files import IMAGE_CACHE_MIB, Places
from bench.core.progress import is_follower
from bench.verbs.product import Asked, make_requests

if TYPE_CHECKING:
    from bench.tables.plan import Changes

_NAMES: dict[str, Any] = {"multiple": True, "callback": options.parse_names}

settings = click.option(
    "--set",
    "settings",
    multiple=True,
    callback=options.parse_pairs,
    metavar="KEY=VALUE",
    shell_complete=options.make_completer("settings"),
    help="A config field of the method (python -m bench show NAME); repeats and takes commas; tuples as 480+576.",
)
weights = click.option(
    "--weights", metavar="FILE|none|imagenet", help="Initial weights of the net; with --track, where its file lies."
)
splits = options.combine(
    options.data,
    click.option("--split", help="Evaluate on this id list instead of the protocol's."),
    click.option("--train-split", help="Train on this id list instead of the protocol's."),
)
cells = options.combine(
    click.option(
        "--rows", metavar="ROW", help="Only these rows of the table, by number from 1 or part of the label.", **_NAMES
    ),
    click.option("--columns", metavar="COLUMN", help="Only these columns of the table, by head or key.", **_NAMES),
)
"""Options that select numbers of a paper's table."""

changes = options.combine(settings, weights, splits)
"""Options by which a try-out departs from a paper's table."""

device = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 ...")
threads = click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Threads that compute on a CPU; part of a training's address.  [default: as many as are free, or those of "
    "the training that goes on]",
)

_OPTIONS = options.combine(
    options.track,
    click.option(
        "--table",
        metavar="PAPER-NUMBER",
        shell_complete=options.make_completer("papers"),
        help="A paper's table, in place of methods and protocols: the runs that `plan` lists for it.",
    ),
    cells,
    click.option(
        "--method",
        "methods",
        metavar="NAME[:VARIANT]",
        shell_complete=options.make_completer("methods"),
        help="Methods to run; required. all: every method of the track.",
        **_NAMES,
    ),
    click.option(
        "--protocol",
        "protocols",
        metavar="NAME",
        shell_complete=options.make_completer("protocols"),
        help="Protocols to evaluate under; required without --track, whose protocols are the default.",
        **_NAMES,
    ),
    click.option(
        "--seed",
        "seeds",
        callback=options.parse_seeds,
        metavar="0,1,2",
        help="Seeds of trainings.  [default: 0, or the track's]",
    ),
    settings,
    click.option(
        "--recipe",
        type=click.Choice(["paper"]),
        help="Train as the method's paper does; `show NAME` and docs/recipes.md have its values and their sources.",
    ),
    weights,
    options.conventions,
    splits,
    options.tuned_on("none"),
)

means = options.combine(
    device,
    options.workers,
    threads,
    click.option(
        "--cache",
        type=click.IntRange(min=0),
        default=IMAGE_CACHE_MIB,
        show_default=True,
        help="MiB of decoded images that a training keeps in memory.",
    ),
    click.option(
        "--feature-cache/--no-feature-cache",
        default=True,
        show_default=True,
        help="Keep the features of frozen nets in runs/cache/features. It saves time and changes no result.",
    ),
)
"""Options that control how runs compute."""


_STORED = options.combine(
    click.option("--again", is_flag=True, help="Delete what is stored of these runs first, and make it anew."),
    click.option(
        "--keep", is_flag=True, help="Take what is stored although its code was edited since; the record then says so."
    ),
)


def stored(verb: Verb) -> Verb:
    """Add the options for what to do with stored items; the verb receives them as `stored`."""

    @functools.wraps(verb)
    def with_stored(*, again: bool, keep: bool, **rest: Any) -> Any:
        if again and keep:
            raise click.UsageError("--again makes anew what --keep takes: give one of them.")
        return verb(stored="again" if again else "keep" if keep else "take", **rest)

    return _STORED(with_stored)  # type: ignore[return-value]


def requests(verb: Verb) -> Verb:
    """Add the options of a product of runs, or of the runs of a paper's table.

    The verb receives the runs as `requests`, the opened datasets as `datasets`, `track` as given, and for a table the
    cells that the requests measure as `table`.
    """

    @functools.wraps(verb)
    def with_requests(*, table: str | None, rows: tuple[str, ...], columns: tuple[str, ...], **rest: Any) -> Any:
        asked = Asked(**{name: rest.pop(name) for name in Asked._fields})
        _require_names(asked, table, rows, columns)
        from bench.execution.dataset_cache import DatasetCache

        datasets = DatasetCache(Places(rest["runs"], rest["data_root"]))
        if table is not None:
            from bench.verbs.plan import request_table

            requested = request_table(table, asked, rows, columns)
            return verb(requests=requested.list_requests(), datasets=datasets, track=None, table=requested, **rest)
        requests, rest["threads"] = make_requests(asked, rest["threads"], datasets, _note)
        return verb(requests=requests, datasets=datasets, track=asked.track, table=None, **rest)

    return _OPTIONS(with_requests)  # type: ignore[return-value]


def _require_names(asked: Asked, table: str | None, rows: tuple[str, ...], columns: tuple[str, ...]) -> None:
    """Raise UsageError if the options do not name what to run."""
    context = click.get_current_context()
    if table is None and (rows or columns):
        raise click.UsageError("--rows and --columns are of a --table", context)
    for option, given in (("--method", asked.methods), ("--protocol", asked.protocols or asked.track)):
        if not given and table is None:
            raise click.UsageError(f"Missing option '{option}'.", context)


def make_changes(given: dict[str, Any]) -> Changes:
    """Remove the options of `changes` from the given ones, and return them."""
    from bench.tables.plan import Changes

    settings, weights = given.pop("settings"), given.pop("weights")
    return Changes(
        settings=settings | ({} if weights is None else {"weights": weights}),
        data=given.pop("data"),
        data_options=given.pop("data_options"),
        split=given.pop("split"),
        train_split=given.pop("train_split"),
    )


def _note(text: str) -> None:
    """Print a note in one process only."""
    if not is_follower():
        say(text)
