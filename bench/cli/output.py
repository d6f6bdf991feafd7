"""What people and programs read: results on stdout, everything else on stderr; per cent with one digit for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from bench.errors import amount

if TYPE_CHECKING:
    from bench.records.result import Result


def emit(document: Any) -> None:
    """Print one JSON document on stdout."""
    click.echo(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))


def say(text: str = "") -> None:
    """One line on stderr."""
    click.echo(text, err=True)


def columns(rows: Iterable[Sequence[str]]) -> str:
    """Rows of text, their columns aligned, nothing after the last."""
    table = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    )


def value_text(value: Any) -> str:
    """A value as it would be typed."""
    if isinstance(value, dict):
        return settings_text(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "+".join(map(str, value))
    return "-" if value is None else str(value)


def settings_text(settings: Mapping[str, Any]) -> str:
    """Settings as they would be typed: `net=tiny, size=128`."""
    return ", ".join(f"{key}={value_text(value)}" for key, value in settings.items())


def result_lines(result: Result) -> str:
    """A result as a person reads it: what was judged on what, then a line a metric with its 95 % interval."""
    from bench.tables.numbers import with_interval

    part = " (partial)" if result.partial else ""
    seed = "" if result.seed is None else f", seed {result.seed}"
    images = f"{amount(result.images, 'image')}{seed}"
    head = f"{result.label} · {result.protocol} on {result.dataset} {result.split}{part}, {images}"
    rows = [
        (f"  {name}", with_interval(value, result.intervals.get(name)) or "undefined")
        for name, value in result.metrics.items()
    ]
    notes = [f"  note: {note}" for note in result.notes]
    return "\n".join([head, columns(rows), *notes, f"  result {result.address}"])


def print_results(results: Sequence[Result], *, as_json_document: bool) -> None:
    """Results, then one table for each protocol and dataset."""
    if as_json_document:
        emit({"results": [result.model_dump(mode="json", by_alias=True) for result in results]})
        return
    from bench.tables.leaderboard import leaderboards
    from bench.tables.render import text

    parts = [result_lines(result) for result in results] + [text(table) for table in leaderboards(results)]
    click.echo("\n\n".join(parts))
