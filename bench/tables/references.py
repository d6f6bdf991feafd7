"""The papers to cite: `results/papers/references.bib`, where keywords name what each entry stands for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from bench.tables.papers import PAPERS

_ENTRY = re.compile(r"^@\w+\{(?P<key>[\w-]+),\n.*?^\}$", re.MULTILINE | re.DOTALL)
_KEYWORDS = re.compile(r"^  keywords = \{(.*)\},\n", re.MULTILINE)

SOFTWARE = """@software{weakloc,
  title = {weakloc: A Benchmark Harness and Leaderboard for Weakly Supervised Vision},
  author = {{The weakloc authors}},
  version = {VERSION},
  year = {2026},
  license = {Apache-2.0},
}"""
"""CITATION.cff, as BibTeX."""


@cache
def read_references(path: Path = PAPERS / "references.bib") -> Mapping[str, tuple[str, frozenset[str]]]:
    """Read the entries, by key: each as BibTeX without its keywords, and its keywords."""
    found = {}
    for entry in _ENTRY.finditer(path.read_text(encoding="utf-8")):
        keywords = _KEYWORDS.findall(entry[0])
        names = frozenset(name.strip() for name in ",".join(keywords).split(","))
        found[entry["key"]] = _KEYWORDS.sub("", entry[0]), names
    return found


def find_references(names: Iterable[str]) -> list[str]:
    """Return the entries that stand for any of these names, each once, in the order of the names."""
    references = read_references()
    keys = dict.fromkeys(key for name in names for key, (_, keywords) in references.items() if name in keywords)
    return [references[key][0] for key in keys]
