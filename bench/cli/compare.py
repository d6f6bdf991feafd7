"""`compare`: two results beside each other, and how sure their difference is."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from bench.cli import options, table
from bench.cli.output import emit

if TYPE_CHECKING:
    from bench.analysis.compare import Comparison
    from bench.core.files import Places


@click.command("compare")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--per-class", is_flag=True, help="Also class by class, from the outcomes beside the records.")
@click.option("--anyway", is_flag=True, help="Although they were judged differently; the output says how.")
@options.format_
@options.places
@options.plugin
@options.as_json
def compare(a: str, b: str, *, per_class: bool, anyway: bool, format_: str, places: Places, as_json: bool) -> None:
    """Paired comparison of two results.

    A and B are addresses, which may be shortened, or paths of records. The difference is A - B, with its 95 % bootstrap
    interval over the images, and the two-sided p-value that it could be 0.
    """
    from bench.analysis.compare import compare as compare_both
    from bench.analysis.compare import tables_of
    from bench.records.collection import find
    from bench.tables.render import FORMATS

    one, other = (find(name, places, table.MEASURED) for name in (a, b))
    found = compare_both(one, other, per_class=per_class, anyway=anyway)
    if as_json:
        emit(_document(found))
        return
    click.echo("\n\n".join(FORMATS[format_](each) for each in tables_of(found)))


def _document(found: Comparison) -> dict[str, Any]:
    a, b = ({"address": one.address, "method": one.label, "seed": one.seed} for one in (found.a, found.b))
    return {
        "a": a,
        "b": b,
        "paired": found.paired,
        "unlike": list(found.unlike),
        "metrics": {
            name: {**asdict(line), "higher_is_better": found.a.higher_is_better[name]}
            for name, line in found.metrics.items()
        },
        "per_class": {
            name: {class_: asdict(line) for class_, line in lines.items()} for name, lines in found.per_class.items()
        },
    }
