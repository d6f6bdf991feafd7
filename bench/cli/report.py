"""`report`: the static site."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli import options, table
from bench.cli.output import emit
from bench.errors import amount

if TYPE_CHECKING:
    from bench.files import Places


@click.command("report")
@click.option("--out", type=options.FILE, required=True, help="Folder to write; a site written before is replaced.")
@options.places
@options.plugin
@options.as_json
def report(out: Path, places: Places, as_json: bool) -> None:
    """The static site, from the runs folder and results/measured: open OUT/index.html, no server is needed.

    A page for each protocol and method with results, each result, and each paper's table.
    """
    from bench.kept import kept
    from bench.site.build import write

    written = write(kept(places, table.MEASURED), out)
    if as_json:
        emit({"written": [str(path) for path in written]})
    else:
        click.echo(f"Wrote {amount(len(written), 'file')}: {out / 'index.html'}")
