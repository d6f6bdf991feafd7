"""The static site from kept results: every page by its path. The same results give the same bytes.

Nothing is loaded from elsewhere: a page needs `site.css` and `site.js` beside it, and reads well without the latter.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench import registry
from bench.boards import board, counted, paper_table
from bench.errors import RequestError
from bench.files import atomic_folder, write_text
from bench.kept import Kept
from bench.result import SYNTHETIC, Result
from bench.tables.html import html
from bench.tables.leaderboard import widened
from bench.tables.model import Cell, Table
from bench.tables.numbers import percent, with_interval
from bench.tables.papers import reported_tables
from bench.trend import table_of, trends

HERE = Path(__file__).parent


_MARK = ".weakloc-site"
"""The file that lists what the folder of a site holds, so that the next one may take its place."""


def write(known: Sequence[Kept], out: Path) -> list[Path]:
    """Write the site of these results as a folder, in the place of the last one; the files written.

    Raises RequestError where that would remove what is no site.
    """
    _check_replaceable(out)
    files = {**pages(known), **{path.name: path.read_text(encoding="utf-8") for path in (HERE / "assets").iterdir()}}
    with atomic_folder(out.resolve()) as fresh:
        for name, text in {**files, _MARK: "\n".join(sorted(files))}.items():
            write_text(fresh / name, text)
    return [out / name for name in sorted(files)]


def _check_replaceable(out: Path) -> None:
    folder = out.resolve()
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{out} is a file: name a folder.")
    if Path.cwd().is_relative_to(folder):
        raise RequestError(f"{out} is or holds the working directory: name a folder in it, such as {out / 'site'}.")
    mark = folder / _MARK
    written = {_MARK, *(mark.read_text(encoding="utf-8").splitlines() if mark.is_file() else ())}
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    if others := sorted(there - written):
        raise RequestError(f"{out} holds {others[0]}, which `report` did not write: name another folder.")


def pages(known: Sequence[Kept]) -> dict[str, str]:
    """Every page: the index, one for each protocol and method with results, each result, and each paper's table."""
    known = sorted(known, key=lambda one: (one.result.created, one.result.address))
    results = [one.result for one in known]
    render = renderer()
    tables = list(counted(known))
    found = {"index.html": render("index.html", "", **_index(results, tables))}
    for name in sorted({result.protocol for result in results}):
        found[f"protocol/{name}.html"] = render("protocol.html", "../", **_protocol(name, known))
    for name in sorted({result.label for result in results}):
        found[method_page(name)] = render("method.html", "../", **_method(name, results))
    for result in results:
        found[run_page(result.address)] = render("run.html", "../", **_run(result))
    for name in reported_tables():
        found[f"paper/{name}.html"] = render("paper.html", "../", title=name, tables=[_html(paper_table(name, known))])
    return found


def method_page(label: str) -> str:
    """The path of a method's page."""
    return f"method/{_file(label)}.html"


def run_page(address: str) -> str:
    """The path of a result's page."""
    return f"run/{_file(address)}.html"


def _file(name: str) -> str:
    """A name without what no file name should hold, and no two names the same."""
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-_") else f".{ord(sign):x}." for sign in name)


def renderer() -> Any:
    """What makes a page of a template, the way to the site's root, and values, all of which are escaped."""
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["base64"] = lambda data: b64encode(data).decode()

    def render(template: str, root: str, **values: Any) -> str:
        return environment.get_template(template).render(root=root, **values) + "\n"

    return render


def _index(results: Sequence[Result], tables: Iterable[tuple[str, str, dict[str, int]]]) -> dict[str, Any]:
    listed = registry.protocols()
    protocols = [
        (name, listed[name].summary if name in listed else "", len(list(some)))
        for name, some in groupby(sorted(result.protocol for result in results))
    ]
    methods = [
        (name, method_page(name), len(list(some))) for name, some in groupby(sorted(result.label for result in results))
    ]
    return {"title": "weakloc", "protocols": protocols, "methods": methods, "papers": tables}


def _protocol(name: str, known: Sequence[Kept]) -> dict[str, Any]:
    """Its leaderboards, the real before the synthetic, its switches with their sources, and how its results moved."""
    record = registry.protocol(name)
    results = [one.result for one in known if one.result.protocol == name]
    datasets = sorted({result.dataset for result in results}, key=lambda dataset: (dataset in SYNTHETIC, dataset))
    boards = [widened(board(name, dataset, known)) for dataset in datasets]
    links = {row[0].text: f"../{method_page(row[0].text.partition(' [')[0])}" for table in boards for row in table.rows}
    switches = [(key, str(value), record.sources.get(key, "")) for key, value in record.conventions.items()]
    return {
        "title": name,
        "record": record,
        "tables": [_html(table, links) for table in boards],
        "switches": _html(_plain("Conventions", ("switch", "value", "source"), switches)),
        "trends": [_html(table_of(trend)) for trend in trends(results)],
        "runs": list(map(_line, results)),
    }


def _method(label: str, results: Sequence[Result]) -> dict[str, Any]:
    own = [result for result in results if result.label == label]
    listed = registry.methods().get(own[0].method)
    return {
        "title": label,
        "summary": listed.summary if listed else "Predictions from elsewhere.",
        "trends": [_html(table_of(trend)) for trend in trends(own)],
        "runs": list(map(_line, own)),
    }


def _run(result: Result) -> dict[str, Any]:
    metrics = [
        (name, with_interval(value, result.intervals.get(name)) or "undefined")
        for name, value in result.metrics.items()
    ]
    classes = dict.fromkeys(name for values in result.per_class.values() for name in values)
    by_class = [(name, *(percent(values.get(name)) for values in result.per_class.values())) for name in classes]
    tables = [_plain("Metrics, per cent with 95 % intervals", ("metric", "value"), metrics)]
    if by_class:
        tables.append(_plain("By class, per cent", ("class", *result.per_class), by_class))
    shown = result.model_dump(
        mode="json", by_alias=True, exclude={"metrics", "intervals", "per_class", "higher_is_better"}
    )
    tables.append(_plain("Record", ("field", "value"), _flat(shown)))
    return {
        "title": f"{result.label} · {result.protocol}",
        "result": result,
        "synthetic": result.dataset in SYNTHETIC,
        "method": method_page(result.label),
        "tables": list(map(_html, tables)),
    }


def _flat(record: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in record.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        elif value not in (None, "", []):
            yield f"{above}{key}", "; ".join(map(str, value)) if isinstance(value, list) else str(value)


def _line(result: Result) -> tuple[str, str, str, str]:
    """Of a result: its page, what it is, where it was judged, its first number."""
    name, value = next(iter(result.metrics.items()), ("", None))
    seed = "" if result.seed is None else f", seed {result.seed}"
    partial = " (partial)" if result.partial else ""
    where = f"{result.protocol} on {result.dataset} {result.split}{partial}"
    return run_page(result.address), f"{result.label}{seed}", where, f"{name} {percent(value) or 'undefined'}"


def _plain(title: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Table:
    return Table(title, columns, tuple(tuple(Cell(text, text) for text in row) for row in rows))


def _html(table: Table, links: Mapping[str, str] | None = None) -> Markup:
    return Markup(html(table, links))  # which escapes all that it is given
