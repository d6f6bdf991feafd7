"""`export`: predictions of a run or of a file, in the formats of COCO and of the VOC server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from bench import registry
from bench.cli import options
from bench.cli.documents import ExportDocument
from bench.cli.output import echo, emit
from bench.errors import RequestError

if TYPE_CHECKING:
    from bench.core.files import Places
    from bench.predictions.table import ResolvedPredictions
    from bench.records.store import Store
    from bench.scoring.protocol import Record


class _Source(NamedTuple):
    """Predictions to export: the folder of a run (`of_run`), or any file or folder; and the split that they cover."""

    path: Path
    protocol: Record
    data: str | None
    split: str
    of_run: bool


@click.command("export", epilog=options.example("export 4f2a90 --format coco --out detections.json"))
@click.argument("source", metavar="ADDRESS|FILE")
@click.option("--format", "format_", type=click.Choice(["coco", "voc-server"]), required=True, help="Format to write.")
@click.option(
    "--out", type=options.FILE, required=True, help="File to write: .json, or .tar or .tgz for the VOC server."
)
@click.option("--protocol", metavar="NAME", help="Protocol of FILE; a result records its own.")
@click.option(
    "--own-data", is_flag=True, help="Trained only on VOC data: write competitions 1, 3, 5 instead of 2, 4, 6."
)
@options.data
@click.option("--split", help="Use this split instead of the protocol's.")
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
    """Export predictions as COCO results or as an archive for the VOC server.

    ADDRESS is that of a result or, with --protocol, that of a run's predictions. Needs the list of images, but no
    ground truth.
    """
    from bench.data.datasets import open_dataset
    from bench.predictions.export import write_coco, write_voc_server
    from bench.records.store import Store
    from bench.scoring.score import refuse_missing

    if out.is_dir():
        raise RequestError(f"--out {out} is a folder: give the path of a file.")
    location = _locate_source(source, protocol, data, split, Store(places))
    truth = open_dataset(location.data, places, data_options).unscored_ground_truth(location.split)
    predictions = _read_predictions(location, format_, truth)
    refuse_missing(truth, {predictions.kind: predictions}, allow_missing)
    if format_ == "coco":
        write_coco(out, predictions, truth)
    else:
        write_voc_server(out, predictions, truth, own_data=own_data)
    if as_json:
        document: ExportDocument = {
            "written": [str(out)],
            "kind": predictions.kind,
            "rows": len(predictions.image),
            "images": len(truth.ids),
        }
        emit(document)
        return
    where = f"{len(truth.ids)} images of {truth.dataset} {truth.split}"
    echo(f"Wrote {out}: {len(predictions.image)} {predictions.kind} on {where}")


def _locate_source(source: str, protocol: str | None, data: str | None, split: str | None, store: Store) -> _Source:
    """Locate an address or a file. Raises RequestError without a needed --protocol, UnknownNameError for no result."""
    of_run = store.predictions_folder(source).is_dir() if not Path(source).exists() else False
    if of_run or Path(source).exists():
        if protocol is None:
            raise RequestError(f"{source}: add --protocol NAME; only a result records its protocol.")
        record = registry.protocol(protocol)
        path = store.predictions_folder(source) if of_run else Path(source)
        return _Source(path, record, data or record.dataset, split or record.eval_split, of_run)
    from bench.records.result import read_result

    result = read_result(store.result_path(store.complete_address(source)))
    folder = store.predictions_folder(result.predictions)
    if not folder.is_dir():
        raise RequestError(
            f"The predictions of result {result.address} are not in this runs folder: give their file and --protocol."
        )
    return _Source(folder, registry.protocol(result.protocol), data or result.dataset, split or result.split, True)


def _read_predictions(source: _Source, format_: str, truth: Any) -> ResolvedPredictions:
    """Read the first kind of the source that the format supports. Raises RequestError if it supports none."""
    from bench.predictions.export import KINDS
    from bench.predictions.formats import read_all
    from bench.predictions.table import locate_predictions, resolve

    record = source.protocol
    kinds = [kind for kind in (*record.predicts, *record.also) if kind in KINDS[format_]]
    if source.of_run:
        kinds = [kind for kind in kinds if locate_predictions(source.path, kind).exists()]
    if not kinds:
        available = (
            f"{source.path.name} has none of them"
            if source.of_run
            else f"{record.name} accepts {' or '.join(record.predicts)}"
        )
        raise RequestError(f"The format {format_} supports {', '.join(KINDS[format_])}, but {available}.")
    path = locate_predictions(source.path, kinds[0]) if source.of_run else source.path
    return resolve(read_all(path, truth, kinds)[0], truth)
