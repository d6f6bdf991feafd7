"""`compare`: two results side by side, and the uncertainty of their difference."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, cast

import click

from bench.cli import options
from bench.cli.documents import CompareDocument, ComparedResultDocument, DifferenceDocument
from bench.cli.output import echo, emit
from bench.verbs.results import MEASURED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.analysis.compare import Comparison, Difference
    from bench.core.files import Places
    from bench.records.result import Result


@click.command("compare", epilog=options.example("compare cam grad-cam --protocol voc07-point-val"))
@click.argument("a", metavar="A", shell_complete=options.make_completer("methods", "addresses"))
@click.argument("b", metavar="B", shell_complete=options.make_completer("methods", "addresses"))
@click.option(
    "--protocol",
    metavar="NAME",
    shell_complete=options.make_completer("protocols"),
    help="Results of this protocol, where methods have results of several.",
)
@click.option(
    "--data",
    metavar="NAME|FILE.toml",
    callback=options.parse_dataset,
    shell_complete=options.make_completer("datasets"),
    help="Results on this dataset, where methods have results on several.",
)
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
    a: str,
    b: str,
    *,
    protocol: str | None,
    data: str | None,
    per_class: bool,
    anyway: bool,
    format_: str,
    places: Places,
    results: Path,
    as_json: bool,
) -> None:
    """Compare two methods or results on the same images.

    A and B are methods, addresses, possibly abbreviated, or paths of records. A method stands for all its seeds, of
    which the means are compared. The difference is A - B, with its 95 % bootstrap interval over the images (and the
    seeds, if there are several) and the two-sided p-value of no difference.
    """
    from bench.analysis.compare import make_tables
    from bench.tables.render import FORMATS
    from bench.verbs.results import compare as compare_results

    comparison = compare_results(
        a,
        b,
        places=places,
        measured=results / MEASURED,
        protocol=protocol,
        data=data,
        per_class=per_class,
        anyway=anyway,
    )
    if as_json:
        emit(_to_document(comparison))
        return
    echo("\n\n".join(FORMATS[format_](rows) for rows in make_tables(comparison)))


def _to_document(comparison: Comparison) -> CompareDocument:
    from bench.analysis.compare import describe_verdict

    higher = comparison.a[0].higher_is_better
    return {
        "verdict": describe_verdict(comparison),
        "a": _to_side(comparison.a),
        "b": _to_side(comparison.b),
        "paired": comparison.paired,
        "unlike": list(comparison.unlike),
        "settings": list(comparison.settings),
        "metrics": {
            name: {**_to_difference(difference), "higher_is_better": higher[name]}
            for name, difference in comparison.metrics.items()
        },
        "per_class": {
            name: {class_: _to_difference(difference) for class_, difference in by_class.items()}
            for name, by_class in comparison.per_class.items()
        },
    }


def _to_side(results: Sequence[Result]) -> ComparedResultDocument:
    first, addresses = results[0], [one.address for one in results]
    return {
        "address": first.address,
        "method": first.label,
        "seed": first.seed,
        "addresses": addresses,
        "seeds": [one.seed for one in results],
    }


def _to_difference(difference: Difference) -> DifferenceDocument:
    return cast(DifferenceDocument, asdict(difference))
