"""The options of verbs that read predictions from files (`score`, `audit`)."""

from __future__ import annotations

import functools
from typing import Any

import click

from bench.cli import options
from bench.cli.options import Verb

FORMATS = (
    "Parquet, COCO results JSON, CSV, .npz of maps, or a folder of several JSON or CSV files, VOC text files, PNG "
    "masks, .npy or .npz maps, or weakloc shards."
)

_DECODING = {
    "box_rule": ("RULE", "Maps where boxes are evaluated: the rule that makes boxes of them."),
    "box_threshold": ("SHARE", "That rule's threshold."),
    "mask_rule": ("RULE", "Maps where masks are evaluated: what pixels compete by."),
    "mask_threshold": ("SHARE", "A pixel above this share of the maximum is no background."),
    "mask_score": ("SCORE", "Classes that score at least this in --scores, and the best one, take part in a mask."),
}
"""Settings of map methods that decode maps, with their values and help; their defaults are the methods'."""


def _decoding(verb: Verb) -> Verb:
    """Add the options for decoding maps to a verb, which receives the given ones as `decoding`."""

    @functools.wraps(verb)
    def with_decoding(*arguments: Any, **rest: Any) -> Any:
        given = {key: value for key in _DECODING if (value := rest.pop(key)) is not None}
        return verb(*arguments, decoding=given, **rest)

    each = (
        click.option(f"--{key.replace('_', '-')}", metavar=metavar, help=text)
        for key, (metavar, text) in _DECODING.items()
    )
    return options.combine(*each)(with_decoding)  # type: ignore[return-value]


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
    _decoding,
    options.conventions,
    options.data,
    click.option("--split", help="Evaluate on this split instead of the protocol's."),
    options.places,
    options.plugin,
)
