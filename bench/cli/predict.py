"""`predict`: the model of a run, put on photographs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from bench.cli import options
from bench.cli.documents import PredictDocument, PredictedImageDocument
from bench.cli.output import emit, say
from bench.cli.progress import make_reporter

if TYPE_CHECKING:
    from bench.core.files import Places
    from bench.execution.trained import TrainedModel

SHOWN = 3
"""Classes in the line of a photograph."""


@click.command("predict")
@click.argument("run", metavar="RUN")
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
    from bench.core.files import write_json
    from bench.verbs.prediction import load_model
    from bench.verbs.prediction import predict as predict_on

    model = load_model(run, places=places, **chosen)
    documents: list[dict[str, Any]] = []
    said = set[str]()
    for predicted in predict_on(model, images, out, workers=workers, progress=make_reporter()):
        for note in predicted.notes:
            if note not in said:
                say(f"note: {note}")
            said.add(note)
        documents += (made := predicted.list_documents())
        if not as_json:
            click.echo("\n".join(map(_format_image, made)))
    document = _make_document(model, documents)
    if out is not None:
        write_json(out / "predictions.json", document)
        say(f"Wrote {out}")
    if as_json:
        emit(document)


def _make_document(model: TrainedModel, images: list[dict[str, Any]]) -> PredictDocument:
    return {
        "run": model.run,
        "method": model.method.name,
        "dataset": model.dataset,
        "classes": list(model.classes),
        "images": cast("list[PredictedImageDocument]", images),
    }


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
