"""`list` and `show`: methods, protocols, datasets, nets, tracks, tables, runs and submissions, briefly or in full."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from bench import registry
from bench.cli import describe, nets, options, tracks
from bench.cli.documents import EntryDocument, ReportedTableDocument, SheetDocument
from bench.cli.output import align_columns, echo, emit, name_program, say
from bench.errors import BadFileError, UnknownNameError
from bench.verbs.results import MEASURED

if TYPE_CHECKING:
    from bench.core.files import Places
    from bench.records.collection import StoredResult

LISTS = ("methods", "protocols", "datasets", "nets", "tracks", "tables", "runs", "submissions")

UNVERIFIED = "(unverified)"
"""Mark in the line of a method that was not compared with another implementation."""

Document = TypeVar("Document")


@click.command("list", epilog=options.example("list runs --method cam --mine"))
@click.argument(
    "name",
    default="methods",
    metavar=f"[{'|'.join(LISTS)}]",
    shell_complete=lambda _context, _argument, incomplete: [name for name in LISTS if name.startswith(incomplete)],
)
@options.only_protocols
@click.option(
    "--method",
    "methods",
    multiple=True,
    callback=options.parse_names,
    shell_complete=options.make_completer("methods"),
    help="Only runs of these methods; can be repeated or comma-separated.",
)
@click.option("--mine", is_flag=True, help="Only runs of the runs folder that are not published.")
@click.option("--published", is_flag=True, help="Only published runs.")
@options.places
@options.results
@options.plugin
@options.as_json
def list_(name: str, places: Places, results: Path, as_json: bool, **only: Any) -> None:
    """List methods, protocols, datasets, nets, tracks, papers' tables, runs or submissions.

    Runs are listed latest first, with the settings in which those of the same method differ.
    """
    if name not in LISTS:
        raise UnknownNameError("list", name, LISTS)
    if name == "runs":
        _list_runs(_select_runs(places, results / MEASURED, **only), results / MEASURED, as_json)
        return
    if any(only.values()):
        raise click.UsageError("--protocol, --method, --mine and --published apply to list runs")
    if name == "submissions":
        _list_submissions(places, as_json)
        return
    if name == "tables":
        _list_tables(places, results / MEASURED, as_json)
        return
    if name == "nets":
        _list_nets(as_json)
        return
    entries = _list_entries(name)
    if as_json:
        emit({name: entries})
    elif entries:
        echo(align_columns((entry["name"], entry["summary"]) for entry in entries))
        if any(UNVERIFIED in entry["summary"] for entry in entries):
            echo(f"{UNVERIFIED}: compared with no other implementation")


def _complete_name(context: click.Context, argument: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of anything that has one; after `run`, an address."""
    kinds = ["methods", "protocols", "datasets", "nets", "tracks"]
    is_run = (context.params.get("name") or ())[:1] == ("run",)
    return options.make_completer(*(["addresses"] if is_run else kinds))(context, argument, incomplete)


@click.command("show", epilog=options.example("show melm"))
@click.argument(
    "name",
    nargs=-1,
    required=True,
    metavar="NAME | run ADDRESS",
    shell_complete=_complete_name,
)
@click.option("--images", type=click.IntRange(min=1), help="Draw this many images of a run, the worst and the best.")
@click.option("--out", type=options.FILE, help="Page to write with --images.  [default: RUNS/sheets/ADDRESS.html]")
@options.dataset_options
@options.places
@options.results
@options.plugin
@options.as_json
def show(
    name: tuple[str, ...], places: Places, results: Path, as_json: bool, images: int | None, **drawing: Any
) -> None:
    """Show a method, protocol, dataset, net, track or run in full, or with --images draw predictions of a run.

    A dataset, a track or a protocol may be the path of the TOML file that describes it.
    """
    if images is not None:
        if len(name) != 2 or name[0] != "run":
            raise click.UsageError("--images needs a run: show run ADDRESS --images N")
        _draw_run(name[1], places, results / MEASURED, as_json, images, **drawing)
        return
    if any(drawing.values()):
        raise click.UsageError("--out and --data-option apply to show run ADDRESS --images N")
    if len(name) == 2 and name[0] == "run":
        _show_run(name[1], places, results / MEASURED, as_json)
        return
    if len(name) != 1:
        raise click.UsageError("expected one name, or run ADDRESS")
    _show_thing(_take_file(name[0]), places, as_json)


def _take_file(name: str) -> str:
    """Return a name, or that of the dataset, protocol or track in a TOML file. Raises BadFileError for others."""
    path = Path(name)
    if path.suffix != ".toml" or not path.is_file():
        return name
    keys = registry.read_keys(path)
    if "layout" in keys:
        from bench.data.datasets import use_description

        return use_description(path)
    if "family" in keys:
        registry.use_plugin(path)
        return path.stem
    if keys.isdisjoint({"groups", "extends"}):
        raise BadFileError(path, "expected a dataset (layout), a protocol (family) or a track (groups or extends)")
    return name


def _show_thing(name: str, places: Places, as_json: bool) -> None:
    """Show whatever has this name. Raises UnknownNameError."""
    from bench.data.datasets import list_datasets
    from bench.tracks.track import list_tracks

    protocols, datasets, all_tracks = registry.protocols(), list_datasets(), list_tracks()
    if name in protocols:
        return _print(describe.describe_protocol(registry.protocol(name)), describe.format_protocol, as_json)
    if name in datasets:
        return _print(describe.describe_dataset(name, places), describe.format_dataset, as_json)
    if name.partition(":")[0] in registry.methods():
        return _print(describe.describe_method(*registry.parse(name)), describe.format_method, as_json)
    if name in nets.NETS or nets.is_of_others(name):
        return _print(nets.describe_net(name), nets.format_net, as_json)
    if name in all_tracks or Path(name).is_file():
        return _print(tracks.describe_track(name), tracks.format_track, as_json)
    known = [*registry.methods(), *protocols, *datasets, *nets.NETS, *all_tracks]
    raise UnknownNameError("method, protocol, dataset, net or track", name, known, hint="python -m bench list")


def _print(document: Document, format_text: Callable[[Document], str], as_json: bool) -> None:
    if as_json:
        emit(cast(dict[str, Any], document))
    else:
        echo(format_text(document))


def _list_entries(name: str) -> list[EntryDocument]:
    if name == "tracks":
        return tracks.list_entries()
    if name == "datasets":
        from bench.data.datasets import list_datasets

        return [{"name": dataset, "summary": summary} for dataset, summary in list_datasets().items()]
    entries = registry.methods() if name == "methods" else registry.protocols()
    return [{"name": entry.name, "summary": entry.summary, "origin": entry.origin} for entry in entries.values()]


def _list_nets(as_json: bool) -> None:
    if as_json:
        emit({"nets": list(map(nets.describe_net, nets.NETS))})
    else:
        echo(nets.format_nets())


def _list_submissions(places: Places, as_json: bool) -> None:
    from bench.cli.cluster import format_submission, list_submissions

    entries = list_submissions(places)
    if as_json:
        emit({"submissions": entries})
    elif entries:
        echo(align_columns(map(format_submission, entries)))
    else:
        say(f"Nothing was submitted into {places.runs}.")


def _list_tables(places: Places, measured: Path, as_json: bool) -> None:
    from bench.records.collection import list_results
    from bench.tables.leaderboards import count_numbers, match_tables
    from bench.tables.trials import leave_out_trials

    tables = [
        cast(ReportedTableDocument, {"name": name, "summary": table.title, **count_numbers(table, found)})
        for name, (table, found) in match_tables(leave_out_trials(list_results(places, measured))).items()
    ]
    if as_json:
        emit({"tables": tables})
    else:
        echo(align_columns(map(_format_table_entry, tables)))


def _format_table_entry(table: ReportedTableDocument) -> tuple[str, str, str]:
    marked = f", {table['marked']} with marks" if table["marked"] else ""
    counts = f"{table['cells']} numbers, {table['measured']} measured{marked}"
    return table["name"], counts, shorten(table["summary"], 100, placeholder=" ...")


def _select_runs(
    places: Places, measured: Path, *, protocols: Sequence[str], methods: Sequence[str], mine: bool, published: bool
) -> list[StoredResult]:
    """Return the results that the options ask for, latest first."""
    from bench.records.collection import list_results

    if mine and published:
        raise click.UsageError("--mine and --published exclude each other")
    kept = [
        stored
        for stored in list_results(places, measured)
        if (not protocols or stored.result.protocol in protocols)
        and (not methods or {stored.result.label, stored.result.method} & set(methods))
        and (not (mine or published) or _is_published(stored, measured) == published)
    ]
    return sorted(kept, key=lambda stored: (stored.result.created, stored.result.address), reverse=True)


def _list_runs(known: Sequence[StoredResult], measured: Path, as_json: bool) -> None:
    from bench.tables.caveats import CAVEATS, EDITED

    if as_json:
        published = {"published": True}
        emit(
            {
                "runs": [
                    stored.result.model_dump(mode="json", by_alias=True)
                    | (published if _is_published(stored, measured) else {})
                    for stored in known
                ]
            }
        )
        return
    if known:
        echo(align_columns(_format_runs(known, measured)))
    else:
        say("No such runs.")
    if any(stored.result.is_edited for stored in known):
        echo(f"{EDITED} {CAVEATS[EDITED]}")


def _format_runs(known: Sequence[StoredResult], measured: Path) -> Iterator[tuple[str, ...]]:
    from bench.tables.caveats import EDITED
    from bench.tables.leaderboard import make_distinct_labels
    from bench.tables.numbers import percent

    labels = make_distinct_labels([stored.result for stored in known], lambda result: result.protocol)
    for stored, label in zip(known, labels, strict=True):
        result = stored.result
        marks = [*(["published"] if _is_published(stored, measured) else []), *([EDITED] if result.is_edited else [])]
        name, value = next(iter(result.metrics.items()), ("", None))
        seed = "" if result.seed is None else f"seed {result.seed}"
        where = f"{result.dataset} {result.split}"
        day, number = result.created[:10], f"{name} {percent(value)}"
        yield result.address, day, label, result.protocol, where, seed, number, " ".join(marks)


def _is_published(stored: StoredResult, measured: Path) -> bool:
    """Return whether a result is published rather than in the runs folder."""
    return stored.record.is_relative_to(measured)


def _show_run(address: str, places: Places, measured: Path, as_json: bool) -> None:
    from bench.cli.run_page import format_page
    from bench.records.collection import find_result
    from bench.tracks.command import make_command

    result = find_result(address, places, measured).result
    if as_json:
        emit(result.model_dump(mode="json", by_alias=True) | {"command": name_program(make_command(result))})
        return
    echo(format_page(result))


def _draw_run(
    address: str,
    places: Places,
    measured: Path,
    as_json: bool,
    images: int,
    out: Path | None,
    data_options: dict[str, Any],
) -> None:
    from bench.core.files import write_text
    from bench.gallery.contact_sheet import sheet
    from bench.records.collection import find_result
    from bench.site.sheet import render_page

    stored = find_result(address, places, measured)
    path = out or places.runs / "sheets" / f"{Path(stored.record).stem}.html"
    contact_sheet = sheet(stored, places, images, data_options)
    write_text(path, render_page(contact_sheet))
    if as_json:
        document: SheetDocument = {
            "written": str(path),
            "images": sum(map(len, contact_sheet.examples.values())),
            "notes": list(contact_sheet.notes),
        }
        emit(document)
    else:
        echo("\n".join([*(f"note: {note}" for note in contact_sheet.notes), f"Wrote {path}"]))
