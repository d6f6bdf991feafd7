"""`report`: the static site of results."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from bench.cli import options
from bench.cli.documents import WrittenDocument
from bench.cli.output import echo, emit, say
from bench.errors import BenchError, format_count
from bench.verbs.results import MEASURED

if TYPE_CHECKING:
    from bench.core.files import Places
    from bench.records.collection import StoredResult
    from bench.records.running import State
    from bench.site.images import SplitPages

T = TypeVar("T")

_EVERY_S = 2.0
"""Seconds between two checks of the runs folder."""


@click.command("report", epilog=options.example("report --out site"))
@click.option("--out", type=options.FILE, required=True, help="Folder to write; an earlier site there is replaced.")
@click.option(
    "--images", type=click.IntRange(min=1), help="Pages of images: this many of each run made here, the worst and best."
)
@click.option("--errors", is_flag=True, help="Show what kinds of errors the runs made here have.")
@click.option(
    "--curves", is_flag=True, help="Draw the runs made here against the IoU threshold, tolerance or map threshold."
)
@click.option("--watch", is_flag=True, help="Rebuild as runs finish, with the curves of trainings, until Ctrl-C.")
@click.option("--open", "in_browser", is_flag=True, help="Open the first page in the browser.")
@options.places
@options.results
@options.plugin
@options.as_json
def report(
    *,
    out: Path,
    images: int | None,
    errors: bool,
    curves: bool,
    watch: bool,
    in_browser: bool,
    places: Places,
    results: Path,
    as_json: bool,
) -> None:
    """Write the static site of the results in the runs folder and the published ones.

    It has a page for each protocol and method with results, each result, and each paper's table. Open OUT/index.html;
    no server is needed.
    """
    from bench.records.running import list_running, read_state
    from bench.site.build import write
    from bench.tables.trials import leave_out_trials
    from bench.verbs.curves import can_draw, recall_curve
    from bench.verbs.errors import can_recall_errors, recall_errors
    from bench.verbs.results import list_rankable

    if watch and as_json:
        raise click.UsageError("--watch writes again and again: leave out --json.")

    @_without_collections()
    def build() -> None:
        known = leave_out_trials(list_rankable(places, results / MEASURED), say)
        running = list_running(places) if watch else []
        pages = _collect_images(known, places, images) if images else []
        analysed = _recall_each("errors", known, places, can_recall_errors, recall_errors) if errors else {}
        drawn = _recall_each("curves", known, places, can_draw, recall_curve) if curves else {}
        if images and not pages:
            _say_nothing("images", places)
        written = write(known, out, pages, analysed, running, drawn)
        if as_json:
            document: WrittenDocument = {"written": [str(path) for path in written]}
            emit(document)
        else:
            trained = f", {format_count(len(running), 'training')} in progress" if running else ""
            echo(f"Wrote {format_count(len(written), 'file')}: {out / 'index.html'}{trained}")

    begin = read_state(places, results / MEASURED)
    build()
    if in_browser:
        _open_page(out / "index.html")
    if watch:
        _rebuild(build, begin, places, results / MEASURED)


@contextmanager
def _without_collections() -> Iterator[None]:
    """Disable garbage collection: a site has hardly any cycles, and the search takes a sixth of an update's time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _rebuild(build: Callable[[], None], seen: State, places: Places, measured: Path) -> None:
    """Rebuild whenever a result, or the log of a training, differs from the last seen state, until Ctrl-C.

    Errors of a build are printed; the next change may fix them.
    """
    from bench.records.running import read_state

    with suppress(KeyboardInterrupt):
        while True:
            time.sleep(_EVERY_S)
            if (now := read_state(places, measured)) != seen:
                seen = now
                try:
                    build()
                except (BenchError, OSError) as error:
                    say(f"error: {error}")


def _open_page(page: Path) -> None:
    import webbrowser

    if not webbrowser.open(page.resolve().as_uri()):
        say(f"note: no browser was found: open {page}")


def _recall_each(
    what: str,
    known: Sequence[StoredResult],
    places: Places,
    can_make: Callable[[StoredResult, Places], bool],
    recall: Callable[[StoredResult, Places], T | None],
) -> dict[str, T]:
    """Make `what` of each result for which it can be made here, or recall it from the cache; by address.

    If making it fails nevertheless, the result is left out with a note.
    """
    from bench.cli.progress import make_reporter

    here = [one for one in known if can_make(one, places)]
    if not here:
        _say_nothing(what, places)
    made = {}
    with make_reporter().task(what, len(here), unit="results") as step:
        for one in here:
            try:
                if (found := recall(one, places)) is not None:
                    made[one.result.address] = found
            except BenchError as error:
                say(f"note: no {what} of result {one.result.address}: {error}")
            step()
    return made


def _say_nothing(what: str, places: Places) -> None:
    say(f"note: no {what}: no result has them and what they are made of in {places.runs}.")


def _collect_images(known: list[StoredResult], places: Places, number: int) -> list[SplitPages]:
    """Collect the images of runs whose predictions are here; print why other runs of this machine cannot be shown."""
    from bench.cli.progress import make_reporter
    from bench.gallery.split_images import collect_splits
    from bench.site.images import make_split_pages

    return make_split_pages([*collect_splits(known, places, number, make_reporter())], places.cache / "pictures")
