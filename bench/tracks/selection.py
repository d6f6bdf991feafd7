"""The part of a track that a command runs: entries by name, and other methods that join them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.core.files import Places, file_digest
from bench.core.setting_names import current_name
from bench.errors import MissingDataError, RequestError, UnknownNameError, format_names
from bench.records.result import Supervision

if TYPE_CHECKING:
    from bench.execution.request import Request
    from bench.recipe import MethodClass
    from bench.tracks.track import Group, Track

ALL = "all"
"""The name that stands for every entry."""


def select_methods(track: Track, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the entries among these names, and the methods that are not entries. Raises as `registry.check_name`."""
    chosen = dict.fromkeys(each for name in names for each in (track.methods if name == ALL else [name]))
    joining = [name for name in chosen if name not in track.methods]
    for name in joining:
        try:
            registry.check_name(name)
        except UnknownNameError as error:
            known = [ALL, *track.methods, *registry.methods()] if error.what == "method" else error.known
            raise UnknownNameError(error.what, error.name, known, hint="python -m bench list methods") from None
    return [name for name in chosen if name in track.methods], joining


def check_protocols(track: Track, names: Sequence[str]) -> None:
    """Raise UnknownNameError for a protocol that the track does not have."""
    for name in names:
        if name not in track.protocols:
            raise UnknownNameError(f"protocol of track {track.name}", name, track.protocols)


def refuse_changes(entries: Sequence[str], settings: Mapping[str, Any], tuned_on: Supervision) -> None:
    """Raise RequestError for settings, or their supervision, if any entry runs, since entries have their own."""
    changed = [*(["--set"] if settings else []), *(["--tuned-on"] if tuned_on != "none" else [])]
    if changed and entries:
        raise RequestError(
            f"{' and '.join(changed)}: the track sets these for its methods ({format_names(entries, 3)}). "
            "Leave it out, or give it for methods that the track does not list."
        )


def make_requests(
    track: Track,
    entries: Sequence[str],
    joining: Mapping[str, Mapping[str, Any]],
    *,
    protocols: tuple[str, ...] = (),
    seeds: Sequence[int] | None = None,
    tuned_on: Supervision = "none",
) -> list[Request]:
    """Make the requests of entries, then those of joining methods with their settings, seed by seed.

    Methods that learn nothing get one seed. Raises RequestError for a method without any of the protocols, and for a
    setting that the track fixes.
    """
    groups = {name: find_group(track, name, settings) for name, settings in joining.items()}
    for name, settings in joining.items():
        refuse_fixed(track, name, groups[name], settings)
    requests = []
    for number, seed in enumerate(seeds or track.seeds):
        for name in entries:
            if number == 0 or track.entry(name).group != "baselines":
                requests += track.make_requests(name, seed, protocols)
        for name, settings in joining.items():
            if number == 0 or groups[name] != "baselines":
                requests += track.join(name, groups[name], settings, seed, protocols, tuned_on)
    return requests


def find_group(track: Track, method: str, settings: Mapping[str, Any]) -> Group:
    """Return the group that a method joins, by its class. Raises RequestError if the track has no such group."""
    group = infer_group(registry.parse(method, settings)[0])
    if group not in track.groups:
        raise RequestError(f"{method} is one of the {group}, and track {track.name} has {', '.join(track.groups)}.")
    return group


def infer_group(cls: MethodClass) -> Group:
    """Return the group of a method by its class."""
    from bench.method import Attribution, MapMethod, Predictor

    if issubclass(cls, Predictor):
        return "baselines"
    if issubclass(cls, Attribution):
        return "attributions"
    return "maps" if issubclass(cls, MapMethod) else "proposals"


def refuse_fixed(track: Track, method: str, group: Group, settings: Mapping[str, Any]) -> None:
    """Raise RequestError for a setting of a method that the track fixes for its group."""
    fields = registry.parse(method, settings)[0].Config.model_fields
    fixed = track.share_settings(group)
    for key in settings:
        if (name := current_name(key, fields)) in fixed:
            raise RequestError(f"--set {key}: track {track.name} fixes {name}={fixed[name]} for {group}. Leave it out.")


def use_weights(track: Track, requests: Sequence[Request], given: str | None, places: Places) -> list[Request]:
    """Return the requests with the path of the weights in place of the track's name for them.

    Raises as `find_weights`.
    """
    named = track.settings.get("weights")
    if named in (None, "none", "imagenet") or all(request.settings.get("weights") != named for request in requests):
        if given is not None:
            raise RequestError(f"--weights {given}: what runs of track {track.name} reads no weights from a file.")
        return list(requests)
    path = str(find_weights(track, str(named), given, places))
    return [
        replace(request, settings={**request.settings, "weights": path})
        if request.settings.get("weights") == named
        else request
        for request in requests
    ]


def find_weights(track: Track, named: str, given: str | None, places: Places) -> Path:
    """Find the weights: at `given`, or by name in the working directory or in `weights` of the data root.

    Raises RequestError for a file of another name or content, MissingDataError if there is none.
    """
    beside = [] if places.data_root is None else [places.data_root / "weights" / named]
    candidates = [Path(named), *beside] if given is None else [Path(given)]
    if candidates[0].name != Path(named).name:
        raise RequestError(f"--weights {given}: track {track.name} uses {named}. Give the path of that file.")
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        how = (
            "Put it into the working directory or into weights of the data root, or give its path as --weights FILE. "
            "With other weights it is another track: copy the track's file, and name them there."
        )
        raise MissingDataError(f"{named}, the weights of track {track.name},", candidates[-1], how)
    if track.weights_digest is not None and (found := file_digest(path)) != track.weights_digest:
        raise RequestError(
            f"{path} is not the file of track {track.name}: its digest is {found}, not {track.weights_digest}."
        )
    return path
