"""`check`, `doctor` and `sync`: the method contract, the state of this machine, and the MLflow mirror."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, cast

import click

from bench import registry
from bench.cli import options
from bench.cli.documents import (
    CheckDocument,
    DoctorCheckDocument,
    DoctorDocument,
    FindingDocument,
    MethodCheckDocument,
    ReadinessDocument,
    SyncDocument,
)
from bench.cli.output import align_columns, echo, emit, say
from bench.cli.progress import make_reporter

if TYPE_CHECKING:
    from bench.contract import Finding
    from bench.core.files import Places


ON_NETS = ("cam", "wsddn")
"""Methods to check a net with: one that uses maps of images, one that uses vectors of regions."""


@click.command("check", epilog=options.example("check --method cam --net timm:resnet18"))
@click.option("--method", "methods", multiple=True, callback=options.parse_names, metavar="NAME[:VARIANT]")
@click.option("--net", metavar="NAME", help="Check on this net; without --method the methods cam and wsddn.")
@options.places
@options.plugin
@options.as_json
def check(methods: tuple[str, ...], net: str | None, places: Places, as_json: bool) -> int:
    """Run the contract tests of a method on a dozen generated images; exit code 1 if one fails or none could run."""
    if not methods and net is None:
        raise click.UsageError("Missing option '--method', or '--net' to check a net.")
    methods = methods or ON_NETS
    for name in methods:
        registry.check_name(name)
    if net is not None:
        registry.find_net(net)  # an unknown one is no fault of a method
    from bench.contract import check_isolated, has_passed  # slow: imports torch

    progress = make_reporter()
    findings = {name: check_isolated(name, places, progress, net=net) for name in methods}
    if as_json:
        document: CheckDocument = {"methods": [_to_document(*item) for item in findings.items()]}
        emit(document)
    else:
        rows = [(finding.status, name, finding.name, finding.detail) for name in findings for finding in findings[name]]
        echo(align_columns(rows))
    return int(not all(map(has_passed, findings.values())))


def _to_document(name: str, findings: Sequence[Finding]) -> MethodCheckDocument:
    from bench.contract import has_passed

    entries = [cast(FindingDocument, asdict(finding)) for finding in findings]
    return {"name": name, "passed": has_passed(findings), "findings": entries}


@click.command("doctor", epilog=options.example("doctor --data-root DATA"))
@options.places
@options.as_json
def doctor(places: Places, as_json: bool) -> int:
    """Check what works on this machine, and which protocols can be run.

    Exit code 1 if something essential is missing.
    """
    from bench.data.datasets import list_datasets
    from bench.doctor import examine
    from bench.records.result import SYNTHETIC
    from bench.verbs.readiness import examine_protocols, format_readiness

    real = [name for name in list_datasets() if name not in SYNTHETIC]
    checks, protocols = list(examine(places)), examine_protocols(real, places)
    if as_json:
        document: DoctorDocument = {
            "checks": [cast(DoctorCheckDocument, asdict(check)) for check in checks],
            "protocols": [cast(ReadinessDocument, asdict(one)) for one in protocols],
        }
        emit(document)
    else:
        first = {check.advice: check for check in reversed(checks)}  # each advice is printed once
        advice = [check.advice if first[check.advice] is check else "" for check in checks]
        rows = [
            ("ok" if check.ok else "missing", check.name, f"{check.found}  {hint}".rstrip())
            for check, hint in zip(checks, advice, strict=True)
        ]
        echo("\n".join([align_columns(rows), "", *format_readiness(protocols)]))
    return int(any(check.needed and not check.ok for check in checks))


@click.command("sync", epilog=options.example("sync --uri http://localhost:5000"))
@click.option("--uri", help="MLflow store (default: MLFLOW_TRACKING_URI, or SQLite in RUNS).")
@click.option("--watch", is_flag=True, help="Repeat until Ctrl-C, with the curves of running trainings.")
@click.option("--every", type=click.FloatRange(min=1), default=30, show_default=True, help="Seconds between syncs.")
@options.places
@options.as_json
def sync(*, uri: str | None, watch: bool, every: float, places: Places, as_json: bool) -> int:
    """Mirror finished runs into MLflow; runs already there are skipped. Exit code 3 if a run could not be mirrored."""
    if not watch:
        return _sync_once(uri, places, as_json=as_json)
    if as_json:
        raise click.UsageError("--json prints one document, so it cannot be used with --watch.")
    from bench.tracking.live_curves import follow

    while True:
        code = _sync_once(uri, places, as_json=False)
        running = follow(places, uri)
        say(f"{len(running)} trainings in progress; press Ctrl-C to stop.")
        try:
            time.sleep(every)
        except KeyboardInterrupt:
            return code


def _sync_once(uri: str | None, places: Places, *, as_json: bool) -> int:
    from bench.tracking import mirror

    report = mirror.sync(places, uri, make_reporter())
    if as_json:
        emit(cast(SyncDocument, asdict(report)))
    else:
        echo(f"{report.uri}: {len(report.added)} added, {len(report.already)} already there")
        say(report.how_to_look)
    for address, reason in report.failed.items():
        say(f"Error: {address}: {reason}")
    return 3 if report.failed else 0
