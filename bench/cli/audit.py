"""`audit`: how much each convention changes the metrics of given predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bench.cli import options
from bench.cli.documents import AuditDocument, AuditSettingDocument
from bench.cli.output import emit
from bench.cli.progress import make_reporter
from bench.cli.scoring_inputs import ScoringInputs, read_scoring_inputs, scoring_options

if TYPE_CHECKING:
    from bench.analysis.audit import Audit, Setting


@click.command("audit")
@scoring_options
@options.allow_missing
@options.format_
@options.as_json
def audit(*, allow_missing: bool, format_: str, as_json: bool, **chosen: Any) -> None:
    """Score the same predictions under every convention.

    One convention is changed at a time; the one that changes the primary metric most comes first. Nothing is recorded.
    """
    from bench.analysis.audit import audit as audit_all
    from bench.analysis.audit import make_table
    from bench.tables.render import FORMATS

    inputs = read_scoring_inputs(**chosen)
    protocol, truth = inputs.protocol, inputs.truth
    audited = audit_all(protocol, truth, inputs.resolve(), allow_missing=allow_missing, progress=make_reporter())
    if as_json:
        emit(_to_document(inputs, audited))
        return
    where = f"{protocol.record.name} on {truth.dataset} {truth.split}"
    title = f"{inputs.made_by} · {where}, each convention changed alone, per cent"
    click.echo(FORMATS[format_](make_table(audited, title)))


def _to_document(inputs: ScoringInputs, audit: Audit) -> AuditDocument:
    return {
        "protocol": inputs.protocol.record.name,
        "dataset": inputs.truth.dataset,
        "split": inputs.truth.split,
        "method": inputs.made_by,
        "conventions": inputs.protocol.conventions.model_dump(mode="json"),
        "metrics": audit.own.metrics,
        "settings": [_to_setting_document(audit, setting) for setting in audit.others],
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
