"""`audit`: what the conventions do to a number, for predictions at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bench.cli import options
from bench.cli.given import given, read_given
from bench.cli.output import emit
from bench.cli.progress import reporter

if TYPE_CHECKING:
    from bench.analysis.audit import Audit, Setting


@click.command("audit")
@given
@options.allow_missing
@options.format_
@options.as_json
def audit(*, allow_missing: bool, format_: str, as_json: bool, **chosen: Any) -> None:
    """The same predictions under every convention switch.

    Switches move one at a time; the one that moves the primary metric most comes first. Nothing is recorded.
    """
    from bench.analysis.audit import audit as audit_all
    from bench.analysis.audit import table_of
    from bench.tables.render import FORMATS

    bound, truth, predictions = found = read_given(**chosen)
    audited = audit_all(bound, truth, found.resolved(), allow_missing=allow_missing, progress=reporter())
    made_by = next(iter(predictions.values())).about.made_by
    judged_on = {"protocol": bound.record.name, "dataset": truth.dataset, "split": truth.split, "method": made_by}
    if as_json:
        emit({**judged_on, "conventions": bound.conventions.model_dump(mode="json"), **_document(audited)})
        return
    title = f"{made_by} · {bound.record.name} on {truth.dataset} {truth.split}, every switch moved alone, per cent"
    click.echo(FORMATS[format_](table_of(audited, title)))


def _document(audit: Audit) -> dict[str, Any]:
    def moved(setting: Setting) -> dict[str, Any]:
        return {
            "switch": setting.switch,
            "value": setting.value,
            "metrics": setting.metrics,
            "differences": {metric: audit.difference(setting, metric) for metric in setting.metrics},
            "ranges": setting.ranges,
            "refused": setting.refused,
        }

    return {"metrics": audit.own.metrics, "settings": [moved(setting) for setting in audit.others]}
