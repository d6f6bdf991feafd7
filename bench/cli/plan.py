"""`plan`: the runs that would fill a paper's table, what is missing for them, and what they would cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli import options, product
from bench.cli.documents import CostDocument, PlannedCellDocument, PlannedRunDocument, TablePlanDocument
from bench.cli.output import align_columns, echo, emit, name_program, say
from bench.errors import RequestError, format_bytes, format_count, format_names

if TYPE_CHECKING:
    from bench.core.files import Places
    from bench.execution.step_cost import Span
    from bench.tables.plan import PlannedCell, PlannedRun
    from bench.verbs.plan_cost import CostedPlan, RunCost

_HOUR = 3600.0


@click.command("plan", epilog=options.example("plan melm-2"))
@click.argument("table", required=False, metavar="PAPER-NUMBER", shell_complete=options.make_completer("papers"))
@click.option("--all", "is_all", is_flag=True, help="Plan the tables of all papers; what they share is counted once.")
@product.cells
@click.option("--seed", "seeds", callback=options.parse_seeds, metavar="0,1,2", help="Seeds of each run.  [default: 0]")
@product.changes
@click.option("--measure", is_flag=True, help="Take a few steps of each configuration first, to know what it costs.")
@product.device
@product.threads
@options.workers
@options.places
@options.results
@options.plugin
@options.as_json
def plan(
    *,
    table: str | None,
    is_all: bool,
    rows: tuple[str, ...],
    columns: tuple[str, ...],
    seeds: tuple[int, ...] | None,
    places: Places,
    results: Path,
    as_json: bool,
    **rest: Any,
) -> None:
    """Plan the runs that would fill a paper's table, and say what they cost.

    A number that no run here would measure is only reported, and the plan says why. Times are those of steps measured
    on this machine, by --measure, or of recorded runs like these. `submit --table` sends what is planned. Both take
    --data and --set to try the plan out on other data.
    """
    if (table is None) == (not is_all):
        raise click.UsageError("expected a paper's table, such as melm-2, or --all", click.get_current_context())
    if is_all and (rows or columns):
        raise RequestError("--rows and --columns are of one table: leave out --all.")
    from bench.verbs.plan import plan_with_costs
    from bench.verbs.results import MEASURED

    measured = results / MEASURED
    names = [] if table is None else [table]
    changes = product.make_changes(rest)
    costed = plan_with_costs(
        names, places, measured, rows=rows, columns=columns, seeds=seeds, changes=changes, say=say, **rest
    )
    if as_json:
        emit(to_document(costed))
        return
    echo("\n\n".join(part for part in _format_plan(costed, is_brief=is_all) if part))


def _format_plan(costed: CostedPlan, *, is_brief: bool) -> Iterator[str]:
    yield _format_counts(costed)
    if is_brief:
        yield align_columns(
            [("table", "planned", "shared", "reported only", "hours here", "GPU hours"), *_list_tables(costed)]
        )
    else:
        yield "\n".join(_format_run(costed, number, run) for number, run in enumerate(costed.runs, start=1))
        yield "\n".join(_list_reported(costed))
    yield "\n".join([*_list_missing(costed), *_list_notes(costed)])
    yield _format_total(costed)


def _format_counts(costed: CostedPlan) -> str:
    plan = costed.plan
    states = ", ".join(f"{plan.count(state)} {state}" for state in ("planned", "shared", "reported only"))
    names = format_names(plan.tables, most=1) if len(plan.tables) == 1 else format_count(len(plan.tables), "table")
    shared = format_count(len(plan.runs), "run"), format_count(len(plan.trainings), "training")
    return f"{names}: {format_count(len(plan.cells), 'number')}: {states}. {' from '.join(shared)}."


def _list_tables(costed: CostedPlan) -> Iterator[tuple[str, ...]]:
    """List what each table needs, as if it shared no runs."""
    for name in costed.plan.tables:
        cells = [cell for cell in costed.plan.cells if cell.table == name]
        counts = Counter(cell.state for cell in cells)
        runs = dict.fromkeys(cell.run for cell in cells if cell.run is not None)
        spans = [costed.get_seconds(run) for run in runs]
        hours = (
            "unknown" if any(span is None for span in spans) else f"{sum(s.middle for s in spans if s) / _HOUR:,.1f}"
        )
        gpu = costed.get_gpu_seconds(runs)
        states = (str(counts[state]) for state in ("planned", "shared", "reported only"))
        yield (name, *states, hours, f"{gpu.middle / _HOUR:,.1f}" if gpu else "unknown")


def _format_run(costed: CostedPlan, number: int, run: PlannedRun) -> str:
    cost, cells = costed.runs[run], costed.plan.runs[run]
    values = format_names([cell.name for cell in cells], most=3)
    lines = [f"{number}. {values}", f"   {name_program(run.command)}", f"   {_format_cost(costed, run, cost)}"]
    shared = [f"{'/'.join(costed.plan.elsewhere[one])}" for one in run.trainings if one in costed.plan.elsewhere]
    lines += [f"   its training is also that of {format_names(shared[0].split('/'), most=8)}"] if shared else []
    first = next((other for other in costed.runs if {*other.trainings} & {*run.trainings}), run)
    lines += [f"   its training is that of run {[*costed.runs].index(first) + 1}"] if first != run else []
    return "\n".join(lines)


def _format_cost(costed: CostedPlan, run: PlannedRun, cost: RunCost) -> str:
    trained = "" if not run.trainings else f"{_count(cost.trained)} trained, "
    span = costed.get_seconds(run)
    parts = [f"{trained}{_count(cost.predicted)} predicted", format_span(span) if span else "time unknown"]
    parts += [f"{format_bytes(int(cost.memory_mib * 2**20))} of memory"] if cost.memory_mib else []
    parts += [f"{format_bytes(int(cost.disk_mib * 2**20))} of disk"] if cost.disk_mib else []
    return "; ".join([*parts, *([cost.source] if cost.source else [])])


def _count(images: int | None) -> str:
    return "unknown images" if images is None else f"{images:,} images"


def format_span(span: Span) -> str:
    """Format seconds with their range.

    >>> from bench.execution.step_cost import Span
    >>> format_span(Span(3600, 7200, 9000)), format_span(Span(30, 60, 90))
    ('about 2 h (1 to 2.5)', 'about 60 s (30 to 90)')
    """
    unit, size = ("h", _HOUR) if span.middle >= _HOUR else ("min", 60.0) if span.middle >= 120 else ("s", 1.0)
    low, middle, high = (f"{value / size:,.2g}" if value / size < 10 else f"{value / size:,.0f}" for value in span)
    return f"about {middle} {unit} ({low} to {high})"


def _list_reported(costed: CostedPlan) -> Iterator[str]:
    """List why numbers are only reported, with those of the same reason together."""
    cells: dict[str, list[PlannedCell]] = {}
    for cell in costed.plan.cells:
        if cell.reason:
            cells.setdefault(cell.reason, []).append(cell)
    for reason, some in cells.items():
        rows = [*dict.fromkeys(cell.label for cell in some)]
        yield f"reported only ({format_count(len(some), 'number')}): {format_names(rows, most=8)}: {reason}"


def _list_missing(costed: CostedPlan) -> Iterator[str]:
    for what, runs in costed.missing.items():
        yield f"missing here: {what} ({format_count(runs, 'run')})"
    for reason, runs in costed.failures.items():
        yield f"not measured: {reason} ({format_count(runs, 'run')})"
    if not costed.has_gpu and costed.runs:
        yield "missing here: a GPU; times are those of a processor unless a record says otherwise"


def _list_notes(costed: CostedPlan) -> Iterator[str]:
    notes = Counter(note for cell in costed.plan.cells for note in cell.notes)
    for note, count in notes.items():
        yield f"note: {note} ({format_count(count, 'number')})"


def _format_total(costed: CostedPlan) -> str:
    """Format the time of all runs, as far as known, and that of their operations on a GPU."""
    from bench.tables.operations import GPU

    unknown, count, gpu = len(costed.unknown), len(costed.runs), costed.gpu_seconds
    if not count:
        return ""
    without = f", without {unknown} of {format_count(count, 'run')}, of which nothing tells" if unknown else ""
    is_known = any(costed.trainings.values()) or not unknown
    time = f"{format_span(costed.seconds)}{without}" if is_known else "unknown: --measure takes a few steps to know"
    searches = [span for span in costed.searches.values() if span is None]
    lines = [f"Time in all, each training once: {time}{', without region proposals' if searches and is_known else ''}."]
    if gpu is not None:
        low, middle, high = (f"{rate / 1e12:.0f}" for rate in GPU)
        rates = f"at {middle} TFLOP/s (range: {high} to {low})"
        lines.append(f"On a GPU, by counting operations: {format_span(gpu)} {rates}.")
    return "\n".join(lines)


def to_document(costed: CostedPlan) -> TablePlanDocument:
    """Convert a plan to what `--json` prints."""
    plan, numbers = costed.plan, {run: number for number, run in enumerate(costed.runs)}
    return {
        "tables": list(plan.tables),
        "counts": {
            "planned": plan.count("planned"),
            "shared": plan.count("shared"),
            "reported_only": plan.count("reported only"),
        },
        "trainings": len(plan.trainings),
        "runs": [_to_run_document(costed, run) for run in costed.runs],
        "cells": [_to_cell_document(cell, numbers) for cell in plan.cells],
        "missing": dict(costed.missing),
        "gpu": costed.has_gpu,
        "seconds": _to_span(costed.seconds),
        "unknown": len(costed.unknown),
        "gpu_seconds": _to_span(costed.gpu_seconds),
    }


def _to_run_document(costed: CostedPlan, run: PlannedRun) -> PlannedRunDocument:
    cost = costed.runs[run]
    trainings = [costed.plan.trainings.index(training) for training in run.trainings]
    also_in = [name for training in run.trainings for name in costed.plan.elsewhere.get(training, ())]
    document: CostDocument = {
        "images": {"training": cost.trained, "prediction": cost.predicted},
        "seconds": _to_span(costed.get_seconds(run)),
        "memory_mib": cost.memory_mib,
        "disk_mib": cost.disk_mib,
        "source": cost.source,
        "not_measured": cost.failure,
    }
    return {
        "command": run.command,
        "method": run.method,
        "protocol": run.protocol,
        "settings": dict(run.settings),
        "recipe": run.recipe,
        "dataset": run.dataset,
        "split": run.split,
        "seeds": list(run.seeds),
        "trainings": trainings,
        "also_in": list(dict.fromkeys(also_in)),
        "cost": document,
        "missing": list(cost.missing),
    }


def _to_span(span: Span | None) -> dict[str, float] | None:
    return None if span is None else dict(span._asdict())


def _to_cell_document(cell: PlannedCell, numbers: dict[PlannedRun, int]) -> PlannedCellDocument:
    return {
        "table": cell.table,
        "row": cell.row,
        "column": cell.column,
        "label": cell.label,
        "head": cell.head,
        "reported": cell.value,
        "state": cell.state,
        "reason": cell.reason,
        "run": None if cell.run is None else numbers[cell.run],
        "notes": list(cell.notes),
    }
