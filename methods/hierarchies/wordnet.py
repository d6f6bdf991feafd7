"""Hierarchy from WordNet's is-a file: each synset's ancestors at two depths below the root."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.data.lists import read_rows
from bench.errors import BadFileError

DEPTHS = (6, 9)
"""Depths of the coarse and the middle level, at about animals and devices, and mammals and containers.

DANet uses "the off-the-shelf category hierarchy from WordNet" and does not say at which depths.
"""


def read_is_a(path: Path, classes: Sequence[str], depths: Sequence[int] = DEPTHS) -> dict[str, tuple[str, ...]]:
    """Read each class's ancestors at these depths; a class above a depth is its own ancestor there.

    The file has a parent and a child on each line. Among several parents the one nearest to the root counts, and among
    equally near ones the first by id, so every synset has one path and levels are nested. Raises BadFileError.
    """
    above = _find_parents(path)
    paths = {}
    for name in classes:
        if name not in above:
            raise BadFileError(path, f"has no line with the class {name}")
        chain = [name]
        while (parent := above[chain[-1]]) is not None:
            chain.append(parent)
        chain.reverse()
        paths[name] = tuple(chain[min(depth, len(chain) - 1)] for depth in depths)
    return paths


def _find_parents(path: Path) -> dict[str, str | None]:
    """Return the parent of each synset on its shortest path from a root; None for a root."""
    children: dict[str, list[str]] = {}
    below = set()
    for parent, child in read_rows(path, 2):
        children.setdefault(parent, []).append(child)
        below.add(child)
    level = sorted(set(children) - below)
    parents: dict[str, str | None] = dict.fromkeys(level)
    while level:
        new = ((child, parent) for parent in reversed(level) for child in children.get(parent, ()))
        added = {child: parent for child, parent in new if child not in parents}
        parents |= added
        level = sorted(added)
    return parents
