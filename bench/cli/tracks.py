"""The description that `show` prints of a track: as a document, and as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from bench.cli.documents import EntryDocument, TrackDocument, TrackEntryDocument
from bench.cli.output import align_columns, format_settings, name_program

if TYPE_CHECKING:
    from bench.tracks.track import Track


def list_entries() -> list[EntryDocument]:
    """Return every track with its summary and file."""
    from bench.tracks.track import list_tracks, read_track

    return [
        {"name": name, "summary": read_track(name).summary, "origin": str(path)} for name, path in list_tracks().items()
    ]


def describe_track(name: str) -> TrackDocument:
    """Describe a track: the settings shared by all its methods, then its groups and methods."""
    from bench.tracks.track import find_track, read_track

    track = read_track(name)
    document = track.model_dump(mode="json", exclude={"splits", "groups", "methods"})
    document["origin"] = str(find_track(name))
    document["groups"] = {
        group: {
            "protocols": {protocol: track.find_split(protocol) for protocol in members.protocols},
            "settings": members.settings,
        }
        for group, members in track.groups.items()
    }
    document["methods"] = {name: _describe_entry(track, name) for name in track.methods}
    return cast(TrackDocument, document)


def _describe_entry(track: Track, name: str) -> TrackEntryDocument:
    entry = track.methods[name]
    return {
        "group": entry.group,
        "method": entry.method or name,
        "like": entry.like,
        "settings": entry.settings,
        "search": None if entry.search is None else entry.search.model_dump(mode="json"),
    }


def format_track(track: TrackDocument) -> str:
    """Format a track as text: shared settings, groups with their protocols, then methods and how they were tuned."""
    shared = [
        ("data", " ".join(filter(None, [track["dataset"], format_settings(track["data_options"])]))),
        ("trains on", track["train_split"]),
        ("settings", format_settings(track["settings"])),
        *([("weights", f"digest {track['weights_digest']}")] if track["weights_digest"] else []),
        ("seeds", ", ".join(map(str, track["seeds"]))),
        ("threads", str(track["threads"])),
        ("budget", f"{track['minutes']} min for one seed of all methods, on two idle cores"),
        ("tuned on", "{train_split}, scored on {eval_split}".format(**track["tuning"])),
        ("file", track["origin"]),
    ]
    groups = [_format_group(track, name) for name in track["groups"]]
    run = name_program(f"python -m bench run --track {track['name']} --method all")
    head = f"{track['name']}, version {track['version']}: {track['summary']}"
    return "\n\n".join([head, align_columns(shared), *groups, run])


def _format_group(track: TrackDocument, group: str) -> str:
    """Format a group: its settings, its protocols with the splits that they evaluate, its methods."""
    members = track["groups"][group]
    settings = f": {format_settings(members['settings'])}" if members["settings"] else ""
    protocols = ", ".join(f"{protocol} on {split}" for protocol, split in members["protocols"].items())
    rows = [_format_entry(name, entry) for name, entry in track["methods"].items() if entry["group"] == group]
    return "\n".join([f"{group}{settings}", f"  evaluated under {protocols}", *([align_columns(rows)] if rows else [])])


def _format_entry(name: str, entry: TrackEntryDocument) -> tuple[str, str, str]:
    method = "" if entry["method"] == name else f"{entry['method']} with "
    settings = method + (format_settings(entry["settings"]) or "its defaults")
    if entry["like"] is not None:
        return f"  {name}", settings, f"(like {entry['like']})"
    if (search := entry["search"]) is None:
        return f"  {name}", settings, ""
    how = "{by}: trial {trial} of {trials}, {protocol} {score:.1%}".format(**search)
    return f"  {name}", settings, f"(chosen by {how})"
