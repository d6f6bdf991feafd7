"""The paper tables on file: `results/papers/<paper>/table-<n>.yaml`, one each. Listing reads only their heads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.errors import BadFileError

try:
    from yaml import CBaseLoader as BaseLoader
except ImportError:  # a PyYAML without libyaml: the same, slower
    from yaml import BaseLoader  # type: ignore[assignment]

PAPERS = Path(__file__).resolve().parent.parent.parent / "results" / "papers"


@dataclass(frozen=True)
class ListedTable:
    """A table's name (`melm-3`) and its title; `origin` is the file."""

    name: str
    summary: str
    origin: str


def reported_tables(folder: Path = PAPERS) -> dict[str, ListedTable]:
    """List every paper table by name: papers in alphabetical order, tables in the paper's order."""
    files = {_place(path): path for path in folder.glob("*/table-*.yaml") if path.stem[6:].isdecimal()}
    names = {f"{paper}-{number}": files[paper, number] for paper, number in sorted(files)}
    return {name: ListedTable(name, _title(path), str(path)) for name, path in names.items()}


def read_yaml(path: Path) -> Any:
    """Parse YAML into mappings, lists and text. Raises BadFileError, also for a duplicate key."""
    return _parse(_text(path), path)


class _Loader(BaseLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key, value in node.value:
            if keys.count(key.value) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is given twice", value.start_mark)
        return super().construct_mapping(node, deep)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadFileError(path, f"cannot be read: {error}") from error


def _parse(text: str, path: Path) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f" (line {error.problem_mark.line + 1})"
        raise BadFileError(path, f"not valid YAML: {error.problem}{line}") from error
    except yaml.YAMLError as error:
        raise BadFileError(path, f"not valid YAML: {error}") from error


def _place(path: Path) -> tuple[str, int]:
    return path.parent.name, int(path.stem.removeprefix("table-"))


def _title(path: Path) -> str:
    """Return the title from the text before the columns."""
    try:
        head = _text(path).partition("\ncolumns:")[0]
        return str(_parse(head, path)["title"])
    except (BadFileError, KeyError, TypeError):
        return "(no title: the file is damaged)"
