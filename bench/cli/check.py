"""`check`, `doctor` and `sync`: whether a method keeps its contract, what this machine can do, the MLflow mirror."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from bench import registry
from bench.cli import options
from bench.cli.output import columns, emit, say
from bench.cli.progress import reporter

if TYPE_CHECKING:
    from bench.contract import Finding
    from bench.core.files import Places


@click.command("check")
@click.option("--method", "methods", multiple=True, required=True, callback=options.names, metavar="NAME[:VARIANT]")
@options.places
@options.plugin
@options.as_json
def check(methods: tuple[str, ...], places: Places, as_json: bool) -> int:
    """Contract suite for a method, on a dozen generated images; 1 if it fails, or if nothing could be checked."""
    for name in methods:
        registry.check_name(name)
    from bench.contract import check_method, passed  # which loads torch: seconds

    progress = reporter()
    findings = {name: check_method(name, places, progress) for name in methods}
    if as_json:
        emit({"methods": [_document(name, found) for name, found in findings.items()]})
    else:
        rows = [(one.status, name, one.name, one.detail) for name, found in findings.items() for one in found]
        click.echo(columns(rows))
    return int(not all(passed(found) for found in findings.values()))


def _document(name: str, findings: Sequence[Finding]) -> dict[str, Any]:
    from bench.contract import passed

    return {"name": name, "passed": passed(findings), "findings": [asdict(one) for one in findings]}


@click.command("doctor")
@options.places
@options.as_json
def doctor(places: Places, as_json: bool) -> int:
    """What works on this machine; 1 if something is missing that everything needs."""
    from bench.doctor import examine

    checks = list(examine(places))
    if as_json:
        emit({"checks": [asdict(one) for one in checks]})
    else:
        first = {one.advice: one for one in reversed(checks)}  # who gives an advice; others would repeat it
        advice = [one.advice if first[one.advice] is one else "" for one in checks]
        rows = [
            ("ok" if one.ok else "missing", one.name, f"{one.found}  {more}".rstrip())
            for one, more in zip(checks, advice, strict=True)
        ]
        click.echo(columns(rows))
    return int(any(one.needed and not one.ok for one in checks))


@click.command("sync")
@click.option("--uri", help="MLflow's store; else MLFLOW_TRACKING_URI, else SQLite in the runs folder.")
@click.option("--watch", is_flag=True, help="Go on until Ctrl-C, with the curves of what is being trained.")
@click.option("--every", type=click.FloatRange(min=1), default=30, show_default=True, help="Seconds between looks.")
@options.places
@options.as_json
def sync(*, uri: str | None, watch: bool, every: float, places: Places, as_json: bool) -> int:
    """Mirror finished runs into MLflow; the same again adds nothing. 3 if one could not be mirrored."""
    if not watch:
        return _mirrored(uri, places, as_json=as_json)
    if as_json:
        raise click.UsageError("--json prints one document, and --watch goes on.")
    from bench.tracking.live_curves import follow

    while True:
        code = _mirrored(uri, places, as_json=False)
        going = follow(places, uri)
        say(f"{len(going)} trainings in progress; Ctrl-C ends this.")
        try:
            time.sleep(every)
        except KeyboardInterrupt:
            return code


def _mirrored(uri: str | None, places: Places, *, as_json: bool) -> int:
    from bench.tracking import mirror

    report = mirror.sync(places, uri, reporter())
    if as_json:
        emit(asdict(report))
    else:
        click.echo(f"{report.uri}: {len(report.added)} added, {len(report.already)} already there")
    for address, reason in report.failed.items():
        say(f"Error: {address}: {reason}")
    return 3 if report.failed else 0
