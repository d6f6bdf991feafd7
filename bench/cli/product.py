"""The options that say which runs are meant, and the requests that they come to; of `run` and `submit`."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click

from bench import registry
from bench.cli import options
from bench.cli.options import Verb
from bench.cli.output import say
from bench.core.files import IMAGE_CACHE_MIB, Places
from bench.core.progress import is_follower
from bench.core.setting_names import current_name
from bench.errors import RequestError, format_count

if TYPE_CHECKING:
    from bench.execution.dataset_cache import DatasetCache
    from bench.execution.request import Request
    from bench.records.result import Supervision
    from bench.scoring.protocol import Record
    from bench.tracks.track import Track

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
    click.option("--threads", type=click.IntRange(min=1), help="Threads that compute; part of a training's address."),
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


class Asked(NamedTuple):
    """What the options of a product say; `seeds`: None if they do not."""

    track: str | None
    methods: tuple[str, ...]
    protocols: tuple[str, ...]
    seeds: tuple[int, ...] | None
    settings: dict[str, str]
    recipe: Literal["paper"] | None
    weights: str | None
    conventions: dict[str, Any]
    data: str | None
    data_options: dict[str, Any]
    split: str | None
    train_split: str | None
    tuned_on: Supervision


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
        if asked.track is None:
            requests = _multiply(asked, datasets)
        else:
            from bench.tracks.track import read_track

            track = read_track(asked.track)
            rest["threads"] = choose_threads(track, rest["threads"])
            requests = _select(track, asked, datasets)
        return verb(requests=requests, datasets=datasets, track=asked.track, **rest)

    return _OPTIONS(with_requests)  # type: ignore[return-value]


def _multiply(asked: Asked, datasets: DatasetCache) -> list[Request]:
    """Make the product of methods, protocols and seeds."""
    for name in asked.methods:
        registry.check_name(name)
    records = [_record(name, asked.conventions) for name in asked.protocols]
    splits = [name for name in (asked.split, asked.train_split) if name is not None]
    _check_data(records, asked.data, asked.data_options, splits, datasets)
    weights = {} if asked.weights is None else {"weights": asked.weights}
    settings = _assign_settings(asked.settings | weights, asked.methods, datasets)
    from bench.execution.request import Request

    return [
        Request(
            method=name,
            protocol=record,
            seed=seed,
            settings=settings[name],
            data=asked.data,
            data_options=asked.data_options,
            split=asked.split,
            train_split=asked.train_split,
            tuned_on=asked.tuned_on,
            recipe=asked.recipe,
        )
        for name, record, seed in product(asked.methods, records, asked.seeds or (0,))
    ]


def _select(track: Track, asked: Asked, datasets: DatasetCache) -> list[Request]:
    """Make the requests of a track."""
    from bench.tracks import selection

    _refuse_options(track, asked)
    entries, joining = selection.select_methods(track, asked.methods)
    selection.refuse_changes(entries, asked.settings, asked.tuned_on)
    selection.check_protocols(track, asked.protocols)
    splits = [track.train_split, *track.splits.values()]
    _check_data([*track.protocols.values()], track.dataset, track.data_options, splits, datasets)
    requests = selection.make_requests(
        track,
        entries,
        _assign_settings(asked.settings, joining, datasets),
        protocols=asked.protocols,
        seeds=asked.seeds,
        tuned_on=asked.tuned_on,
    )
    _require_runs(track, asked, requests)
    return selection.use_weights(track, requests, asked.weights, datasets.places)


def _refuse_options(track: Track, asked: Asked) -> None:
    """Raise RequestError for options whose values the track fixes."""
    options = {
        "--recipe": asked.recipe,
        "--data": asked.data,
        "--data-option": asked.data_options,
        "--split": asked.split,
        "--train-split": asked.train_split,
        "--convention": asked.conventions,
    }
    if given := [name for name, value in options.items() if value]:
        raise RequestError(
            f"{', '.join(given)}: track {track.name} fixes what is compared. Leave it out; or copy the track's file "
            "(python -m bench show NAME names it), change the copy, and give its path as --track."
        )


def choose_threads(track: Track, threads: int | None) -> int:
    """Return the track's number of threads. Raises RequestError if another one is given."""
    if threads not in (None, track.threads):
        count = format_count(track.threads, "thread")
        raise RequestError(
            f"--threads {threads}: track {track.name} computes with {count}, which trained weights depend on. "
            "Leave it out."
        )
    return track.threads


def _require_runs(track: Track, asked: Asked, requests: Sequence[Request]) -> None:
    """Raise RequestError for a method that was named and has none of the protocols that were."""
    able = {request.method for request in requests}
    for name in asked.methods:
        method = (track.methods[name].method or name) if name in track.methods else name
        if name != "all" and method not in able:
            under = ", ".join(asked.protocols) or "any of its protocols"
            raise RequestError(f"Track {track.name} does not evaluate {name} under {under}.")


def _record(name: str, conventions: Mapping[str, Any]) -> Record:
    """Read a protocol with changed conventions, and check it before anything is trained."""
    record = registry.protocol(name).with_conventions(conventions)
    registry.bind(record)
    return record


def _check_data(
    records: Sequence[Record],
    data: str | None,
    data_options: dict[str, Any],
    splits: Sequence[str],
    datasets: DatasetCache,
) -> None:
    """Raise the first error in the data of the protocols, if the data of every protocol has one."""
    from bench.data.dataset import read_split

    wrong = []
    for record in records:
        try:
            dataset = datasets.dataset(data or record.dataset, data_options)
            for split in set(splits) - {*dataset.splits()}:
                read_split(dataset, split)  # which says what is wrong with it: a list of one class is a split too
        except RequestError as error:
            wrong.append(error)
    if len(wrong) == len(records):
        raise wrong[0]


def _assign_settings(
    settings: Mapping[str, str], methods: Sequence[str], datasets: DatasetCache
) -> dict[str, dict[str, str]]:
    """Return the settings of each method: those it has, and those that no method has, which it will refuse."""
    fields = {name: set(datasets.method(name, settings)[0].Config.model_fields) for name in methods}
    known = set().union(*fields.values())
    _note_former_names(settings, known)
    return {
        name: {
            key: value
            for key, value in settings.items()
            if current_name(key, own) in own or current_name(key, known) not in known
        }
        for name, own in fields.items()
    }


def _note_former_names(settings: Mapping[str, str], known: Collection[str]) -> None:
    """Say which settings were given under former names: their errors name the present ones."""
    for name in settings:
        if (new := current_name(name, known)) != name and not is_follower():
            advice = " To set the number of epochs, use epochs." if name == "epoch" else ""
            say(f"note: {name} is the former name of {new}.{advice}")
