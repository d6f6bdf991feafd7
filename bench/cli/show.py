"""`list` and `show`: what there is, and one thing in full."""

from __future__ import annotations

from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import click

from bench import registry
from bench.cli import describe, options
from bench.cli.output import columns, emit, result_lines, value_text
from bench.errors import UnknownNameError

if TYPE_CHECKING:
    from bench.core.files import Places
    from bench.records.collection import Kept
    from bench.records.result import Result

WHAT = ("methods", "protocols", "datasets", "tables", "runs")


@click.command("list")
@click.argument(
    "what",
    default="methods",
    metavar=f"[{'|'.join(WHAT)}]",
    shell_complete=lambda _context, _argument, incomplete: [name for name in WHAT if name.startswith(incomplete)],
)
@options.places
@options.plugin
@options.as_json
def list_(what: str, places: Places, as_json: bool) -> None:
    """What there is: methods, protocols, datasets, tables, runs."""
    if what not in WHAT:
        raise UnknownNameError("list", what, WHAT)
    if what == "runs":
        _list_runs(places, as_json)
        return
    if what == "tables":
        _list_tables(places, as_json)
        return
    found = _listed(what)
    if as_json:
        emit({what: [{"name": name, "summary": summary} | more for name, summary, more in found]})
    elif found:
        click.echo(columns((name, summary) for name, summary, _ in found))


@click.command("show")
@click.argument(
    "name",
    nargs=-1,
    required=True,
    metavar="NAME | run ADDRESS",
    shell_complete=options.complete("methods", "protocols", "datasets"),
)
@click.option("--images", type=click.IntRange(min=1), help="Of a run: draw so many images, the worst and the best.")
@click.option("--out", type=options.FILE, help="Where --images writes its page.  [default: RUNS/sheets/ADDRESS.html]")
@options.dataset_options
@options.places
@options.plugin
@options.as_json
def show(name: tuple[str, ...], places: Places, as_json: bool, images: int | None, **drawing: Any) -> None:
    """One thing in full: a method, a protocol, a dataset, a run, or with --images a run's pictures."""
    if images is not None:
        if len(name) != 2 or name[0] != "run":
            raise click.UsageError("--images draws a run: show run ADDRESS --images N")
        _draw_run(name[1], places, as_json, images, **drawing)
        return
    if len(name) == 2 and name[0] == "run":
        _show_run(name[1], places, as_json)
        return
    if len(name) != 1:
        raise click.UsageError("expected one name, or: show run ADDRESS")
    from bench.data.datasets import DATASETS

    method = name[0].partition(":")[0]
    protocols = registry.protocols()
    if name[0] in protocols:
        _print(describe.protocol(registry.protocol(name[0])), describe.protocol_text, as_json)
    elif name[0] in DATASETS:
        _print(describe.dataset(name[0], places), describe.dataset_text, as_json)
    elif method in registry.methods():
        _print(describe.method(*registry.parse(name[0])), describe.method_text, as_json)
    else:
        known = [*registry.methods(), *protocols, *DATASETS]
        raise UnknownNameError("method, protocol or dataset", name[0], known, hint="python -m bench list")


def _print(document: dict[str, Any], text: Any, as_json: bool) -> None:
    if as_json:
        emit(document)
    else:
        click.echo(text(document))


def _listed(what: str) -> list[tuple[str, str, dict[str, Any]]]:
    if what == "datasets":
        from bench.data.datasets import DATASETS

        return [(name, line, {}) for name, line in DATASETS.items()]
    found = registry.methods() if what == "methods" else registry.protocols()
    return [(one.name, one.summary, {"origin": one.origin}) for one in found.values()]


def _list_tables(places: Places, as_json: bool) -> None:
    from bench.cli.table import MEASURED
    from bench.records.collection import kept
    from bench.tables.leaderboards import counted, matched

    found = list(counted(matched(kept(places, MEASURED))))
    if as_json:
        emit({"tables": [{"name": name, "summary": summary} | counts for name, summary, counts in found]})
        return
    rows = []
    for name, summary, counts in found:
        marked = f", {counts['marked']} with marks" if counts["marked"] else ""
        rows.append(
            (
                name,
                f"{counts['cells']} numbers, {counts['measured']} measured{marked}",
                shorten(summary, 100, placeholder=" ..."),
            )
        )
    click.echo(columns(rows))


def _list_runs(places: Places, as_json: bool) -> None:
    from bench.cli.table import MEASURED
    from bench.records.collection import kept
    from bench.tables.numbers import percent

    known = sorted(kept(places, MEASURED), key=lambda one: (one.result.created, one.result.address))
    if as_json:
        emit({"runs": [one.result.model_dump(mode="json", by_alias=True) | _published(one) for one in known]})
        return
    rows = []
    for result, marked in ((one.result, "published" * bool(_published(one))) for one in known):
        name, value = next(iter(result.metrics.items()), ("", None))
        seed = "" if result.seed is None else f"seed {result.seed}"
        where = f"{result.dataset} {result.split}"
        rows.append((result.address, result.label, result.protocol, where, seed, f"{name} {percent(value)}", marked))
    if rows:
        click.echo(columns(rows))


def _published(one: Kept) -> dict[str, bool]:
    """A mark of a result that is not of the runs folder, but published."""
    from bench.cli.table import MEASURED

    return {"published": True} if one.record.is_relative_to(MEASURED) else {}


def _show_run(address: str, places: Places, as_json: bool) -> None:
    from bench.cli.table import MEASURED
    from bench.records.collection import find

    result = find(address, places, MEASURED).result
    record = result.model_dump(mode="json", by_alias=True)
    if as_json:
        emit(record)
        return
    shown = [
        (key, value_text(value)) for key, value in record.items() if key not in ("metrics", "intervals", "per_class")
    ]
    click.echo("\n\n".join([result_lines(result), *_per_class(result), columns(shown)]))


def _draw_run(
    address: str, places: Places, as_json: bool, images: int, out: Path | None, data_options: dict[str, Any]
) -> None:
    from bench.cli.table import MEASURED
    from bench.core.files import write_text
    from bench.gallery.contact_sheet import sheet
    from bench.records.collection import find
    from bench.site.sheet import page

    kept = find(address, places, MEASURED)
    path = out or places.runs / "sheets" / f"{Path(kept.record).stem}.html"
    drawn = sheet(kept, places, images, data_options)
    write_text(path, page(drawn))
    if as_json:
        emit({"written": str(path), "images": sum(map(len, drawn.examples.values())), "notes": list(drawn.notes)})
    else:
        click.echo("\n".join([*(f"note: {note}" for note in drawn.notes), f"Wrote {path}"]))


def _per_class(result: Result) -> list[str]:
    """Classes by metrics, as one piece of text, if any metric is by class."""
    from bench.tables.numbers import percent

    metrics = result.per_class
    classes = dict.fromkeys(name for values in metrics.values() for name in values)
    rows = [(name, *(percent(values.get(name)) for values in metrics.values())) for name in classes]
    return [columns([("class", *metrics), *rows])] if rows else []
