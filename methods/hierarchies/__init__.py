"""Which classes are alike: the hierarchies of datasets, and how others are read from files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from bench.data.lists import require_file, read_lines
from bench.errors import BadFileError, RequestError
from bench.method import Task
from methods.hierarchies import cub, shapes, voc
from methods.hierarchies.wordnet import read_is_a
from methods.layers.hierarchy import Level, hierarchy

_OWN: dict[str, ModuleType] = {"cub": cub, "voc2007": voc, "voc2010": voc, "voc2012": voc, "shapes": shapes}

_HOW = (
    "Give hierarchy=FILE: a class and its ancestors in each line, coarse first, separated by tabs; or for WordNet ids "
    "WordNet's own wordnet.is_a.txt (image-net.org), a parent and a child in each line."
)


def levels_of(task: Task, source: str) -> tuple[Level, ...]:
    """Return a task's hierarchy from coarse to fine, the classes last; source: `dataset` for its own, or a file.

    Raises RequestError for a dataset that has none, MissingDataError and BadFileError for the file.
    """
    if source == "dataset":
        if task.dataset not in _OWN:
            raise RequestError(f"No hierarchy of the classes of {task.dataset} is known. {_HOW}")
        own = _OWN[task.dataset].ancestors(task.classes)
        return _built(task, own, f"The hierarchy of {task.dataset}")
    path = require_file(Path(source), "Hierarchy", _HOW)
    read = read_is_a(path, task.classes) if path.name.endswith("is_a.txt") else _read(path)
    return _built(task, read, path)


def _read(path: Path) -> dict[str, tuple[str, ...]]:
    """Ancestors of each class from a file of tab-separated lines: the class, then its ancestors, coarse first."""
    ancestors: dict[str, tuple[str, ...]] = {}
    for row, line in enumerate(read_lines(path)):
        name, *above = (field.strip() for field in line.split("\t"))
        if name in ancestors:
            raise BadFileError(path, f"{name!r} is there twice", row=row)
        ancestors[name] = tuple(above)
    return ancestors


def _built(task: Task, ancestors: Mapping[str, tuple[str, ...]], source: Path | str) -> tuple[Level, ...]:
    try:
        return hierarchy(task.classes, ancestors)
    except ValueError as error:
        raise BadFileError(source, str(error)) from None
