"""`export`: predictions of a run, or anybody's, in other people's formats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from bench import registry
from bench.cli import options
from bench.cli.output import emit
from bench.errors import RequestError

if TYPE_CHECKING:
    from bench.core.files import Places
    from bench.predictions.table import ResolvedPredictions
    from bench.records.store import Store
    from bench.scoring.protocol import Record


class _Source(NamedTuple):
    """Where predictions are, and on what: the folder of a run's, or a file or folder of anybody's."""

    path: Path
    protocol: Record
    data: str
    split: str
    of_run: bool


@click.command("export")
@click.argument("source", metavar="ADDRESS|FILE")
@click.option("--format", "format_", type=click.Choice(["coco", "voc-server"]), required=True)
@click.option("--out", type=options.FILE, required=True, help="File to write: .json, or .tar, .tgz for the server.")
@click.option("--protocol", metavar="NAME", help="What FILE is for; a result knows.")
@click.option("--own-data", is_flag=True, help="Trained on VOC's own data alone: competitions 1, 3, 5, not 2, 4, 6.")
@options.data
@click.option("--split", help="Another id list than the protocol's.")
@options.allow_missing
@options.places
@options.plugin
@options.as_json
def export(
    *,
    source: str,
    format_: str,
    out: Path,
    protocol: str | None,
    own_data: bool,
    data: str | None,
    data_options: dict[str, Any],
    split: str | None,
    allow_missing: bool,
    places: Places,
    as_json: bool,
) -> None:
    """Predictions in other people's formats.

    ADDRESS is a result's, or with --protocol that of a run's predictions. Needs the list of images, and no truth.
    """
    from bench.data.datasets import open_dataset
    from bench.predictions.export import write_coco, write_voc_server
    from bench.records.store import Store
    from bench.scoring.score import refuse_missing

    if out.is_dir():
        raise RequestError(f"--out {out} is a folder: name the file to write.")
    found_at = _source(source, protocol, data, split, Store(places))
    truth = open_dataset(found_at.data, places, data_options).unjudged(found_at.split)
    found = _found(found_at, format_, truth)
    refuse_missing(truth, {found.kind: found}, allow_missing)
    if format_ == "coco":
        write_coco(out, found, truth)
    else:
        write_voc_server(out, found, truth, own_data=own_data)
    if as_json:
        emit({"written": [str(out)], "kind": found.kind, "rows": len(found.image), "images": len(truth.ids)})
        return
    click.echo(
        f"Wrote {out}: {len(found.image)} {found.kind} on {len(truth.ids)} images of {truth.dataset} {truth.split}"
    )


def _source(source: str, protocol: str | None, data: str | None, split: str | None, store: Store) -> _Source:
    """What a person named. Raises RequestError where that does not say enough, UnknownNameError for no result."""
    of_run = store.predictions(source).is_dir() if not Path(source).exists() else False
    if of_run or Path(source).exists():
        if protocol is None:
            raise RequestError(f"{source}: say what it is for (--protocol NAME); only a result knows.")
        record = registry.protocol(protocol)
        path = store.predictions(source) if of_run else Path(source)
        return _Source(path, record, data or record.dataset, split or record.eval_split, of_run)
    from bench.records.result import read_result

    result = read_result(store.result(store.complete(source)))
    folder = store.predictions(result.predictions)
    if not folder.is_dir():
        raise RequestError(f"Result {result.address} is of a file that is not kept here: give the file and --protocol.")
    return _Source(folder, registry.protocol(result.protocol), data or result.dataset, split or result.split, True)


def _found(source: _Source, format_: str, truth: Any) -> ResolvedPredictions:
    """The first kind of the source that has a form in the format. Raises RequestError where none has."""
    from bench.predictions.export import KINDS
    from bench.predictions.formats import read_all
    from bench.predictions.table import locate_predictions, resolve

    record = source.protocol
    kinds = [kind for kind in (*record.predicts, *record.also) if kind in KINDS[format_]]
    if source.of_run:
        kinds = [kind for kind in kinds if locate_predictions(source.path, kind).exists()]
    if not kinds:
        what = (
            f"{source.path.name} has none" if source.of_run else f"{record.name} takes {' or '.join(record.predicts)}"
        )
        raise RequestError(f"The format {format_} has a form for {', '.join(KINDS[format_])}; {what}.")
    path = locate_predictions(source.path, kinds[0]) if source.of_run else source.path
    return resolve(read_all(path, truth, kinds)[0], truth)
