"""The static site of results: every page by its path. The same results give the same bytes.

Pages load only `site.css` and `site.js` from the same folder, and are readable without the latter.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench import registry
from bench.analysis.errors import ErrorAnalysis
from bench.core.files import atomic_folder
from bench.errors import RequestError
from bench.records.collection import StoredResult
from bench.site import compare_page, index, method, protocol, run
from bench.site.parts import UP, make_boards, markup
from bench.site.paths import data_file, method_page, paper_page, pictures_page, protocol_page, run_page
from bench.tables.leaderboards import match_tables, with_measured

HERE = Path(__file__).parent

NO_PICTURES: Mapping[str, str] = MappingProxyType({})
NO_ERRORS: Mapping[str, ErrorAnalysis] = MappingProxyType({})

WIDE = 12
"""A paper's table with more columns is set in small type."""

_MARK = ".weakloc-site"
"""The file that lists the files of a site, so that the next one may replace it."""


def write(
    known: Sequence[StoredResult],
    out: Path,
    pictures: Mapping[str, str] = NO_PICTURES,
    errors: Mapping[str, ErrorAnalysis] = NO_ERRORS,
) -> list[Path]:
    """Write the site of these results to a folder, replacing an earlier site, and return the written files.

    pictures: page of a result's pictures (`bench.site.sheet`), by address; errors: its kinds of errors. Raises
    RequestError if the folder holds anything but a site.
    """
    _check_replaceable(out)
    files = {
        **make_pages(known, pictures, errors),
        **{path.name: path.read_text(encoding="utf-8") for path in (HERE / "assets").iterdir()},
    }
    with atomic_folder(out.resolve()) as fresh:
        for name, text in {**files, _MARK: "\n".join(sorted(files))}.items():
            (fresh / name).parent.mkdir(exist_ok=True)
            (fresh / name).write_text(text, encoding="utf-8")  # not atomic, because the whole folder is
    return [out / name for name in sorted(files)]


def _check_replaceable(out: Path) -> None:
    folder = out.resolve()
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{out} is a file: give a folder.")
    if Path.cwd().is_relative_to(folder):
        raise RequestError(
            f"{out} is or contains the working directory: give a folder inside it, such as {out / 'site'}."
        )
    mark = folder / _MARK
    written = {_MARK, *(mark.read_text(encoding="utf-8").splitlines() if mark.is_file() else ())}
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    if others := sorted(there - written):
        raise RequestError(f"{out} contains {others[0]}, which `report` did not write: give another folder.")


def make_pages(
    known: Sequence[StoredResult],
    pictures: Mapping[str, str] = NO_PICTURES,
    errors: Mapping[str, ErrorAnalysis] = NO_ERRORS,
) -> dict[str, str]:
    """Make every page: the index, and one for each protocol, method, paper's table and result."""
    known = sorted(known, key=lambda one: (one.result.created, one.result.address))
    results = [one.result for one in known]
    render, ranked, found = make_renderer(), make_boards(known), match_tables(known)
    protocols = {one.name: one.summary for one in registry.protocols().values()}
    methods = dict.fromkeys(sorted({result.method for result in results}), "Predictions from elsewhere.")
    methods |= {one.name: one.summary for one in registry.methods().values()}
    made = {
        "index.html": render(
            "index.html", "", **index.make_values(protocols, dict(sorted(methods.items())), ranked, found, known)
        )
    }
    for name in protocols:
        printed = {paper: table.title for paper, (table, _) in found.items() if name in table.protocols()}
        values = protocol.make_values(name, ranked, results, printed, errors)
        made[protocol_page(name)] = render("protocol.html", UP, **values)
    for name, line in methods.items():
        made[method_page(name)] = render("method.html", UP, **method.make_values(name, line, ranked, known, found))
    for one in known:
        shown = pictures_page(one.result.address) if one.result.address in pictures else ""
        made[run_page(one.result.address)] = render("run.html", UP, pictures=shown, **run.make_values(one))
        made[data_file(one.result.address)] = compare_page.make_result_file(one, errors.get(one.result.address))
    made[compare_page.PAGE] = render("compare.html", "", title="Compare runs")
    made[compare_page.INDEX] = compare_page.make_index_file(ranked, known)
    for name, (table, measured) in found.items():
        words = {"title": f"{table.citation}, Table {table.table}", "caption": table.title}
        words |= {"kind": "bare wide" if len(table.columns) > WIDE else "bare"}
        shown = markup(with_measured(table, measured))
        made[paper_page(name)] = render("paper.html", UP, **words, table=shown, notes=table.notes)
    return made | {pictures_page(address): page for address, page in pictures.items()}


def make_renderer() -> Any:
    """Return `render(template, root, **values)`, which escapes all values; `root` is the path to the index."""
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
