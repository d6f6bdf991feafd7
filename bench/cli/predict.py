"""`predict`: apply the model of a run to photographs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from bench.cli import options
from bench.cli.documents import PredictDocument
from bench.cli.output import echo, emit, say
from bench.cli.progress import make_reporter

if TYPE_CHECKING:
    from bench.core.files import Places

SHOWN = 3
"""Number of classes in the line of a photograph."""


@click.command("predict", epilog=options.example("predict 4f2a90 photographs --out predictions"))
@click.argument("run", metavar="RUN", shell_complete=options.make_completer("addresses"))
@click.argument("images", nargs=-1, required=True, type=options.FILE, metavar="IMAGE...|FOLDER")
@click.option(
    "--out",
    type=options.FILE,
    help="Folder to write: predictions.json, tables and maps as parquet, and a picture of each photograph.",
)
@click.option(
    "--proposals",
    metavar="NAME|FILE",
    help="Region proposals: selective-search, edge-boxes or a file.  [default: the search that the run used]",
)
@options.data
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 ...")
@options.workers
@options.places
@options.plugin
@options.as_json
def predict(
    *,
    run: str,
    images: tuple[Path, ...],
    out: Path | None,
    workers: int,
    places: Places,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Put a trained model on photographs.

    RUN is the address of a result or of a run's predictions, or a unique prefix. Photographs are JPEG or PNG, and need
    no dataset.
    """
    from bench.verbs.prediction import load_model, make_document
    from bench.verbs.prediction import predict as predict_on

    model = load_model(run, places=places, **chosen)
    documents: list[dict[str, Any]] = []
    printed = set[str]()
    for predicted in predict_on(model, images, out, workers=workers, progress=make_reporter()):
        for note in predicted.notes:
            if note not in printed:
                say(f"note: {note}")
            printed.add(note)
        documents += (batch := predicted.list_documents())
        if not as_json:
            echo("\n".join(map(_format_image, batch)))
    if out is not None:
        say(f"Wrote {out}")
    if as_json:
        emit(cast("PredictDocument", make_document(model, documents)))


def _format_image(image: dict[str, Any]) -> str:
    """Format the best classes of a photograph, each with its best point and box."""
    parts = []
    for label, score in [*image["scores"].items()][:SHOWN]:
        places = [
            f"point {', '.join(f'{row[side]:.0f}' for side in ('x', 'y'))}"
            for row in [row for row in image.get("points", []) if row["label"] == label][:1]
        ]
        places += [
            f"box {', '.join(f'{row[side]:.0f}' for side in ('x1', 'y1', 'x2', 'y2'))}"
            for row in [row for row in image["boxes"] if row["label"] == label][:1]
        ]
        parts.append(f"  {label} {score:.2f}{': ' if places else ''}{'; '.join(places)}")
    return "\n".join([image["image"], *parts])
