"""The material of a site: its results and what is derived from all of them, and what each page depends on."""

from __future__ import annotations

import hashlib
import sys
from base64 import b64encode
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from bench import registry
from bench.analysis.curves import Curve
from bench.analysis.errors import ErrorAnalysis
from bench.core.files import digest, file_digest, list_files
from bench.data.datasets import list_datasets
from bench.records.collection import StoredResult, read_or_leave_out
from bench.records.replicates import replicates_path
from bench.records.result import Result
from bench.records.running import RunningTraining
from bench.records.training_log import find_log
from bench.site.boards import recall_boards, recall_tracks
from bench.site.folder import Earlier
from bench.site.images import SplitPages
from bench.site.parts import Board
from bench.site.reported import compare_reported
from bench.tables.leaderboards import MatchedTables, count_numbers, load_tables, with_measured
from bench.tables.model import Table
from bench.tables.reported import ReportedTable
from bench.tracks.track import Track

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Material:
    """Results, oldest first, with their leaderboards, and what else is derived from them when a page first needs it.

    By address: digests, of each result with the files beside its record; errors, its kinds of errors; curves, its
    metrics against a threshold. pages: of images, by split. running: trainings in progress. papers: their tables, by
    name. earlier: the previous site.
    """

    known: Sequence[StoredResult]
    digests: Mapping[str, str]
    boards: Sequence[Board]
    tracks: Sequence[tuple[Track, Sequence[Table]]]
    pages: Sequence[SplitPages]
    errors: Mapping[str, ErrorAnalysis]
    running: Sequence[RunningTraining]
    curves: Mapping[str, Curve]
    papers: Mapping[str, ReportedTable]
    earlier: Earlier

    @cached_property
    def results(self) -> list[Result]:
        """The results alone."""
        return [one.result for one in self.known]

    def depend_on(self, results: Iterable[Result]) -> list[str]:
        """Return the dependencies of a page of these results: them and all code."""
        return [digest_code(), *(self.digests[result.address] for result in results)]

    @cached_property
    def protocols(self) -> dict[str, str]:
        """The summary of each protocol, by name."""
        return {one.name: one.summary for one in registry.protocols().values()}

    @cached_property
    def methods(self) -> dict[str, str]:
        """The summary of each method, by name: those of results, and all that are known here."""
        methods = dict.fromkeys(sorted({result.method for result in self.results}), "Predictions from elsewhere.")
        return methods | {one.name: one.summary for one in self.listed.values()}

    @cached_property
    def listed(self) -> dict[str, registry.Listed]:
        """The methods that are known here, by name."""
        return registry.methods()

    @cached_property
    def found(self) -> MatchedTables:
        """The papers' tables, with the measured numbers that match."""
        return MatchedTables(self.known, self.papers)

    @cached_property
    def counts(self) -> dict[str, dict[str, int]]:
        """How many numbers each paper's table has, how many are measured, and how many only incomparably."""
        return {name: self._count(name) for name in self.papers}

    @cached_property
    def reported(self) -> dict[str, str]:
        """By method, the numbers that papers report beside the measured ones, as HTML."""
        own: defaultdict[str, list[Result]] = defaultdict(list)
        for result in self.results:
            own[result.method].append(result)
        recall = self.earlier.recall
        return {
            name: recall(f"reported {name}", self.depend_on(own[name]), partial(self._compare, name))
            for name in self.methods
        }

    def _compare(self, method: str) -> str:
        return compare_reported(method, self.list_papers(method), self.found)

    def _count(self, name: str) -> dict[str, int]:
        def count() -> dict[str, int]:
            return count_numbers(*self.found[name])

        counted: dict[str, int] = self.earlier.recall(f"paper {name}", self.depend_on_paper(name), count)
        return counted

    def depend_on_paper(self, name: str) -> list[str]:
        """Return the dependencies of a paper's table with its measured numbers."""
        return self.depend_on(result for result in self.results if name in self.list_papers(result.method))

    def list_papers(self, method: str) -> list[str]:
        """List the papers' tables that have a row of a method."""
        return self._papers_of.get(method, [])

    @cached_property
    def _papers_of(self) -> dict[str, list[str]]:
        named: defaultdict[str, list[str]] = defaultdict(list)
        for name, table in self.papers.items():
            for method in {row.method.partition(":")[0] for row in table.rows if row.method}:
                named[method].append(name)
        return named

    def add_measured(self, paper: str) -> Table:
        """Return a paper's table with its measured numbers."""
        if paper not in self._beside:
            self._beside[paper] = with_measured(*self.found[paper])
        return self._beside[paper]

    @cached_property
    def _beside(self) -> dict[str, Table]:
        """The results of `add_measured` so far."""
        return {}

    @cached_property
    def render(self) -> Callable[..., str]:
        """The function that `make_renderer` returns."""
        return make_renderer()


def gather(
    known: Sequence[StoredResult],
    pages: Sequence[SplitPages],
    errors: Mapping[str, ErrorAnalysis],
    running: Sequence[RunningTraining],
    curves: Mapping[str, Curve],
    earlier: Earlier,
) -> Material:
    """Gather the material of a site; leaderboards of unchanged results come from the earlier site."""
    known = sorted(known, key=lambda one: (one.result.created, one.result.address))
    digests = {one.result.address: _digest_result(one) for one in known}
    tables = recall_boards(known, digests, earlier), recall_tracks(known, digests, earlier)
    material = Material(known, digests, *tables, pages, errors, running, curves, load_tables(), earlier)
    _ = material.counts, material.reported  # so that the next site has them, even if this one needs none
    return material


def _digest_result(one: StoredResult) -> str:
    """Compute the digest of the code, a record and the files beside it."""
    beside = (one.record.with_suffix(".parquet"), replicates_path(one.record), read_or_leave_out(find_log, one))
    digests = [file_digest(path) if path is not None and path.is_file() else None for path in beside]
    text = f"{digest_code()} {digests} {one.result.model_dump_json()}"
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


def digest_code() -> str:
    """Compute the digest of all that pages depend on except results: code, methods, protocols, papers' tables."""
    return _digest_files(tuple(registry.plugins()), tuple(list_datasets()))


@cache
def _digest_files(plugins: tuple[Path, ...], datasets: tuple[str, ...]) -> str:
    folders = [registry.ROOT / name for name in ("bench", "methods", "protocols", "results/papers")]
    files = [path for folder in folders for path in list_files(folder) if path.is_file() and path.suffix != ".pyc"]
    named = [[path.name, file_digest(path)] for path in (*files, *plugins)]
    return digest([named, datasets, sys.version, jinja2.__version__, np.__version__])


def shorten(text: str, most: int = 160) -> str:
    """Shorten a text to at most `most` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def make_renderer() -> Callable[..., str]:
    """Return `render(template, root, **values)`, which escapes all values; `root` is the path to the index."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shorten"] = shorten
    environment.filters["base64"] = lambda data: b64encode(data).decode()

    def render(template: str, root: str, **values: Any) -> str:
        return f"{environment.get_template(template).render(root=root, **values)}\n"

    return render
