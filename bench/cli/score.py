"""`score`: evaluate predictions from a file, whatever made them."""

from __future__ import annotations

from typing import Any

import click

from bench import registry
from bench.cli import options
from bench.cli.output import print_results
from bench.cli.scoring_inputs import ScoringInputs, read_scoring_inputs, scoring_options


@click.command("score")
@scoring_options
@click.option("--name", help="Name of the method (default: the one in the file).")
@options.tuned_on("unknown", "unknown")
@options.allow_missing
@options.as_json
def score(*, name: str | None, tuned_on: str, allow_missing: bool, as_json: bool, **chosen: Any) -> None:
    """Score predictions from a file and record the result.

    Needs the ground truth on disk, but no model, GPU or images. A malformed file is refused and nothing is written.
    """
    from bench.records.store import Store
    from bench.scoring.score import make_result
    from bench.scoring.score import score as evaluate

    inputs = read_scoring_inputs(**chosen)
    evaluation = evaluate(inputs.protocol, inputs.truth, inputs.resolve(), allow_missing=allow_missing)
    source = _describe_source(inputs, name) | {"tuned_on": tuned_on}
    result = make_result(inputs.protocol, inputs.truth, evaluation, **source)
    result = Store(chosen["places"]).record(result, evaluation.outcomes, evaluation.replicates)
    print_results([result], as_json_document=as_json)


def _describe_source(inputs: ScoringInputs, name: str | None) -> dict[str, Any]:
    """Return the fields of the record that say where the predictions come from."""
    from bench.core.files import digest
    from bench.core.provenance import read_revision

    digests = {kind: table.digest for kind, table in inputs.predictions.items()}
    return {
        "method": name or inputs.made_by,
        "predictions": digest(digests),
        "predictions_digest": digests,
        "provenance": read_revision(registry.ROOT),
    }
