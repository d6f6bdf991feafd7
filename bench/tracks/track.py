"""A track: a record, read from one TOML file, of data, splits, net, budget and each method's settings.

Results of a track are compared within it only. A result belongs to a track if it was made with the track's settings;
nothing in its record says so, and a track of a new version has other results.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench import registry
from bench.errors import BadFileError, UnknownNameError
from bench.execution.request import Request
from bench.records.result import Result, Supervision
from bench.scoring.protocol import Record

FOLDER = registry.ROOT / "bench" / "tracks"

Setting = bool | int | float | str
Group = Literal["maps", "attributions", "proposals", "baselines"]
"""Kinds of method, which share protocols and settings; baselines learn nothing."""

SUPERVISION: dict[str, Supervision] = {"labels": "none", "boxes": "val-boxes"}
"""What a search by each criterion saw beyond image labels."""


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
    """A row of a track. `method`: `name` or `name:variant`, if it is not the entry's own name."""

    group: Group
    method: str | None = None
    settings: dict[str, Setting] = {}
    search: Search | None = None


class Members(_Closed):
    """What the methods of a group share: the protocols that they are evaluated under, and settings."""

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
    train_split: str
    minutes: int = Field(ge=1)
    """What one seed of all its methods may take on two idle cores."""
    weights_digest: str | None = None
    """Digest of the file of initial weights, if `settings` name one."""
    seeds: tuple[int, ...] = (0,)
    threads: int = 1
    """Threads that compute, which are part of a training's address."""
    settings: dict[str, Setting] = {}
    splits: dict[str, str] = {}
    groups: dict[Group, Members]
    tuning: Tuning
    methods: dict[str, Entry]

    @model_validator(mode="after")
    def _check_groups(self) -> Track:
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

    def entry(self, name: str) -> Entry:
        """Return the entry of a method. Raises UnknownNameError."""
        if name not in self.methods:
            raise UnknownNameError(f"method of track {self.name}", name, self.methods)
        return self.methods[name]

    def list_settings(self, name: str) -> dict[str, Setting]:
        """Return all settings that the track fixes for one of its methods. Raises as `entry`."""
        entry = self.entry(name)
        return self.settings | self.groups[entry.group].settings | entry.settings

    def make_requests(self, name: str, seed: int, protocols: tuple[str, ...] = ()) -> list[Request]:
        """Make the requests of a method and seed, under these protocols or under all. Raises as `entry`."""
        entry = self.entry(name)
        tuned_on = SUPERVISION[entry.search.by] if entry.search else "none"
        return self.join(entry.method or name, entry.group, entry.settings, seed, protocols, tuned_on)

    def join(
        self,
        method: str,
        group: Group,
        own: Mapping[str, Any],
        seed: int,
        protocols: tuple[str, ...] = (),
        tuned_on: Supervision = "none",
    ) -> list[Request]:
        """Make the requests of any method under the track's conditions, with settings of its own.

        Of the settings that all share, a method gets those that it has. Raises as `registry.parse`.
        """
        fields = registry.parse(method, own)[0].Config.model_fields
        shared = self.settings | self.groups[group].settings
        settings = {key: value for key, value in shared.items() if key in fields} | dict(own)
        return [
            Request(
                method,
                self.protocols[protocol],
                seed=seed,
                settings=settings,
                data=self.dataset,
                split=self.splits.get(protocol),
                train_split=self.train_split,
                tuned_on=tuned_on,
            )
            for protocol in self.groups[group].protocols
            if not protocols or protocol in protocols
        ]

    def includes(self, result: Result) -> bool:
        """Return whether a result was made under the conditions of the track, by one of its methods or another.

        The settings of one of its methods must be those of an entry; another method needs those that all share.
        """
        record = self.protocols.get(result.protocol)
        if record is None or result.dataset != self.dataset:
            return False
        if self.weights_digest and result.weights not in (None, self.weights_digest):
            return False
        if result.conventions != registry.bind(record).conventions.model_dump(mode="json"):
            return False
        split = self.train_split if record.evaluates_training_split else self.splits.get(record.name, record.eval_split)
        if result.split != split or result.train_split not in (None, self.train_split):
            return False
        labels = (result.method, result.label)
        names = [name for name, entry in self.methods.items() if (entry.method or name) in labels]
        fixed = [self.list_settings(name) for name in names]
        if not names:
            fixed = [self.settings | group.settings for group in self.groups.values()]
        return any(_agree(settings, result.config) for settings in fixed)


def _agree(settings: Mapping[str, Setting], config: Mapping[str, Any]) -> bool:
    """Return whether a config has the values of settings, as far as it has such fields."""
    return all(_as_setting(config[key]) == value for key, value in settings.items() if key in config)


def _as_setting(value: Any) -> Any:
    """Return a config's value as a track file has it: a list joined by `+`, the name of a file."""
    return "+".join(map(str, value)) if isinstance(value, list) else value


def list_tracks() -> dict[str, Path]:
    """Return the file of every track that the project has, by name."""
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
    """Read a track by name or path; one that `extends` another has all of it but what it says itself.

    Raises UnknownNameError, and BadFileError naming the key that breaks a rule.
    """
    path = find_track(name)
    raw = _read_toml(path)
    if base := raw.pop("extends", None):
        raw = _merge(_read_toml(find_track(str(base))), raw)
    try:
        return Track.model_validate({**raw, "name": path.stem})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadFileError(path, first["msg"].removeprefix("Value error, "), row=where or None) from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadFileError(path, f"not valid TOML: {error}") from None
    if "name" in raw:
        raise BadFileError(path, "the track's name is the file's: remove the key", row="name")
    return raw


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table with the values of another in place of its own, table by table."""
    both = {key for key, value in changes.items() if isinstance(value, dict) and key in base}
    return {**base, **changes, **{key: _merge(base[key], changes[key]) for key in both}}
