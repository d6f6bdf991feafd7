"""`score`: evaluate predictions from a file, whatever made them."""

from __future__ import annotations

from typing import Any

import click

from bench.cli import options
from bench.cli.output import print_results
from bench.cli.scoring_inputs import scoring_options


@click.command("score", epilog=options.example("score --protocol voc07-det --predictions mine.json --name mine"))
@scoring_options
@click.option("--name", help="Name of the method (default: the one in the file).")
@options.tuned_on("unknown", "unknown")
@click.option(
    "--tier",
    type=click.Choice(["author", "here", "others"]),
    help="Who made the predictions: the method's author, this project's implementation, or others.",
)
@click.option(
    "--uses",
    multiple=True,
    metavar="[pseudo-boxes|other-pretraining|extra-data|multi-scale-test]",
    callback=options.parse_names,
    help="What was used beyond image labels, initial weights and one look at each image; can be repeated or "
    "comma-separated.",
)
@options.allow_missing
@options.as_json
def score(*, as_json: bool, **chosen: Any) -> None:
    """Score predictions from a file and record the result.

    Needs the ground truth on disk, but no model, GPU or images. A malformed file is refused and nothing is written.
    """
    from bench.verbs.scoring import score as score_predictions

    print_results([score_predictions(**chosen)], as_json_document=as_json)
