"""`audit`: how much each convention changes the metrics of given predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bench.cli import options
from bench.cli.documents import AuditDocument, AuditSettingDocument
from bench.cli.output import echo, emit
from bench.cli.progress import make_reporter
from bench.cli.scoring_inputs import scoring_options

if TYPE_CHECKING:
    from bench.analysis.audit import Audit, Setting
    from bench.verbs.scoring import AuditReport


@click.command("audit", epilog=options.example("audit --protocol voc07-det --predictions mine.json"))
@scoring_options
@options.allow_missing
@options.format_
@options.as_json
def audit(*, format_: str, as_json: bool, **chosen: Any) -> None:
    """Score the same predictions under every convention.

    One convention is changed at a time; the one that changes the primary metric most comes first. Nothing is recorded.
    """
    from bench.tables.render import FORMATS
    from bench.verbs.scoring import audit as audit_predictions

    report = audit_predictions(progress=make_reporter(), **chosen)
    if as_json:
        emit(_to_document(report))
        return
    echo(FORMATS[format_](report.make_table()))


def _to_document(report: AuditReport) -> AuditDocument:
    return {
        "protocol": report.protocol,
        "dataset": report.dataset,
        "split": report.split,
        "method": report.method,
        "conventions": dict(report.conventions),
        "metrics": report.audit.own.metrics,
        "settings": [_to_setting_document(report.audit, setting) for setting in report.audit.others],
    }


def _to_setting_document(audit: Audit, setting: Setting) -> AuditSettingDocument:
    return {
        "switch": setting.switch,
        "value": setting.value,
        "metrics": setting.metrics,
        "differences": {metric: audit.difference(setting, metric) for metric in setting.metrics},
        "ranges": setting.ranges,
        "refused": setting.refused,
    }
