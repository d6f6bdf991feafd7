"""`gate` and `trend`: check results against accepted baselines, and follow them over revisions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench import registry
from bench.cli import options
from bench.cli.documents import (
    AcceptDocument,
    GateCheckDocument,
    GateDocument,
    TrendDocument,
    TrendPointDocument,
    TrendsDocument,
)
from bench.cli.output import echo, emit, say
from bench.errors import RequestError, UnknownNameError, format_count
from bench.verbs.results import BASELINES, MEASURED

if TYPE_CHECKING:
    from bench.analysis.gate import GateCheck
    from bench.analysis.trend import Point, Trend
    from bench.core.files import Places
    from bench.records.collection import StoredResult
    from bench.records.result import Result


@click.command("gate", epilog=options.example('gate --accept "a smaller learning rate"'))
@click.argument("addresses", nargs=-1, metavar="[RESULT]...", shell_complete=options.make_completer("addresses"))
@click.option("--baseline", type=options.FILE, help="Folder of baselines.  [default: RESULTS/baselines]")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=0.5,
    show_default=True,
    help="Points by which a metric may get worse.",
)
@click.option(
    "--accept",
    "reason",
    metavar="REASON",
    help="Accept the results as the new baselines, with the reason for the record.",
)
@click.option(
    "--report",
    type=click.Choice(["md"]),
    help="Review the published results too, and print the comment for a merge request.",
)
@options.allow_dirty
@options.format_
@options.places
@options.results
@options.plugin
@options.as_json
def gate(
    *,
    addresses: tuple[str, ...],
    baseline: Path | None,
    tolerance: float,
    reason: str | None,
    report: str | None,
    allow_dirty: bool,
    format_: str,
    places: Places,
    results: Path,
    as_json: bool,
) -> int:
    """Check results against their baselines; exit code 1 if one regressed.

    The latest results of the runs folder and the published ones, or those named, are compared with the baselines of the
    same method, settings, protocol and images; trials of `tune` only if named. A metric has regressed if it is worse by
    more than the tolerance and by more than noise. A result without a baseline does not fail, unless there are no
    baselines at all; a baseline that cannot be believed does.
    """
    from bench.analysis import baselines
    from bench.analysis import gate as gates
    from bench.analysis.recheck import require_whole, select_whole
    from bench.tables.render import FORMATS

    if not math.isfinite(tolerance):
        raise RequestError(f"--tolerance: expected a finite number of points, but got {tolerance:g}.")
    baseline = baseline or results / BASELINES
    if report is not None:
        if addresses or reason is not None or as_json:
            raise RequestError("--report reviews all published results: give no address, --accept or --json.")
        return _print_comment(results / MEASURED, baseline, tolerance / 100, places, allow_dirty=allow_dirty)
    selected = _select_results(addresses, places, results / MEASURED)
    if reason is not None:
        if not reason.strip():
            raise RequestError("--accept: expected a reason for the record, but got an empty text.")
        registry.refuse_installed(baseline, options.OWN_RESULTS)
        selected = [*map(require_whole, selected)] if addresses else select_whole(_list_latest(selected))
        moved = baselines.accept(selected, baseline, reason, places, allow_dirty=allow_dirty)
        _print_accepted(moved, baseline, as_json=as_json)
        return 0
    accepted, damaged = baselines.read_and_count(baseline, places)
    checks = gates.gate(selected, accepted, tolerance / 100)
    regressed = [check for check in checks if check.status == "regressed"]
    if as_json:
        document: GateDocument = {
            "passed": bool(accepted) and not regressed and not damaged,
            "tolerance": tolerance / 100,
            "checks": [_to_document(check) for check in checks],
        }
        emit(document)
    else:
        echo(FORMATS[format_](gates.make_table(checks, tolerance / 100)))
    if not accepted and not damaged:
        how = "--accept REASON makes these results the baselines"
        raise RequestError(f"No baselines in {baseline}, so nothing can regress: {how}.")
    return int(bool(regressed or damaged))


def _print_comment(measured: Path, baseline: Path, tolerance: float, places: Places, *, allow_dirty: bool) -> int:
    """Print the comment for a merge request that adds results; return 1 if it cannot be merged."""
    from bench.analysis import baselines
    from bench.analysis import gate as gates
    from bench.analysis.review import make_comment, review

    found = review(measured, allow_dirty=allow_dirty)
    accepted = baselines.read(baseline, places)
    comment, can_merge = make_comment(
        found, gates.gate(found.accepted, accepted, tolerance) if accepted else None, tolerance
    )
    echo(comment)
    return int(not can_merge)


@click.command("trend", epilog=options.example("trend --method cam --protocol voc07-point-val"))
@click.option(
    "--method",
    "methods",
    multiple=True,
    callback=options.parse_names,
    metavar="NAME[:VARIANT]",
    shell_complete=options.make_completer("methods"),
    help="Only these methods; can be repeated or comma-separated.",
)
@options.only_protocols
@click.option(
    "--data",
    metavar="NAME|FILE.toml",
    callback=options.parse_dataset,
    shell_complete=options.make_completer("datasets"),
    help="Only on this dataset.",
)
@options.format_
@options.places
@options.results
@options.plugin
@options.as_json
def trend(
    *,
    methods: tuple[str, ...],
    protocols: tuple[str, ...],
    data: str | None,
    format_: str,
    places: Places,
    results: Path,
    as_json: bool,
) -> None:
    """Show every result of a method on a protocol, oldest first.

    The results are those of the runs folder and the published ones.
    """
    from bench.analysis.trend import make_table, trends
    from bench.records.collection import list_results
    from bench.tables.render import FORMATS

    known = [stored.result for stored in list_results(places, results / MEASURED)]
    if not known:
        say(f"No results in {places.runs / 'results'} or {results / MEASURED}.")
    _check_names(known, methods, protocols, data)
    selected = [
        result
        for result in known
        if (not methods or result.method in methods or result.label in methods)
        and (not protocols or result.protocol in protocols)
        and data in (None, result.dataset)
    ]
    lines = trends(selected)
    if as_json:
        document: TrendsDocument = {"trends": [_to_trend(trend) for trend in lines]}
        emit(document)
    else:
        echo("\n\n".join(FORMATS[format_](make_table(trend)) for trend in lines))


def _check_names(results: Sequence[Result], methods: Sequence[str], protocols: Sequence[str], data: str | None) -> None:
    """Raise UnknownNameError for a method, protocol or dataset without results."""
    for noun, names, known in (
        ("method with results", methods, {name for result in results for name in (result.method, result.label)}),
        ("protocol with results", protocols, {result.protocol for result in results}),
        ("dataset with results", (data,) if data else (), {result.dataset for result in results}),
    ):
        for name in names:
            if name not in known:
                raise UnknownNameError(noun, name, known, hint="python -m bench list runs")


def _select_results(addresses: tuple[str, ...], places: Places, measured: Path) -> list[StoredResult]:
    """Return all results except trials of `tune`, or the named ones. Raises RequestError if there are none."""
    from bench.records.collection import find_result, list_results, require_replicates
    from bench.tables.trials import leave_out_trials

    if addresses:
        return [require_replicates(find_result(address, places, measured)) for address in addresses]
    every = list_results(places, measured, with_replicates=True)
    known = leave_out_trials(every, say)
    if not known:
        what = "No results but trials of tune" if every else "No results"
        raise RequestError(f"{what} in {places.runs / 'results'} or {measured}: there are no results to check.")
    return known


def _list_latest(known: Sequence[StoredResult]) -> list[StoredResult]:
    """Return the latest results, which are those that `gate` compares."""
    from bench.analysis.baselines import select_latest

    stored = {one.result.address: one for one in known}
    return [stored[result.address] for row in select_latest(known) for result in row]


def _print_accepted(accepted: list[str], folder: Path, *, as_json: bool) -> None:
    if as_json:
        document: AcceptDocument = {"accepted": accepted}
        emit(document)
        return
    for line in accepted:
        echo(f"Accepted {line}")
    wrote = f"Wrote {format_count(len(accepted), 'baseline')} to {folder}."
    echo(wrote if accepted else f"These results are already the baselines in {folder}.")


def _to_document(check: GateCheck) -> GateCheckDocument:
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


def _to_trend(trend: Trend) -> TrendDocument:
    return {
        "method": trend.method,
        "protocol": trend.protocol,
        "dataset": trend.dataset,
        "split": trend.split,
        "points": [_to_point(point) for point in trend.points],
    }


def _to_point(point: Point) -> TrendPointDocument:
    return {
        "created": min(result.created for result in point.results),
        "revision": point.revision,
        "dirty": point.dirty,
        "seeds": [result.seed for result in point.results],
        "addresses": [result.address for result in point.results],
        "metrics": point.values,
        "change": point.change,
        "moved": list(point.moved),
    }
