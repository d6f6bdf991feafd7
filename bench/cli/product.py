"""The options that say which runs are meant, and the requests that they come to; of `run` and `submit`."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import click

from bench import registry
from bench.cli import options
from bench.cli.options import Verb
from bench.cli.output import say
from bench.core.files import IMAGE_CACHE_MIB, Places
from bench.core.progress import is_follower
from bench.core.setting_names import current_name
from bench.errors import RequestError

if TYPE_CHECKING:
    from bench.execution.dataset_cache import DatasetCache
    from bench.records.result import Supervision
    from bench.scoring.protocol import Record

_NAMES: dict[str, Any] = {"multiple": True, "required": True, "callback": options.parse_names}

_OPTIONS = options.combine(
    click.option(
        "--method", "methods", metavar="NAME[:VARIANT]", shell_complete=options.make_completer("methods"), **_NAMES
    ),
    click.option(
        "--protocol", "protocols", metavar="NAME", shell_complete=options.make_completer("protocols"), **_NAMES
    ),
    click.option("--seed", "seeds", default="0", show_default=True, callback=options.parse_seeds, metavar="0,1,2"),
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
    click.option("--weights", metavar="FILE|none|imagenet", help="Initial weights of the net."),
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


def requests(verb: Verb) -> Verb:
    """Add the options of a product of runs; the verb gets them as `requests`, and what was opened as `datasets`."""

    @functools.wraps(verb)
    def with_requests(
        *,
        methods: tuple[str, ...],
        protocols: tuple[str, ...],
        seeds: tuple[int, ...],
        settings: dict[str, str],
        recipe: Literal["paper"] | None,
        weights: str | None,
        conventions: dict[str, Any],
        data: str | None,
        data_options: dict[str, Any],
        split: str | None,
        train_split: str | None,
        tuned_on: Supervision,
        **rest: Any,
    ) -> Any:
        for name in methods:
            registry.check_name(name)
        records = [_record(name, conventions) for name in protocols]
        splits = [name for name in (split, train_split) if name is not None]
        from bench.execution.dataset_cache import DatasetCache

        datasets = DatasetCache(Places(rest["runs"], rest["data_root"]))
        _check_data(records, data, data_options, splits, datasets)
        from bench.execution.pipeline import Request  # which loads torch: seconds

        chosen = _assign_settings(settings if weights is None else {**settings, "weights": weights}, methods, datasets)
        requests = [
            Request(
                method=name,
                protocol=record,
                seed=seed,
                settings=chosen[name],
                data=data,
                data_options=data_options,
                split=split,
                train_split=train_split,
                tuned_on=tuned_on,
                recipe=recipe,
            )
            for name, record, seed in product(methods, records, seeds)
        ]
        return verb(requests=requests, datasets=datasets, **rest)

    return _OPTIONS(with_requests)  # type: ignore[return-value]


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
