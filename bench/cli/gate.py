"""`gate` and `trend`: check results against accepted ones, and show how they moved."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench import registry
from bench.cli import options, table
from bench.cli.output import emit, say
from bench.errors import RequestError, UnknownNameError

if TYPE_CHECKING:
    from bench.analysis.gate import GateCheck
    from bench.analysis.trend import Point, Trend
    from bench.core.files import Places
    from bench.records.collection import Kept

BASELINES = registry.ROOT / "results" / "baselines"


@click.command("gate")
@click.argument("addresses", nargs=-1, metavar="[RESULT]...")
@click.option("--baseline", type=options.FILE, default=BASELINES, help="Folder of baselines; else results/baselines.")
@click.option(
    "--tolerance", type=click.FloatRange(min=0), default=0.5, show_default=True, help="Points that a number may fall."
)
@click.option("--accept", "reason", metavar="REASON", help="Make the results the baselines, and say why.")
@options.format_
@options.places
@options.as_json
def gate(
    *,
    addresses: tuple[str, ...],
    baseline: Path,
    tolerance: float,
    reason: str | None,
    format_: str,
    places: Places,
    as_json: bool,
) -> int:
    """Check results against their baselines; exit code 1 if one regressed.

    The latest results of the runs folder and results/measured, or those named, are compared with the baselines of the
    same method, settings, protocol and images. To fall is to be worse by more than the tolerance and by more than
    noise. A result without a baseline does not fail.
    """
    from bench.analysis import baselines
    from bench.analysis import gate as gates
    from bench.tables.render import FORMATS

    if not math.isfinite(tolerance):
        raise RequestError(f"--tolerance: expected a finite number of points, but got {tolerance:g}.")
    results = _results(addresses, places)
    if reason is not None:
        if not reason.strip():
            raise RequestError("--accept: expected the reason, for the record, but got nothing.")
        _accepted(baselines.accept(results, baseline, reason), baseline, as_json=as_json)
        return 0
    accepted = baselines.read(baseline)
    if not accepted:
        say(f"No baselines in {baseline}: nothing can fall. --accept REASON makes these results the baselines.")
    checks = gates.gate(results, accepted, tolerance / 100)
    regressed = [check for check in checks if check.status == "regressed"]
    if as_json:
        emit({"passed": not regressed, "tolerance": tolerance / 100, "checks": [_document(check) for check in checks]})
    else:
        click.echo(FORMATS[format_](gates.table_of(checks, tolerance / 100)))
    return int(bool(regressed))


@click.command("trend")
@click.option(
    "--method",
    "methods",
    multiple=True,
    callback=options.names,
    metavar="NAME[:VARIANT]",
    shell_complete=options.complete("methods"),
    help="Only these.",
)
@options.only_protocols
@click.option("--data", metavar="DATASET", shell_complete=options.complete("datasets"), help="Only on this dataset.")
@options.format_
@options.places
@options.plugin
@options.as_json
def trend(
    *,
    methods: tuple[str, ...],
    protocols: tuple[str, ...],
    data: str | None,
    format_: str,
    places: Places,
    as_json: bool,
) -> None:
    """How a result moved over revisions: every result of a method on a protocol, oldest first.

    From the runs folder and results/measured; --method and --protocol repeat and take commas.
    """
    from bench.analysis.trend import table_of, trends
    from bench.records.collection import kept
    from bench.tables.render import FORMATS

    results = [one.result for one in kept(places, table.MEASURED)]
    labels = {name for one in results for name in (one.method, one.label)}
    for what, asked, known in (
        ("method with results", methods, labels),
        ("protocol with results", protocols, {one.protocol for one in results}),
        ("dataset with results", (data,) if data else (), {one.dataset for one in results}),
    ):
        for name in asked:
            if name not in known:
                raise UnknownNameError(what, name, known, hint="python -m bench list runs")
    chosen = [
        one
        for one in results
        if (not methods or one.method in methods or one.label in methods)
        and (not protocols or one.protocol in protocols)
        and data in (None, one.dataset)
    ]
    found = trends(chosen)
    if as_json:
        emit({"trends": [_trend(one) for one in found]})
    else:
        click.echo("\n\n".join(FORMATS[format_](table_of(one)) for one in found))


def _results(addresses: tuple[str, ...], places: Places) -> list[Kept]:
    """The latest results, or those named. Raises RequestError where there are none."""
    from bench.analysis.baselines import latest
    from bench.records.collection import find, kept

    if addresses:
        return [find(address, places, table.MEASURED) for address in addresses]
    known = {one.result.address: one for one in kept(places, table.MEASURED)}
    if not known:
        raise RequestError(
            f"No results in {places.runs / 'results'} or {table.MEASURED}: there are no results to check."
        )
    return [known[result.address] for row in latest(known.values()) for result in row]


def _accepted(moved: list[str], folder: Path, *, as_json: bool) -> None:
    if as_json:
        emit({"accepted": moved})
        return
    for line in moved:
        click.echo(f"Accepted {line}")
    if not moved:
        click.echo(f"The baselines in {folder} are these results already.")


def _document(check: GateCheck) -> dict[str, Any]:
    result = check.result
    return {
        "status": check.status,
        "method": result.label,
        "protocol": result.protocol,
        "dataset": result.dataset,
        "split": result.split,
        "address": result.address,
        "seeds": list(check.seeds),
        "metric": check.metric,
        "higher_is_better": result.higher_is_better[check.metric],
        "accepted": check.accepted,
        "measured": check.measured,
        "difference": check.difference,
        "interval": check.interval,
        "noise": check.pairing,
        "note": check.note,
    }


def _trend(trend: Trend) -> dict[str, Any]:
    return {
        "method": trend.method,
        "protocol": trend.protocol,
        "dataset": trend.dataset,
        "split": trend.split,
        "points": [_point(point) for point in trend.points],
    }


def _point(point: Point) -> dict[str, Any]:
    return {
        "created": min(one.created for one in point.results),
        "revision": point.revision,
        "dirty": point.dirty,
        "seeds": [one.seed for one in point.results],
        "addresses": [one.address for one in point.results],
        "metrics": point.values,
        "change": point.change,
        "moved": list(point.moved),
    }
