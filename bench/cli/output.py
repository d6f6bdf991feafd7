"""Output for people and programs: results on stdout, everything else on stderr.

Text shows metrics in per cent with one decimal; JSON has fractions.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.core.redaction import escape_controls, remove_secrets
from bench.errors import format_count

if TYPE_CHECKING:
    from bench.records.result import Result


def emit(document: Mapping[str, Any]) -> None:
    """Print one JSON document on stdout."""
    echo(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))


def name_program(text: str = "python -m bench") -> str:
    """Return a text with commands as this one was called: `weakloc run` if called by the script of that name."""
    return text.replace("python -m bench", "weakloc") if Path(sys.argv[0]).stem == "weakloc" else text


def echo(text: str = "") -> None:
    """Print text on stdout. Control characters are escaped, since names and notes may come from anybody."""
    click.echo(escape_controls(text))


def say(text: str = "") -> None:
    """Print a line on stderr, without secrets and control characters."""
    click.echo(escape_controls(remove_secrets(name_program(text))), err=True)


def align_columns(rows: Iterable[Sequence[str]]) -> str:
    """Format rows of text with aligned columns, without trailing spaces."""
    table = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    )


def format_value(value: Any) -> str:
    """Format a value as one would type it on the command line."""
    if isinstance(value, dict):
        return format_settings(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "+".join(map(str, value))
    return "-" if value is None else str(value)


def format_settings(settings: Mapping[str, Any]) -> str:
    """Format settings as one would type them: `net=tiny, input_size=128`."""
    return ", ".join(f"{key}={format_value(value)}" for key, value in settings.items())


def format_result(result: Result) -> str:
    """Format a result: method, protocol and split, then each metric with its 95 % interval."""
    from bench.tables.numbers import with_interval

    images = f"{format_count(result.images, 'image')}{result.seed_suffix}"
    head = f"{result.label} · {result.protocol} on {result.evaluated_on}, {images}"
    rows = [
        (f"  {name}", with_interval(value, result.intervals.get(name)) or "undefined")
        for name, value in result.metrics.items()
    ]
    notes = [f"  note: {note}" for note in result.notes]
    return "\n".join([head, align_columns(rows), *notes, f"  result {result.address}"])


def print_results(results: Sequence[Result], *, as_json_document: bool) -> None:
    """Print results, then a leaderboard for each protocol and dataset."""
    if as_json_document:
        emit({"results": [result.model_dump(mode="json", by_alias=True) for result in results]})
        return
    from bench.tables.leaderboard import leaderboards
    from bench.tables.render import text

    parts = [format_result(result) for result in results] + [text(table) for table in leaderboards(results)]
    echo("\n\n".join(parts))
