"""`score`: judge predictions that somebody made, in whatever format they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench import registry
from bench.cli import options
from bench.cli.output import print_results

if TYPE_CHECKING:
    from bench.files import Places
    from bench.predictions import Predictions
    from bench.protocol import BoundProtocol
    from bench.truth import Truth


@click.command("score")
@click.option("--protocol", required=True, metavar="NAME")
@click.option(
    "--predictions",
    "file",
    type=options.FILE,
    required=True,
    help="Parquet, COCO results JSON, or a folder of VOC comp3/comp4 text files.",
)
@click.option("--scores", "scores_file", type=options.FILE, help="Class scores from another file.")
@click.option("--name", help="Who made them; else what the file says.")
@click.option("--allow-missing", is_flag=True, help="Images that the file does not cover count as unanswered.")
@options.conventions
@options.data
@click.option("--split", help="Judge on this id list instead of the protocol's.")
@options.places
@options.plugin
@options.as_json
def score(
    *,
    protocol: str,
    file: Path,
    scores_file: Path | None,
    name: str | None,
    allow_missing: bool,
    conventions: dict[str, Any],
    data: str | None,
    data_options: dict[str, Any],
    split: str | None,
    places: Places,
    as_json: bool,
) -> None:
    """Score anybody's predictions.

    Needs the truth on disk, and no model, no GPU, no photograph. Malformed files are refused and nothing is written.
    """
    from bench.data.datasets import open_dataset
    from bench.predictions import resolve
    from bench.score import result_of
    from bench.score import score as judge
    from bench.store import Store

    bound = registry.bind(registry.protocol(protocol).with_conventions(conventions))
    dataset = open_dataset(data or bound.record.dataset, places, data_options)
    truth = dataset.truth(split or bound.record.eval_split)
    given = _given(file, scores_file, truth, bound)
    judged = judge(
        bound, truth, {kind: resolve(one, truth) for kind, one in given.items()}, allow_missing=allow_missing
    )
    result = Store(places).record(result_of(bound, truth, judged, **_who(given, name)), judged.outcomes)
    print_results([result], as_json_document=as_json)


def _given(file: Path, scores_file: Path | None, truth: Truth, bound: BoundProtocol) -> dict[str, Predictions]:
    """The files' predictions, by kind. Raises BadFileError where the protocol does not take them."""
    from bench.formats import read_any

    given = [read_any(file, truth, bound.record.predicts)]
    if scores_file is not None:
        given.append(read_any(scores_file, truth, [kind for kind in bound.record.predicts if kind == "scores"]))
    return {one.kind: one for one in given}


def _who(given: dict[str, Predictions], name: str | None) -> dict[str, Any]:
    """Who predicted, as far as the files say; what tuned it nobody knows."""
    from bench.files import digest
    from bench.provenance import revision

    digests = {kind: one.digest for kind, one in given.items()}
    return {
        "method": name or next(iter(given.values())).about.made_by,
        "predictions": digest(digests),
        "predictions_digest": digests,
        "tuned_on": "unknown",
        "provenance": revision(registry.ROOT),
    }
