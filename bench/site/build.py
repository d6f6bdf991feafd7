"""The static site of results: every file by its path. The same results give the same bytes.

Pages load only files from the same folder, and are readable without any. To add a page or another file, yield a
`SiteFile` from a function in `PARTS`: its path, what it depends on (`Material.depend_on`, for results and code), and
how to make its content, which happens only if the earlier site has no such file with the same dependencies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bench.analysis.curves import Curve
from bench.analysis.errors import ErrorAnalysis
from bench.records.collection import StoredResult
from bench.records.running import RunningTraining
from bench.site import compare_page, images, index, method, paper, protocol, run
from bench.site.downloads import list_table_files
from bench.site.folder import Earlier, SiteFile, read_earlier, write_folder
from bench.site.images import SplitPages
from bench.site.material import HERE, Material, digest_code, gather
from bench.site.parts import UP
from bench.site.paths import (
    board_file,
    data_file,
    method_page,
    paper_file,
    paper_page,
    protocol_page,
    run_page,
)
from bench.site.strip import make_strip

NO_ERRORS: Mapping[str, ErrorAnalysis] = MappingProxyType({})
NO_CURVES: Mapping[str, Curve] = MappingProxyType({})


def write(
    known: Sequence[StoredResult],
    out: Path,
    pages: Sequence[SplitPages] = (),
    errors: Mapping[str, ErrorAnalysis] = NO_ERRORS,
    running: Sequence[RunningTraining] = (),
    curves: Mapping[str, Curve] = NO_CURVES,
) -> list[Path]:
    """Write the site of these results to a folder, replacing an earlier site, and return the written files.

    pages: of images, by split; errors, curves: by result address; running: trainings in progress. Raises
    RequestError if the folder holds anything but a site.
    """
    earlier = read_earlier(out)
    return write_folder(out, list_files(gather(known, pages, errors, running, curves, earlier)), earlier)


def make_pages(
    known: Sequence[StoredResult],
    pages: Sequence[SplitPages] = (),
    errors: Mapping[str, ErrorAnalysis] = NO_ERRORS,
    curves: Mapping[str, Curve] = NO_CURVES,
) -> dict[str, str]:
    """Make every file of text: the index, and a page for each protocol, method, paper's table and result."""
    files = list_files(gather(known, pages, errors, (), curves, Earlier(Path())))
    return {file.path: made for file in files if isinstance(made := file.make(), str)}


def list_files(material: Material) -> Iterator[SiteFile]:
    """List the files of a site."""
    for part in PARTS:
        yield from part(material)


def _list_assets(material: Material) -> Iterator[SiteFile]:
    for path in sorted((HERE / "assets").iterdir()):
        yield SiteFile(path.name, material.depend_on(()), partial(Path, path))


def _list_index(material: Material) -> Iterator[SiteFile]:
    def make() -> str:
        return material.render("index.html", "", **index.make_values(material))

    depends: list[Any] = [material.depend_on(material.results), make_strip(material), images.list_first(material.pages)]
    depends += [str(asdict(one)) for one in material.running]
    yield SiteFile("index.html", depends, make)


def _list_protocols(material: Material) -> Iterator[SiteFile]:
    def make(name: str) -> str:
        return material.render("protocol.html", UP, **protocol.make_values(name, material))

    for name in material.protocols:
        own = [result for result in material.results if result.protocol == name]
        errors = [str(asdict(material.errors[one.address])) for one in own if one.address in material.errors]
        curves = [str(material.curves.get(one.address)) for one in own]
        yield SiteFile(
            protocol_page(name),
            [material.depend_on(own), errors, curves, images.list_first(material.pages, name)],
            partial(make, name),
        )


def _list_board_files(material: Material) -> Iterator[SiteFile]:
    for board in material.boards:
        depends = material.depend_on(result for group in board.of for result in group)
        path = partial(board_file, board.protocol, board.dataset)
        yield from list_table_files(path, depends, partial(getattr, board, "plain"))


def _list_methods(material: Material) -> Iterator[SiteFile]:
    """List the page of each method, which shows its ranks, and so depends on all results that it is ranked with."""

    def make(name: str, summary: str) -> str:
        return material.render("method.html", UP, **method.make_values(name, summary, material))

    places_of = defaultdict(set)
    for one in material.results:
        places_of[one.method].add((one.protocol, one.dataset))
    for name, summary in material.methods.items():
        places = places_of[name]
        others = [one for one in material.results if (one.protocol, one.dataset) in places]
        yield SiteFile(method_page(name), material.depend_on(others), partial(make, name, summary))


def _list_runs(material: Material) -> Iterator[SiteFile]:
    """List the page of each run, then its data file for comparisons, as both read the same outcomes."""

    def make(one: StoredResult, chosen: Any) -> str:
        return material.render("run.html", UP, chosen=chosen, **run.make_values(one, material))

    for one in material.known:
        address = one.result.address
        chosen = images.list_chosen(material.pages, one.result)
        curve = str(material.curves.get(address))
        depends = material.depend_on([one.result])
        yield SiteFile(run_page(address), [depends, chosen, curve], partial(make, one, chosen))
        errors = material.errors.get(address)
        split = images.find_data(material.pages, one.result)
        data = partial(compare_page.make_result_file, one, errors, split)
        yield SiteFile(data_file(address), [depends, errors and str(asdict(errors)), split], data)


def _list_compared(material: Material) -> Iterator[SiteFile]:
    """List the page that compares runs, and the data file of the runs to choose from."""

    def make() -> str:
        return material.render("compare.html", "", title="Compare runs")

    index_file = partial(compare_page.make_index_file, material.boards, material.known)
    yield SiteFile(compare_page.PAGE, material.depend_on(()), make)
    yield SiteFile(compare_page.INDEX, material.depend_on(material.results), index_file)


def _list_papers(material: Material) -> Iterator[SiteFile]:
    def make(name: str) -> str:
        return material.render("paper.html", UP, **paper.make_values(name, material))

    for name in material.papers:
        depends = material.depend_on_paper(name)
        yield SiteFile(paper_page(name), depends, partial(make, name))
        yield from list_table_files(partial(paper_file, name), depends, partial(material.add_measured, name))


def _list_images(material: Material) -> Iterator[SiteFile]:
    for pages in material.pages:
        yield from images.list_files(pages, material.render, digest_code())


PARTS: tuple[Callable[[Material], Iterator[SiteFile]], ...] = (
    _list_assets,
    _list_index,
    _list_protocols,
    _list_board_files,
    _list_methods,
    _list_runs,
    _list_compared,
    _list_papers,
    _list_images,
)
