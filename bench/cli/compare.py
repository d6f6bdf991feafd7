"""`compare`: two results side by side, and the uncertainty of their difference."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, cast

import click

from bench.cli import options
from bench.cli.documents import CompareDocument, ComparedResultDocument, DifferenceDocument
from bench.cli.output import emit
from bench.verbs.results import MEASURED

if TYPE_CHECKING:
    from pathlib import Path

    from bench.analysis.compare import Comparison, Difference
    from bench.core.files import Places
    from bench.records.result import Result


@click.command("compare")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--per-class", is_flag=True, help="Also compare class by class, from the recorded outcomes.")
@click.option(
    "--anyway",
    is_flag=True,
    help="Compare results of different protocols or conventions; the output lists what differs.",
)
@options.format_
@options.places
@options.results
@options.plugin
@options.as_json
def compare(
    a: str, b: str, *, per_class: bool, anyway: bool, format_: str, places: Places, results: Path, as_json: bool
) -> None:
    """Compare two results on the same images.

    A and B are addresses, possibly abbreviated, or paths of records. The difference is A - B, with its 95 % bootstrap
    interval over the images and the two-sided p-value of no difference.
    """
    from bench.analysis.compare import make_tables
    from bench.tables.render import FORMATS
    from bench.verbs.results import compare as compare_results

    measured = results / MEASURED
    comparison = compare_results(a, b, places=places, measured=measured, per_class=per_class, anyway=anyway)
    if as_json:
        emit(_to_document(comparison))
        return
    click.echo("\n\n".join(FORMATS[format_](rows) for rows in make_tables(comparison)))


def _to_document(comparison: Comparison) -> CompareDocument:
    higher = comparison.a.higher_is_better
    return {
        "a": _to_side(comparison.a),
        "b": _to_side(comparison.b),
        "paired": comparison.paired,
        "unlike": list(comparison.unlike),
        "metrics": {
            name: {**_to_difference(difference), "higher_is_better": higher[name]}
            for name, difference in comparison.metrics.items()
        },
        "per_class": {
            name: {class_: _to_difference(difference) for class_, difference in by_class.items()}
            for name, by_class in comparison.per_class.items()
        },
    }


def _to_side(result: Result) -> ComparedResultDocument:
    return {"address": result.address, "method": result.label, "seed": result.seed}


def _to_difference(difference: Difference) -> DifferenceDocument:
    return cast(DifferenceDocument, asdict(difference))
