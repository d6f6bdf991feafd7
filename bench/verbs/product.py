"""The runs that options ask for: a product of methods, protocols and seeds, or those of a track."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bench import registry
from bench.core.setting_names import current_name
from bench.errors import RequestError, format_count

if TYPE_CHECKING:
    from bench.execution.code_changes import Stored
    from bench.execution.dataset_cache import DatasetCache
    from bench.execution.forecast import RunForecast
    from bench.execution.request import Request
    from bench.records.result import Supervision
    from bench.scoring.protocol import Record
    from bench.tracks.track import Track

Say = Callable[[str], None]
"""Where notes go."""


class Asked(NamedTuple):
    """The values of a product's options. seeds: None if not given."""

    track: str | None
    methods: tuple[str, ...]
    protocols: tuple[str, ...]
    seeds: tuple[int, ...] | None
    settings: Mapping[str, Any]
    recipe: Literal["paper"] | None
    weights: str | None
    conventions: dict[str, Any]
    data: str | None
    data_options: dict[str, Any]
    split: str | None
    train_split: str | None
    tuned_on: Supervision


def choose_stored(*, again: bool, keep: bool) -> Stored:
    """Return what to do with stored items. Raises RequestError if both of the exclusive options are given."""
    if again and keep:
        raise RequestError("again makes anew what keep takes: give one of them.")
    return "again" if again else "keep" if keep else "take"


def forecast(
    requests: Sequence[Request], datasets: DatasetCache, stored: Stored, *, device: str, threads: int | None
) -> list[RunForecast]:
    """Forecast what each request would do, and its duration, from results of the runs folder and published ones."""
    from bench.execution.forecast import forecast_runs
    from bench.records.collection import list_results
    from bench.verbs.results import MEASURED, find_results

    known = [one.result for one in list_results(datasets.places, find_results(None) / MEASURED)]
    return forecast_runs(requests, datasets, known, device=device, threads=threads, stored=stored)


def make_requests(
    asked: Asked, threads: int | None, datasets: DatasetCache, say: Say
) -> tuple[list[Request], int | None]:
    """Make the requests that options stand for; also return the number of threads, which a track fixes.

    Raises RequestError before anything is trained. say: gets notes about former names of settings.
    """
    if asked.track is None:
        return _multiply(asked, datasets, say), threads
    from bench.tracks.track import read_track

    track = read_track(asked.track)
    threads = choose_threads(track, threads)
    return _select(track, asked, datasets, say), threads


def _multiply(asked: Asked, datasets: DatasetCache, say: Say) -> list[Request]:
    """Make the product of methods, protocols and seeds."""
    for name in asked.methods:
        registry.check_name(name)
    records = [_record(name, asked.conventions) for name in asked.protocols]
    splits = [name for name in (asked.split, asked.train_split) if name is not None]
    _check_data(records, asked.data, asked.data_options, splits, datasets)
    weights = {} if asked.weights is None else {"weights": asked.weights}
    settings = _assign_settings({**asked.settings, **weights}, asked.methods, datasets, say)
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


def _select(track: Track, asked: Asked, datasets: DatasetCache, say: Say) -> list[Request]:
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
        _assign_settings(asked.settings, joining, datasets, say),
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
    """Raise RequestError for a named method that none of the named protocols evaluates."""
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
                read_split(dataset, split)  # raises what is wrong; a list of one class is a split too
        except RequestError as error:
            wrong.append(error)
    if len(wrong) == len(records):
        raise wrong[0]


def _assign_settings(
    settings: Mapping[str, Any], methods: Sequence[str], datasets: DatasetCache, say: Say
) -> dict[str, dict[str, str]]:
    """Return the settings for each method: those it has, and those that no method has, so that it refuses them."""
    fields = {name: set(datasets.method(name, settings)[0].Config.model_fields) for name in methods}
    known = set().union(*fields.values())
    _note_former_names(settings, known, say)
    return {
        name: {
            key: value
            for key, value in settings.items()
            if current_name(key, own) in own or current_name(key, known) not in known
        }
        for name, own in fields.items()
    }


def _note_former_names(settings: Mapping[str, str], known: Collection[str], say: Say) -> None:
    """Report settings that were given under former names, since errors will name the present ones."""
    for name in settings:
        if (new := current_name(name, known)) != name:
            advice = " To set the number of epochs, use epochs." if name == "epoch" else ""
            say(f"note: {name} is the former name of {new}.{advice}")
