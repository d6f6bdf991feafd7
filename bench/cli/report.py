"""`report`: the static site of results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli import options
from bench.cli.documents import WrittenDocument
from bench.cli.output import echo, emit, say
from bench.errors import BenchError, format_count
from bench.verbs.results import MEASURED

if TYPE_CHECKING:
    from bench.analysis.errors import ErrorAnalysis
    from bench.core.files import Places
    from bench.records.collection import StoredResult


@click.command("report", epilog=options.example("report --out site"))
@click.option("--out", type=options.FILE, required=True, help="Folder to write; an earlier site there is replaced.")
@click.option(
    "--images", type=click.IntRange(min=1), help="Draw this many images of each run made here, the worst and the best."
)
@click.option("--errors", is_flag=True, help="Show what kinds of errors the runs made here have.")
@options.places
@options.results
@options.plugin
@options.as_json
def report(out: Path, images: int | None, errors: bool, places: Places, results: Path, as_json: bool) -> None:
    """Write the static site of the results in the runs folder and the published ones.

    It has a page for each protocol and method with results, each result, and each paper's table. Open OUT/index.html;
    no server is needed.
    """
    from bench.site.build import write
    from bench.verbs.results import list_rankable

    known = list_rankable(places, results / MEASURED)
    sheets = dict(_draw_sheets(known, places, images)) if images else {}
    written = write(known, out, sheets, dict(_analyse_errors(known, places)) if errors else {})
    if as_json:
        document: WrittenDocument = {"written": [str(path) for path in written]}
        emit(document)
    else:
        echo(f"Wrote {format_count(len(written), 'file')}: {out / 'index.html'}")


def _analyse_errors(known: list[StoredResult], places: Places) -> Iterator[tuple[str, ErrorAnalysis]]:
    """Yield the address and the errors of each result of boxes whose predictions are here."""
    from bench.analysis.errors import can_analyse
    from bench.cli.progress import make_reporter
    from bench.records.store import Store
    from bench.verbs.errors import analyse_stored

    here = [
        one
        for one in known
        if can_analyse(one.result) and Store(places).predictions_folder(one.result.predictions).is_dir()
    ]
    with make_reporter().task("errors", len(here), unit="results") as step:
        for one in here:
            try:
                yield one.result.address, analyse_stored(one, places).analysis
            except BenchError as error:
                say(f"note: no errors of result {one.result.address}: {error}")
            step()


def _draw_sheets(known: list[StoredResult], places: Places, images: int) -> Iterator[tuple[str, str]]:
    """Yield the address and contact sheet of each result that can be drawn; print why others of this machine cannot."""
    from bench.gallery.contact_sheet import sheet
    from bench.records.store import Store
    from bench.site.sheet import render_page

    for one in known:
        if not Store(places).predictions_folder(one.result.predictions).is_dir():
            continue  # published by others, or scored from a file
        try:
            yield one.result.address, render_page(sheet(one, places, images))
        except BenchError as error:
            say(f"note: no images drawn for result {one.result.address}: {error}")
