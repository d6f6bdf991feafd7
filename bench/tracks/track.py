"""A track: a record, read from one TOML file, of data, splits, net, budget and each method's settings.

Results of a track are compared within it only. A result belongs to a track if it was made with the track's settings;
its record does not name the track, and a new version of a track has other results.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from bench import registry
from bench.core.toml import check_toml, read_toml
from bench.errors import BadFileError, UnknownNameError
from bench.execution.request import Request
from bench.records.result import Result, Supervision
from bench.scoring.protocol import Record, dump_conventions

FOLDER = registry.ROOT / "bench" / "tracks"

Setting = bool | int | float | str
Group = Literal["maps", "attributions", "proposals", "baselines"]
"""Kinds of method, which share protocols and settings; baselines learn nothing."""

SUPERVISION: dict[str, Supervision] = {"labels": "none", "boxes": "val-boxes"}
"""The supervision beyond image labels that a search by each criterion used."""


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Search(_Closed):
    """How a method's settings were chosen: written by `bench tune`, and by nothing else."""

    by: Literal["labels", "boxes"]
    trials: int = Field(ge=1)
    seed: int = Field(ge=0)
    protocol: str
    score: float
    """The winner's first metric on the held-out part, a fraction."""
    trial: int = Field(ge=0)
    """The number of the winner."""


class Entry(_Closed):
    """A row of a track. `method`: `name` or `name:variant`, if it is not the entry's own name.

    like: an entry whose settings and search this one shares, such as another read-out of the same network.
    """

    group: Group
    method: str | None = None
    like: str | None = None
    settings: dict[str, Setting] = {}
    search: Search | None = None


class Members(_Closed):
    """What the methods of a group share: the protocols under which they are evaluated, and settings."""

    protocols: tuple[str, ...] = Field(min_length=1)
    settings: dict[str, Setting] = {}


class Tuning(_Closed):
    """The parts of the training split on which settings are chosen, and the protocols that score them.

    labels: a protocol that looks at image labels only. boxes: a protocol for each group that is tuned.
    """

    train_split: str
    eval_split: str
    labels: str
    boxes: dict[Group, str] = {}


class Track(_Closed):
    """A track. `splits`: the split on which each protocol evaluates, unless it evaluates the training split."""

    name: str
    version: int = Field(ge=1)
    summary: str
    dataset: str
    data_options: dict[str, Setting] = {}
    train_split: str
    minutes: int = Field(ge=1)
    """The limit for one seed of all its methods on two idle cores."""
    weights_digest: str | None = None
    """Digest of the file of initial weights, if `settings` name one."""
    seeds: tuple[int, ...] = (0,)
    threads: int = 1
    """Number of computing threads, which is part of a training's address."""
    settings: dict[str, Setting] = {}
    splits: dict[str, str] = {}
    groups: dict[Group, Members]
    tuning: Tuning
    methods: dict[str, Entry]

    @field_validator("methods")
    @classmethod
    def _share_searches(cls, methods: dict[str, Entry]) -> dict[str, Entry]:
        for name, entry in methods.items():
            if entry.like is not None and (entry.like not in methods or methods[entry.like].like or entry.search):
                raise ValueError(f"{name}: like names an entry with a search of its own, and excludes a search")
        return {name: _share_search(entry, methods) for name, entry in methods.items()}

    @model_validator(mode="after")
    def _check_parts(self) -> Track:
        if self.weights_digest and "weights" not in self.settings:
            raise ValueError("weights_digest: the settings name no weights")
        for name, entry in self.methods.items():
            if entry.group not in self.groups:
                raise ValueError(f"methods.{name}: the track has no group {entry.group}")
        if unknown := set(self.splits) - {name for group in self.groups.values() for name in group.protocols}:
            raise ValueError(f"splits.{min(unknown)}: no group is evaluated under it")
        return self

    @cached_property
    def protocols(self) -> dict[str, Record]:
        """The record of every protocol, in the order of the groups. Raises UnknownNameError."""
        names = dict.fromkeys(name for group in self.groups.values() for name in group.protocols)
        return {name: registry.protocol(name) for name in names}

    @cached_property
    def conventions(self) -> dict[str, dict[str, Any]]:
        """The conventions of every protocol, as recorded in results. Raises as `registry.bind`."""
        return {name: dump_conventions(registry.bind(record).conventions) for name, record in self.protocols.items()}

    def find_split(self, protocol: str) -> str:
        """Return the split that a protocol of the track evaluates."""
        record = self.protocols[protocol]
        return self.train_split if record.evaluates_training_split else self.splits.get(protocol, record.eval_split)

    def entry(self, name: str) -> Entry:
        """Return the entry of a method. Raises UnknownNameError."""
        if name not in self.methods:
            raise UnknownNameError(f"method of track {self.name}", name, self.methods)
        return self.methods[name]

    def share_settings(self, group: Group) -> dict[str, Setting]:
        """Return the settings that all methods of a group share."""
        return self.settings | self.groups[group].settings

    def list_settings(self, name: str) -> dict[str, Setting]:
        """Return all settings that the track fixes for one of its methods. Raises as `entry`."""
        entry = self.entry(name)
        return self.share_settings(entry.group) | entry.settings

    def make_requests(self, name: str, seed: int, protocols: tuple[str, ...] = ()) -> list[Request]:
        """Make the requests of a method and seed, under these protocols or under all. Raises as `entry`."""
        entry = self.entry(name)
        tuned_on = SUPERVISION[entry.search.by] if entry.search else "none"
        requests = self.join(entry.method or name, entry.group, entry.settings, seed, protocols, tuned_on)
        return requests if entry.method is None else [replace(request, entry=name) for request in requests]

    def join(
        self,
        method: str,
        group: Group,
        own: Mapping[str, Any],
        seed: int,
        protocols: tuple[str, ...] = (),
        tuned_on: Supervision = "none",
    ) -> list[Request]:
        """Make the requests of any method under the track's conditions, with `own` settings.

        The method gets those of the shared settings that it has, and those of the group's protocols that accept its
        predictions. Raises as `registry.parse`.
        """
        cls = registry.parse(method, own)[0]
        fields, shared = cls.Config.model_fields, self.share_settings(group)
        registry.check_settings(f"track {self.name}", shared, cls)
        settings = {key: value for key, value in shared.items() if key in fields} | dict(own)
        return [
            Request(
                method,
                self.protocols[protocol],
                seed=seed,
                settings=settings,
                data=self.dataset,
                data_options=self.data_options,
                split=self.splits.get(protocol),
                train_split=self.train_split,
                tuned_on=tuned_on,
            )
            for protocol in self.groups[group].protocols
            if (not protocols or protocol in protocols)
            and not set(self.protocols[protocol].predicts).isdisjoint(cls.kinds)
        ]

    def includes(self, result: Result) -> bool:
        """Return whether a result was made under the conditions of the track, by one of its methods or another.

        A method of the track must have the settings of its entry, any other the settings that all share.
        """
        return self._has_conditions(result) and (self.find_entry(result) is not None or self._may_join(result))

    def find_entry(self, result: Result) -> str | None:
        """Return the entry whose method, group and settings a result has; None if there is none."""
        for name in self._list_entries(result):
            evaluated = result.protocol in self.groups[self.methods[name].group].protocols
            if evaluated and _agree(self.list_settings(name), result):
                return name
        return None

    def list_shared_settings(self, result: Result) -> dict[str, Setting]:
        """Return the settings that the track gives to a result of a method without an entry."""
        return self.share_settings(_infer_group(result))

    def _has_conditions(self, result: Result) -> bool:
        """Return whether a result has the track's data, splits, conventions and weights."""
        return (
            result.protocol in self.protocols
            and result.dataset == self.dataset
            and result.split == self.find_split(result.protocol)
            and result.train_split in (None, self.train_split)
            and result.conventions == self.conventions[result.protocol]
            and self._has_weights(result)
            and "prediction" in result.seconds  # a scored file has none, and may be from anywhere
        )

    def _has_weights(self, result: Result) -> bool:
        """Return whether a result that names the track's file of weights was made with that very file."""
        names_it = result.config.get("weights") == self.settings.get("weights")
        return not self.weights_digest or not names_it or result.weights == self.weights_digest

    def _may_join(self, result: Result) -> bool:
        """Return whether a result is by a method without an entry, run as `join` would run it."""
        group = _infer_group(result)
        return (
            not self._list_entries(result)
            and group in self.groups
            and result.protocol in self.groups[group].protocols
            and _agree(self.share_settings(group), result, own=True)
        )

    def _list_entries(self, result: Result) -> list[str]:
        """List the entries that have the method and variant of a result."""
        return [name for name, entry in self.methods.items() if _is_of(result, entry.method or name)]


def _share_search(entry: Entry, methods: Mapping[str, Entry]) -> Entry:
    """Return an entry with the settings and the search of the entry named by its `like`, if any."""
    if entry.like is None:
        return entry
    model = methods[entry.like]
    return entry.model_copy(update={"settings": model.settings | entry.settings, "search": model.search})


def _is_of(result: Result, method: str) -> bool:
    """Return whether a result is by `name:variant`, or by `name`, which means the default variant."""
    if method == result.label:
        return True
    return method == result.method and registry.default_variant(method) in (None, result.variant)


def _infer_group(result: Result) -> Group:
    """Return the group of a method without an entry, by what it learns from."""
    if result.train_split is None:
        return "baselines"
    if "proposals" in result.config:
        return "proposals"
    return "attributions" if "base" in result.config else "maps"


def _agree(settings: Mapping[str, Setting], result: Result, *, own: bool = False) -> bool:
    """Return whether a result has these settings, where it has such fields, and, unless `own`, was given no others.

    Records of earlier versions do not list the given settings, so others go unnoticed there.
    """
    config = result.config
    has_others = not own and not set(result.given or ()) <= settings.keys()
    return not has_others and all(as_setting(config[key]) == value for key, value in settings.items() if key in config)


def as_setting(value: Any) -> Any:
    """Return a config's value as written in a track file: a list joined by `+`, None as `none`.

    >>> as_setting((480, 576)), as_setting(None), as_setting(0.5)
    ('480+576', 'none', 0.5)
    """
    if value is None:
        return "none"
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else value


def list_tracks() -> dict[str, Path]:
    """Return the file of every track of the project, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}


def find_track(name: str) -> Path:
    """Return the file of a track, given by name or as the path of a TOML file. Raises UnknownNameError."""
    if name.endswith(".toml") and Path(name).is_file():
        return Path(name)
    known = list_tracks()
    if name not in known:
        raise UnknownNameError("track", name, known, hint="python -m bench list tracks")
    return known[name]


def read_track(name: str) -> Track:
    """Read a track by name or path; a track that `extends` another inherits whatever it does not set itself.

    It may leave out inherited methods, `without = [...]`; the splits of protocols that no group uses are dropped.
    Raises UnknownNameError, and BadFileError naming the key that breaks a rule.
    """
    path = find_track(name)
    raw = _read_nameless(path)
    if base := raw.pop("extends", None):
        raw = _extend(_read_nameless(find_track(str(base))), raw, path)
    return check_toml(path, {**raw, "name": path.stem}, Track)


def _read_nameless(path: Path) -> dict[str, Any]:
    raw = read_toml(path)
    if "name" in raw:
        raise BadFileError(path, "name: the track's name is the file's: remove the key")
    return raw


def _extend(base: Mapping[str, Any], changes: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a track with changes, without the methods that they leave out and the splits that no group uses any more.

    Raises BadFileError for an unknown method. Anything else malformed is left for `check_toml` to report.
    """
    without = changes.pop("without", [])
    raw = _merge(base, changes)
    if not isinstance(without, list):
        raise BadFileError(path, f"without: expected a list of methods, but got {without!r}")
    with suppress(AttributeError, KeyError, TypeError):
        for name in without:
            if name not in raw["methods"]:
                raise BadFileError(
                    path, f"without: {UnknownNameError('method of the extended track', name, raw['methods'])}"
                )
            del raw["methods"][name]
        evaluated = {protocol for group in raw["groups"].values() for protocol in group["protocols"]}
        kept = evaluated | changes.get("splits", {}).keys()
        raw["splits"] = {protocol: split for protocol, split in raw["splits"].items() if protocol in kept}
    return raw


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table updated with the values of another, recursively."""
    both = {key for key, value in changes.items() if isinstance(value, dict) and key in base}
    return {**base, **changes, **{key: _merge(base[key], changes[key]) for key in both}}
