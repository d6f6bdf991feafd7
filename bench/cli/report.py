"""`report`: the static site."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli import options, table
from bench.cli.output import emit, say
from bench.errors import BenchError, amount

if TYPE_CHECKING:
    from bench.core.files import Places
    from bench.records.collection import Kept


@click.command("report")
@click.option("--out", type=options.FILE, required=True, help="Folder to write; a site written before is replaced.")
@click.option("--images", type=click.IntRange(min=1), help="Draw so many images of each run, the worst and the best.")
@options.places
@options.plugin
@options.as_json
def report(out: Path, images: int | None, places: Places, as_json: bool) -> None:
    """The static site, from the runs folder and results/measured: open OUT/index.html, no server is needed.

    A page for each protocol and method with results, each result, and each paper's table.
    """
    from bench.records.collection import kept
    from bench.site.build import write

    known = kept(places, table.MEASURED)
    written = write(known, out, dict(_pictures(known, places, images)) if images else {})
    if as_json:
        emit({"written": [str(path) for path in written]})
    else:
        click.echo(f"Wrote {amount(len(written), 'file')}: {out / 'index.html'}")


def _pictures(known: list[Kept], places: Places, images: int) -> Iterator[tuple[str, str]]:
    """Address and page of each result whose pictures can be drawn; of the others, why not."""
    from bench.gallery.contact_sheet import sheet
    from bench.site.sheet import page

    for one in known:
        try:
            yield one.result.address, page(sheet(one, places, images))
        except BenchError as error:
            say(f"note: no pictures of result {one.result.address}: {error}")
