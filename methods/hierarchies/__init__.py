"""Class hierarchies: those of datasets, and others read from files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from bench.data.lists import read_lines, require_file
from bench.errors import BadFileError, RequestError
from bench.method import Task
from methods.hierarchies import cub, shapes, voc
from methods.hierarchies.wordnet import read_is_a
from methods.layers.hierarchy import Level, build_hierarchy

_OWN: dict[str, ModuleType] = {"cub": cub, "voc2007": voc, "voc2010": voc, "voc2012": voc, "shapes": shapes}

_HOW = (
    "Use hierarchy=FILE, with a class and its ancestors on each line, coarse first, separated by tabs; or, for WordNet "
    "ids, wordnet.is_a.txt (image-net.org), with a parent and a child on each line."
)


def build_levels(task: Task, source: str) -> tuple[Level, ...]:
    """Return a task's hierarchy from coarse to fine, the classes last; source: `dataset` for its own, or a file.

    Raises RequestError for a dataset without one, MissingDataError and BadFileError for the file.
    """
    if source == "dataset":
        if task.dataset not in _OWN:
            raise RequestError(f"The classes of {task.dataset} have no built-in hierarchy. {_HOW}")
        own = _OWN[task.dataset].ancestors(task.classes)
        return _build(task, own, f"The hierarchy of {task.dataset}")
    path = require_file(Path(source), "Hierarchy", _HOW)
    read = read_is_a(path, task.classes) if path.name.endswith("is_a.txt") else _read(path)
    return _build(task, read, path)


def _read(path: Path) -> dict[str, tuple[str, ...]]:
    """Read each class's ancestors from tab-separated lines: the class, then its ancestors, coarse first."""
    ancestors: dict[str, tuple[str, ...]] = {}
    for row, line in enumerate(read_lines(path)):
        name, *above = (field.strip() for field in line.split("\t"))
        if name in ancestors:
            raise BadFileError(path, f"{name!r} is listed twice", row=row)
        ancestors[name] = tuple(above)
    return ancestors


def _build(task: Task, ancestors: Mapping[str, tuple[str, ...]], source: Path | str) -> tuple[Level, ...]:
    try:
        return build_hierarchy(task.classes, ancestors)
    except ValueError as error:
        raise BadFileError(source, str(error)) from None
