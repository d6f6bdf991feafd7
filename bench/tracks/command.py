"""The command that makes a result again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from bench import registry
from bench.data.datasets import DESCRIPTIONS, list_datasets
from bench.errors import UnknownNameError
from bench.records.result import Result
from bench.scoring.protocol import BoundProtocol, read_record
from bench.tracks.track import Track, as_setting, list_tracks, read_track


def make_command(result: Result) -> str:
    """Return the command line that makes a result again, as typed in a shell.

    If the result belongs to a track, the command runs that track. Files, such as weights, are named as in the record,
    without their folder, and a user's dataset as NAME.toml. If the record does not tell given settings from defaults,
    the command has them all. Predictions from elsewhere are scored again from their FILE.
    """
    if "prediction" not in result.seconds:
        return shlex.join(["python", "-m", "bench", "score", *_list_scoring_options(result)])
    options = list(_list_track_options(result)) or list(_list_run_options(result))
    return shlex.join(["python", "-m", "bench", "run", *options, *_list_threads(result)])


def _list_track_options(result: Result) -> Iterator[str]:
    """List the options of a run of the first track that has the result; none if no track has it."""
    files = list_tracks()
    written = max((path.stat().st_mtime_ns for path in files.values()), default=0)
    for name in files:
        track = _read_track(name, written)
        if track.includes(result):
            entry = track.find_entry(result)
            yield from ("--track", name, "--method", entry or result.label, "--protocol", result.protocol)
            if entry is None:
                yield from _list_settings(result, track.list_shared_settings(result))
            yield from _list_seed(result)
            return


@cache
def _read_track(name: str, _written: int) -> Track:
    """Read a track once, until a track file is written: a site needs it for each of its results."""
    return read_track(name)


def _list_run_options(result: Result) -> Iterator[str]:
    bound = _find_protocol(result)
    protocol = bound.record if bound is not None else None
    yield from ("--method", result.label, "--protocol", result.protocol, *_list_data(result, bound))
    if result.train_split is not None and (protocol is None or protocol.train_split != result.train_split):
        yield from ("--train-split", result.train_split)
    yield from (*_list_settings(result, ()), *_list_seed(result), *_list_tuning(result))


def _list_scoring_options(result: Result) -> Iterator[str]:
    yield from ("--protocol", result.protocol, "--predictions", "FILE", "--name", result.method)
    yield from (*_list_data(result, _find_protocol(result)), *_list_tuning(result))
    if result.tier is not None:
        yield from ("--tier", result.tier)
    for extra in result.uses:
        yield from ("--uses", extra)
    if result.counts.get("missing_images"):
        yield "--allow-missing"


def _find_protocol(result: Result) -> BoundProtocol | None:
    """Find the protocol of a result; None if it is that of a plugin that is not loaded."""
    try:
        path = registry.find_protocol_file(result.protocol)
    except UnknownNameError:
        return None
    return _bind(path, path.stat().st_mtime_ns)


@cache
def _bind(path: Path, _written: int) -> BoundProtocol:
    """Read a protocol once, until its file is written."""
    return registry.bind(read_record(path))


def _list_data(result: Result, bound: BoundProtocol | None) -> Iterator[str]:
    """List the options of dataset, split and conventions, as far as they are not the protocol's own."""
    protocol = bound.record if bound is not None else None
    if protocol is None or protocol.dataset != result.dataset:
        yield from ("--data", _name_dataset(result.dataset))
    yield from _join_pairs("--data-option", result.data_options)
    if protocol is None or (not protocol.evaluates_training_split and protocol.eval_split != result.split):
        yield from ("--split", result.split)
    if bound is not None:
        usual = bound.conventions.model_dump(mode="json")
        yield from _join_pairs(
            "--convention", {key: value for key, value in result.conventions.items() if usual.get(key) != value}
        )


def _name_dataset(name: str) -> str:
    """Return the value of `--data` for a dataset: its name, or for a user's dataset the file that describes it."""
    if name in DESCRIPTIONS:
        return str(DESCRIPTIONS[name])
    return name if name in list_datasets() else f"{name}.toml"


def _list_settings(result: Result, but: Collection[str]) -> Iterator[str]:
    given = result.config if result.given is None else result.given
    settings = {key: result.config[key] for key in given if key in result.config and key not in but}
    if weights := settings.pop("weights", None):
        yield from ("--weights", weights)
    yield from _join_pairs("--set", settings)


def _join_pairs(option: str, pairs: dict[str, Any]) -> Iterator[str]:
    if pairs:
        yield from (option, ",".join(f"{key}={_format(value)}" for key, value in pairs.items()))


def _format(value: Any) -> str:
    setting = as_setting(value)
    return str(setting).lower() if isinstance(setting, bool) else str(setting)


def _list_seed(result: Result) -> Iterator[str]:
    if result.seed is not None:
        yield from ("--seed", str(result.seed))


def _list_tuning(result: Result) -> Iterator[str]:
    if result.tuned_on not in ("none", "unknown"):
        yield from ("--tuned-on", result.tuned_on)


def _list_threads(result: Result) -> Iterator[str]:
    """List the option for the number of CPU threads, which is part of a training's address."""
    threads = re.search(r", (\d+) threads?$", str(result.provenance.get("device", "")))
    if result.training is not None and threads:
        yield from ("--threads", threads[1])
