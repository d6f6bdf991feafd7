"""The static site from kept results: every page by its path. The same results give the same bytes.

Nothing is loaded from elsewhere: a page needs `site.css` and `site.js` beside it, and reads well without the latter.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench import registry
from bench.core.files import atomic_folder
from bench.errors import RequestError
from bench.records.collection import StoredResult
from bench.site import index, method, protocol, run
from bench.site.parts import UP, boards, markup
from bench.site.paths import method_page, paper_page, pictures_page, protocol_page, run_page
from bench.tables.leaderboards import beside, matched

HERE = Path(__file__).parent

NO_PICTURES: Mapping[str, str] = MappingProxyType({})

WIDE = 12
"""Columns of a paper's table from which on it is set small."""

_MARK = ".weakloc-site"
"""The file that lists what the folder of a site holds, so that the next one may take its place."""


def write(known: Sequence[StoredResult], out: Path, pictures: Mapping[str, str] = NO_PICTURES) -> list[Path]:
    """Write the site of these results as a folder, in the place of the last one; the files written.

    pictures: the page of a result's pictures (`bench.site.sheet`), by its address.

    Raises RequestError where that would remove what is no site.
    """
    _check_replaceable(out)
    files = {
        **pages(known, pictures),
        **{path.name: path.read_text(encoding="utf-8") for path in (HERE / "assets").iterdir()},
    }
    with atomic_folder(out.resolve()) as fresh:
        for name, text in {**files, _MARK: "\n".join(sorted(files))}.items():
            (fresh / name).parent.mkdir(exist_ok=True)
            (fresh / name).write_text(text, encoding="utf-8")  # the folder appears as a whole; each file need not
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


def pages(known: Sequence[StoredResult], pictures: Mapping[str, str] = NO_PICTURES) -> dict[str, str]:
    """Every page: the index, one for each protocol, method, paper's table and result."""
    known = sorted(known, key=lambda one: (one.result.created, one.result.address))
    results = [one.result for one in known]
    render, ranked, found = renderer(), boards(known), matched(known)
    protocols = {one.name: one.summary for one in registry.protocols().values()}
    methods = dict.fromkeys(sorted({result.method for result in results}), "Predictions from elsewhere.")
    methods |= {one.name: one.summary for one in registry.methods().values()}
    made = {
        "index.html": render("index.html", "", **index.values(protocols, dict(sorted(methods.items())), ranked, found))
    }
    for name in protocols:
        printed = {paper: table.title for paper, (table, _) in found.items() if name in table.protocols()}
        made[protocol_page(name)] = render("protocol.html", UP, **protocol.values(name, ranked, results, printed))
    for name, line in methods.items():
        made[method_page(name)] = render("method.html", UP, **method.values(name, line, ranked, known, found))
    for one in known:
        shown = pictures_page(one.result.address) if one.result.address in pictures else ""
        made[run_page(one.result.address)] = render("run.html", UP, pictures=shown, **run.values(one))
    for name, (table, measured) in found.items():
        words = {"title": f"{table.citation}, Table {table.table}", "caption": table.title}
        words |= {"kind": "bare wide" if len(table.columns) > WIDE else "bare"}
        shown = markup(beside(table, measured))
        made[paper_page(name)] = render("paper.html", UP, **words, table=shown, notes=table.notes)
    return made | {pictures_page(address): page for address, page in pictures.items()}


def renderer() -> Any:
    """`render(template, root, **values)`: a page, all that it is given escaped; `root` leads to the index."""
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
