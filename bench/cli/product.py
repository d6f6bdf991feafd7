"""The options that say which runs are meant, and the requests that they come to; of `run` and `submit`."""

from __future__ import annotations

import functools
from typing import Any

import click

from bench.cli import options
from bench.cli.options import Verb
from bench.cli.output import say
from bench.core.files import IMAGE_CACHE_MIB, Places
from bench.core.progress import is_follower
from bench.verbs.product import Asked, make_requests

_NAMES: dict[str, Any] = {"multiple": True, "callback": options.parse_names}

_OPTIONS = options.combine(
    options.track,
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
    click.option(
        "--set",
        "settings",
        multiple=True,
        callback=options.parse_pairs,
        metavar="KEY=VALUE",
        shell_complete=options.make_completer("settings"),
        help="A config field of the method (python -m bench show NAME); repeats and takes commas; tuples as 480+576.",
    ),
    click.option(
        "--recipe",
        type=click.Choice(["paper"]),
        help="Train as the method's paper does; `show NAME` and docs/recipes.md have its values and their sources.",
    ),
    click.option(
        "--weights", metavar="FILE|none|imagenet", help="Initial weights of the net; with --track, where its file lies."
    ),
    options.conventions,
    options.data,
    click.option("--split", help="Evaluate on this id list instead of the protocol's."),
    click.option("--train-split", help="Train on this id list instead of the protocol's."),
    options.tuned_on("none"),
)

means = options.combine(
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 ..."),
    options.workers,
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        help="Threads that compute on a CPU; part of a training's address.  [default: as many as are free, or those of "
        "the training that goes on]",
    ),
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
"""How runs compute."""


_STORED = options.combine(
    click.option("--again", is_flag=True, help="Delete what is stored of these runs first, and make it anew."),
    click.option(
        "--keep", is_flag=True, help="Take what is stored although its code was edited since; the record then says so."
    ),
)


def stored(verb: Verb) -> Verb:
    """Add the options that say what to do with what is stored; the verb gets them as `stored`."""

    @functools.wraps(verb)
    def with_stored(*, again: bool, keep: bool, **rest: Any) -> Any:
        if again and keep:
            raise click.UsageError("--again makes anew what --keep takes: give one of them.")
        return verb(stored="again" if again else "keep" if keep else "take", **rest)

    return _STORED(with_stored)  # type: ignore[return-value]


def requests(verb: Verb) -> Verb:
    """Add the options of a product of runs.

    The verb gets them as `requests`, what was opened as `datasets`, and `track` as it was given.
    """

    @functools.wraps(verb)
    def with_requests(**rest: Any) -> Any:
        asked = Asked(**{name: rest.pop(name) for name in Asked._fields})
        for option, given in (("--method", asked.methods), ("--protocol", asked.protocols or asked.track)):
            if not given:
                raise click.UsageError(f"Missing option '{option}'.", click.get_current_context())
        from bench.execution.dataset_cache import DatasetCache

        datasets = DatasetCache(Places(rest["runs"], rest["data_root"]))
        requests, rest["threads"] = make_requests(asked, rest["threads"], datasets, _note)
        return verb(requests=requests, datasets=datasets, track=asked.track, **rest)

    return _OPTIONS(with_requests)  # type: ignore[return-value]


def _note(text: str) -> None:
    """Say a note once, not in every process."""
    if not is_follower():
        say(text)
