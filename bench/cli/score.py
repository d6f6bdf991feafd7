"""`score`: judge predictions that somebody made, in whatever format they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bench import registry
from bench.cli import options
from bench.cli.given import given, read_given
from bench.cli.output import print_results

if TYPE_CHECKING:
    from bench.predictions.table import Predictions


@click.command("score")
@given
@click.option("--name", help="Who made them; else what the file says.")
@options.tuned_on("unknown", "unknown")
@options.allow_missing
@options.as_json
def score(*, name: str | None, tuned_on: str, allow_missing: bool, as_json: bool, **chosen: Any) -> None:
    """Score anybody's predictions.

    Needs the truth on disk, and no model, no GPU, no photograph. Malformed files are refused and nothing is written.
    """
    from bench.records.store import Store
    from bench.scoring.score import make_result
    from bench.scoring.score import score as judge

    bound, truth, predictions = found = read_given(**chosen)
    evaluation = judge(bound, truth, found.resolved(), allow_missing=allow_missing)
    who = _who(predictions, name) | {"tuned_on": tuned_on}
    result = Store(chosen["places"]).record(
        make_result(bound, truth, evaluation, **who), evaluation.outcomes, evaluation.replicates
    )
    print_results([result], as_json_document=as_json)


def _who(predictions: dict[str, Predictions], name: str | None) -> dict[str, Any]:
    """Who predicted, as far as the files say."""
    from bench.core.files import digest
    from bench.core.provenance import revision

    digests = {kind: one.digest for kind, one in predictions.items()}
    return {
        "method": name or next(iter(predictions.values())).about.made_by,
        "predictions": digest(digests),
        "predictions_digest": digests,
        "provenance": revision(registry.ROOT),
    }
