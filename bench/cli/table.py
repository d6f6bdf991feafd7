"""`table` and `publish`: leaderboards and papers' tables, and results copied into the repository."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from bench import registry
from bench.cli import options
from bench.cli.documents import TableDocument, TablesDocument, WrittenDocument
from bench.cli.output import echo, emit, say
from bench.errors import BenchError, RequestError, format_count
from bench.verbs.results import LEADERBOARD, MEASURED, find_results, is_leaderboard, make_tables

if TYPE_CHECKING:
    from bench.core.files import Places
    from bench.records.collection import StoredResult
    from bench.records.store import Store
    from bench.tables.model import Table


@click.command("table", epilog=options.example("table voc07-point-val"))
@options.track
@click.argument(
    "name",
    default=LEADERBOARD,
    metavar="[leaderboard | PROTOCOL | TRACK | PAPER-NUMBER]",
    shell_complete=options.make_completer("tables", "protocols", "tracks"),
)
@options.only_protocols
@click.option(
    "--data",
    metavar="NAME|FILE.toml",
    callback=options.parse_dataset,
    shell_complete=options.make_completer("datasets"),
    help="Results on this dataset (default: each protocol's own); a paper's table shows them as not comparable.",
)
@click.option("--trials", is_flag=True, help="With trials of `tune`: results on another part of the split trained on.")
@click.option("--costs", is_flag=True, help="Columns of a leaderboard: size, operations, memory and speed.")
@options.format_
@options.places
@options.results
@options.plugin
@options.as_json
def table(
    *,
    track: str | None,
    name: str,
    protocols: tuple[str, ...],
    data: str | None,
    trials: bool,
    costs: bool,
    format_: str,
    places: Places,
    results: Path,
    as_json: bool,
) -> None:
    """Print the leaderboard, or a paper's table with measured results below the reported ones.

    The results are those of the runs folder and the published ones. The leaderboard has a table for each protocol, best
    method first; rows evaluated under the same conventions are ranked by the first metric, as 1 + the number of
    significantly better rows. The papers' tables, such as melm-3, leave out synthetic results; python -m bench list
    tables lists them. Numbers that cannot be compared are marked, and a footnote says why. With a track, the
    leaderboards have the results of that track only.
    """
    if costs and track is None and not is_leaderboard(name):
        raise RequestError("--costs is for leaderboards: a paper's table has no such columns.")
    where: dict[str, Any] = {"places": places, "measured": results / MEASURED}
    tables = make_tables(name, track=track, protocols=protocols, data=data, trials=trials, **where, say=say)
    if as_json:
        from bench.tables.render import describe_table

        described = [cast(TableDocument, describe_table(each)) for each in tables]
        document: TablesDocument = {"tables": described}
        emit(document)
        return
    echo(_format_tables(tables, format_, widen=is_leaderboard(name), costs=costs))


@click.command("publish", epilog=options.example("publish 4f2a90 --results my-results"))
@click.argument("address", required=False, shell_complete=options.make_completer("addresses"))
@options.track
@click.option("--into", type=options.FILE, help="Folder to copy into.  [default: RESULTS/measured]")
@options.allow_dirty
@options.places
@options.results
@options.as_json
def publish(
    address: str | None,
    track: str | None,
    into: Path | None,
    *,
    allow_dirty: bool,
    places: Places,
    results: Path,
    as_json: bool,
) -> None:
    """Copy a result, or all results of a track, to the published ones: records, and outcomes if they are small.

    Refused is what a reviewer would object to: a record that is not whole or contradicts a published one, one that
    does not say what its settings were chosen on, or one from an edited checkout, of which no revision has the code.
    """
    from bench.analysis.recheck import select_whole
    from bench.records.collection import StoredResult
    from bench.records.result import read_result
    from bench.records.store import Store

    if (address is None) == (track is None):
        raise click.UsageError("expected the address of a result, or --track", click.get_current_context())
    registry.refuse_installed(into := into or results / MEASURED, options.OWN_RESULTS)
    store = Store(places)
    review = partial(_review, store=store, into=into, allow_dirty=allow_dirty)
    if track is not None:
        reviewed = select_whole(_list_results(track, store, allow_dirty), review)
    else:
        record = store.result_path(store.complete_address(str(address)))
        reviewed = [review(StoredResult(read_result(record), record))]
    written = [str(path) for path in _publish_each(reviewed, store, into, allow_dirty)]
    if as_json:
        document: WrittenDocument = {"written": written}
        emit(document)
        return
    for path in written:
        echo(f"Wrote {path}")


def _publish_each(reviewed: Sequence[StoredResult], store: Store, into: Path, allow_dirty: bool) -> Iterator[Path]:
    """Publish results and yield the files; if one fails, report how many were published before it."""
    for number, stored in enumerate(reviewed):
        try:
            yield from store.publish(stored, into, allow_dirty=allow_dirty)
        except (BenchError, OSError):
            if number:
                done = f"{number} of {format_count(len(reviewed), 'result')}"
                say(f"{done} were published into {into} before {stored.result.address}.")
            raise


def format_leaderboards(track: str, protocols: Sequence[str], places: Places) -> str:
    """Format the leaderboards of a track under these protocols as text."""
    tables = make_tables(track=track, protocols=protocols, places=places, measured=find_results() / MEASURED, say=say)
    return _format_tables(tables, "text", widen=True)


def format_paper_table(name: str, data: str | None, results: Sequence[StoredResult]) -> str:
    """Format a paper's table as text, with these results only; data: the dataset of a try-out."""
    from bench.tables.leaderboards import paper_table

    return _format_tables([paper_table(name, results, data)], "text", widen=False)


def _format_tables(tables: Sequence[Table], format_: str, *, widen: bool, costs: bool = False) -> str:
    """Format tables; widen: with further columns, or those of costs, which CSV has anyway."""
    from bench.tables.leaderboard import add_columns
    from bench.tables.render import FORMATS

    shown = [add_columns(each, costs=costs) for each in tables] if widen and format_ != "csv" else tables
    return "\n\n".join(FORMATS[format_](each) for each in shown)


def _list_results(name: str, store: Store, allow_dirty: bool) -> list[StoredResult]:
    """List the results of a track in the runs folder. Raises RequestError if there are none, or some are edited."""
    from bench.records.collection import read_each
    from bench.records.result import list_records, require_committed
    from bench.tracks.track import read_track

    track, folder = read_track(name), store.places.runs / "results"
    found = [stored for stored in read_each(list_records(folder)) if track.includes(stored.result)]
    if not found:
        raise RequestError(f"No results of track {name} in {folder}.")
    require_committed([] if allow_dirty else [stored.result for stored in found])
    return sorted(found, key=lambda stored: (stored.result.created, stored.result.address))


def _review(stored: StoredResult, *, store: Store, into: Path, allow_dirty: bool) -> StoredResult:
    """Return a result with its keys, to be published in `into`.

    Raises BadFileError or RequestError for what a reviewer would object to.
    """
    from bench.analysis.review import require_reviewed
    from bench.records.result import read_result

    whole, published = store.add_keys(stored), into / stored.result.file_name
    other = read_result(published) if published.exists() else None
    require_reviewed(whole, other, allow_dirty=allow_dirty)
    return whole
