"""Tables as files beside their page, for programs and papers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from bench.site.folder import SiteFile
from bench.tables.latex import latex
from bench.tables.model import Table
from bench.tables.render import csv, json

FORMATS: tuple[tuple[str, str, Callable[[Table], str]], ...] = (
    ("CSV", "csv", csv),
    ("JSON", "json", json),
    ("LaTeX", "tex", latex),
)
"""Name, file ending, and function that writes the table."""

FilePath = Callable[[str], str]
"""From a file ending to the path of a table's file."""


def list_downloads(path: FilePath, root: str) -> list[tuple[str, str]]:
    """List the formats of a table with their links. root: path from the page to the index."""
    return [(name, root + path(ending)) for name, ending, _ in FORMATS]


def list_table_files(path: FilePath, depends: Any, make: Callable[[], Table]) -> Iterator[SiteFile]:
    """List the files of a table. depends: as in `SiteFile`."""

    def write(render: Callable[[Table], str]) -> str:
        return render(make()) + "\n"

    for _, ending, render in FORMATS:
        yield SiteFile(path(ending), depends, partial(write, render))
