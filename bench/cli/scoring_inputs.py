"""The options of verbs that read predictions from files (`score`, `audit`)."""

from __future__ import annotations

import click

from bench.cli import options

FORMATS = "Parquet, COCO results JSON, CSV, or a folder of VOC text files, PNG masks, .npy maps or weakloc shards."

scoring_options = options.combine(
    click.option(
        "--protocol",
        required=True,
        metavar="NAME",
        shell_complete=options.make_completer("protocols"),
        help="Protocol to evaluate under.",
    ),
    click.option("--predictions", type=options.FILE, required=True, help=FORMATS),
    click.option("--scores", type=options.FILE, help="File with class scores, if they are in another file."),
    options.conventions,
    options.data,
    click.option("--split", help="Evaluate on this split instead of the protocol's."),
    options.places,
    options.plugin,
)
