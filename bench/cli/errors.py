"""`errors`: what kinds of errors results make, and what they cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli import options
from bench.cli.documents import ErrorKindDocument, ErrorsDocument
from bench.cli.output import echo, emit, say
from bench.cli.progress import make_reporter
from bench.errors import RequestError
from bench.verbs.results import MEASURED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.analysis.errors import ErrorAnalysis, ErrorKind
    from bench.core.files import Places
    from bench.verbs.errors import AnalysedResult


@click.command("errors", epilog=options.example("errors wsddn melm --protocol voc07-corloc"))
@click.argument("names", metavar="[RESULT]...", nargs=-1, shell_complete=options.make_completer("methods", "addresses"))
@click.option(
    "--protocol",
    metavar="NAME",
    shell_complete=options.make_completer("protocols"),
    help="Results of this protocol, where methods have results of several; the protocol of --predictions.",
)
@options.track
@click.option("--predictions", type=options.FILE, help="A file of boxes, instead of results; it needs --protocol.")
@click.option(
    "--by",
    type=click.Choice(["class", "size", "objects"]),
    help="Of boxes that localize a class: also by class, by size or by number of objects.",
)
@click.option("--images", type=click.IntRange(min=1), help="Draw this many images of each kind of the first result.")
@click.option("--out", type=options.FILE, help="Page to draw into.  [default: sheets/ in the runs folder]")
@options.data
@click.option("--split", help="With --predictions: evaluate on this split instead of the protocol's.")
@options.format_
@options.places
@options.results
@options.plugin
@options.as_json
def errors(
    names: tuple[str, ...],
    *,
    protocol: str | None,
    track: str | None,
    predictions: Path | None,
    by: str | None,
    images: int | None,
    out: Path | None,
    data: str | None,
    data_options: dict[str, Any],
    split: str | None,
    format_: str,
    places: Places,
    results: Path,
    as_json: bool,
) -> None:
    """Sort the errors of results by their kind.

    RESULT is an address, possibly abbreviated, the path of a record, or a method, of which the first seed is taken. Of
    detections, each kind comes with what it costs in average precision (TIDE); of boxes that localize a class, with its
    share. Predictions have to be in the runs folder, or in a file.
    """
    from bench.analysis.errors import make_tables
    from bench.tables.render import FORMATS
    from bench.verbs.errors import analyse_file, analyse_results

    _check_request(names, protocol, track, predictions, data, split, images)
    found: list[AnalysedResult] = []
    if predictions is not None and protocol is not None:
        where: dict[str, Any] = {"data": data, "data_options": data_options, "split": split}
        analyses = [analyse_file(predictions, protocol, places=places, **where)]
    else:
        how: dict[str, Any] = {"protocol": protocol, "track": track, "data_options": data_options}
        found = analyse_results(names, places=places, measured=results / MEASURED, progress=make_reporter(), **how)
        analyses = [one.analysis for one in found]
    tables = make_tables(analyses, by)
    if as_json:
        emit(_to_document(analyses))
    else:
        echo("\n\n".join(FORMATS[format_](table) for table in tables))
    if images is not None:
        _draw(found[0], images, out, places)


def _check_request(
    names: Sequence[str],
    protocol: str | None,
    track: str | None,
    predictions: Path | None,
    data: str | None,
    split: str | None,
    images: int | None,
) -> None:
    """Raise RequestError unless either results or predictions with a protocol are given, with options that fit."""
    if bool(names) == (predictions is not None):
        raise RequestError("Give either results (python -m bench list runs) or --predictions FILE.")
    if predictions is not None and protocol is None:
        raise RequestError("--predictions needs --protocol.")
    if predictions is not None and track is not None:
        raise RequestError("--track goes with results: a file is evaluated on the protocol's split, or on --split.")
    if predictions is not None and images is not None:
        raise RequestError("--images draws results of the runs folder, not files.")
    if predictions is None and (data is not None or split is not None):
        raise RequestError("--data and --split go with --predictions: a result has its own.")


def _draw(analysed: AnalysedResult, number: int, out: Path | None, places: Places) -> None:
    from bench.core.files import write_text
    from bench.site.sheet import render_page
    from bench.verbs.errors import draw_errors

    path = out or places.runs / "sheets" / f"{analysed.stored.record.stem}.errors.html"
    sheet = draw_errors(analysed, number, places)
    write_text(path, render_page(sheet))
    for note in sheet.notes:
        say(f"note: {note}")
    say(f"Wrote {path}")


def _to_document(analyses: Sequence[ErrorAnalysis]) -> ErrorsDocument:
    return {
        "results": [
            {
                "name": one.name,
                "protocol": one.protocol,
                "evaluated_on": one.evaluated_on,
                "cost": one.cost,
                "kinds": [_to_kind(kind) for kind in one.kinds],
                "groups": {
                    by: {part: [_to_kind(kind) for kind in kinds] for part, kinds in group.items()}
                    for by, group in one.groups.items()
                },
            }
            for one in analyses
        ]
    }


def _to_kind(kind: ErrorKind) -> ErrorKindDocument:
    return {"name": kind.name, "count": kind.count, "value": kind.value, "interval": kind.interval}
