"""`show run`: a result as a page of text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from bench.cli.output import align_columns, format_result, format_settings, name_program
from bench.errors import format_bytes

if TYPE_CHECKING:
    from bench.records.result import Result

WIDTH = 100


MADE_BY = {
    "author": "the method's author",
    "here": "this project's implementation",
    "others": "others, who reproduced the method",
}


def format_page(result: Result) -> str:
    """Format a result: its metrics, also by class, how it was made, and the command that makes it again."""
    from bench.tables.caveats import CAVEATS, list_caveats
    from bench.tracks.command import make_command

    caveats = "".join(f"\n  {mark} {CAVEATS[mark]}" for mark in list_caveats([result]))
    command = name_program(make_command(result))
    parts = [
        format_result(result) + caveats,
        *_format_per_class(result),
        *(_format_section(title, dict(fields)) for title, fields in _list_sections(result)),
        f"Make it again{_format_revision(result)}\n  {command}",
    ]
    return "\n\n".join(part for part in parts if part)


def _list_sections(result: Result) -> Iterator[tuple[str, Iterator[tuple[str, str]]]]:
    yield "Evaluation", _describe_evaluation(result)
    yield "Method", _describe_method(result)
    yield "Made by", _describe_making(result)
    yield "Digests", _describe_digests(result)


def _describe_evaluation(result: Result) -> Iterator[tuple[str, str]]:
    yield "protocol", f"{result.protocol}, of the family {result.family}"
    yield "conventions", format_settings(result.conventions)
    options = f", {format_settings(result.data_options)}" if result.data_options else ""
    yield "images", f"{result.dataset} {result.split}, {result.images}{options}"
    yield "counts", format_settings(result.counts)
    for metric, classes in result.undefined.items():
        yield f"{metric} undefined for", ", ".join(classes)


def _describe_method(result: Result) -> Iterator[tuple[str, str]]:
    from bench.tables.caveats import find_tier

    yield "trained on", f"{result.train_split}{result.seed_suffix}" if result.train_split else ""
    yield "settings given", "" if result.given is None else _format_given(result)
    given = set(result.given or ())
    yield "settings", format_settings({key: value for key, value in result.config.items() if key not in given})
    yield "transforms", "; ".join(result.transforms)
    yield "tuned on", "" if result.tuned_on == "none" else result.tuned_on
    yield "used", ", ".join(result.used)
    yield "made by", MADE_BY.get(find_tier(result) or "", "")


def _format_given(result: Result) -> str:
    return format_settings({key: result.config[key] for key in result.given or () if key in result.config}) or "none"


def _describe_making(result: Result) -> Iterator[tuple[str, str]]:
    made = result.provenance
    packages = {name: version for name, version in made.get("packages", {}).items() if version}
    yield "when", result.created
    yield "on", str(made.get("device") or "")
    yield "platform", str(made.get("platform") or "")
    yield "packages", ", ".join(f"{name} {version}" for name, version in packages.items())
    yield "seconds", ", ".join(_format_step(result, step) for step in result.seconds)
    yield "parameters", "" if result.parameters is None else f"{result.parameters:,}"
    yield "operations", "" if result.flops is None else f"{result.flops / 1e9:.3g} GFLOPs an image"
    yield "memory", "" if result.peak_memory_mib is None else format_bytes(int(result.peak_memory_mib * 2**20))


def _format_step(result: Result, step: str) -> str:
    rate = result.images_per_second.get(step)
    return f"{step} {result.seconds[step]:.1f}" + ("" if rate is None else f" ({rate:,.4g} images/s)")


def _describe_digests(result: Result) -> Iterator[tuple[str, str]]:
    yield "result", result.address
    yield "training", result.training or ""
    yield "predictions", result.predictions
    for kind, digest in result.predictions_digest.items():
        yield f"  of {kind}", digest
    yield "initial weights", result.weights or ""
    yield "proposals", result.proposals_digest or ""
    yield "conventions", result.digest
    yield "ground truth", result.truth_digest
    yield "image ids", result.ids_digest
    yield "outcomes", result.outcomes_digest or ""


def _format_section(title: str, fields: Mapping[str, str]) -> str:
    """Format fields that have a value, wrapped and aligned under their title."""
    shown = {name: text for name, text in fields.items() if text}
    width = max(map(len, shown), default=0) + 4
    lines = [
        textwrap.fill(
            text,
            WIDTH,
            initial_indent=f"  {name}".ljust(width),
            subsequent_indent=" " * width,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name, text in shown.items()
    ]
    return "\n".join([title, *lines]) if lines else ""


def _format_revision(result: Result) -> str:
    revision = result.provenance.get("revision")
    return "" if not revision else f", at revision {str(revision)[:12]}{' and its edits' if result.is_edited else ''}"


def _format_per_class(result: Result) -> list[str]:
    """Format the metrics by class as one block of text; empty if no metric is by class."""
    from bench.tables.numbers import percent

    metrics = result.per_class
    classes = dict.fromkeys(name for values in metrics.values() for name in values)
    rows = [(name, *(percent(values.get(name)) for values in metrics.values())) for name in classes]
    return [align_columns([("class", *metrics), *rows])] if rows else []
