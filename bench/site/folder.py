"""The folder of a site: files by path, each made only if the earlier site has none with the same dependencies.

The folder appears whole, in place of the earlier one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bench.core.files import atomic_folder, digest, read_json, write_text
from bench.errors import RequestError

_MARK = ".weakloc-site"
"""The file with a site's kept values and the digests of its files, by which the next site may reuse or replace them."""


@dataclass(frozen=True)
class SiteFile:
    """A file of a site.

    path: relative to the root. depends: a JSON value that differs whenever the content could. make: returns the
    content, or a file to copy.
    """

    path: str
    depends: Any
    make: Callable[[], str | bytes | Path]

    def read(self) -> bytes:
        """Make the content, as bytes."""
        made = self.make()
        if isinstance(made, Path):
            return made.read_bytes()
        return made.encode() if isinstance(made, str) else made


class _Known(NamedTuple):
    """The digests of a file's dependencies and of its content."""

    depends: str
    content: str


@dataclass
class Earlier:
    """What the earlier site in a folder left: its files, and values that were expensive to make.

    values: by name, [digest of the dependencies, digest of the value, value]. kept: those for the next site.
    """

    folder: Path
    files: dict[str, _Known] = field(default_factory=dict)
    values: dict[str, list[Any]] = field(default_factory=dict)
    kept: dict[str, list[Any]] = field(default_factory=dict)

    def recall(self, name: str, depends: Any, make: Callable[[], Any]) -> Any:
        """Return a JSON value: the kept one if its dependencies are the same, else a new one."""
        now = digest(depends)
        known = self.kept.get(name) or self.values.get(name)
        if known is None or known[0] != now:
            value = make()
            known = [now, digest(value), value]
        self.kept[name] = known
        return known[2]

    def take_over(self, path: str, depends: str, fresh: Path) -> bool:
        """Link a file into the new folder; False if its dependencies changed, or if it was edited or deleted."""
        known = self.files.get(path)
        if known is None or known.depends != depends:
            return False
        with suppress(FileNotFoundError):
            content = (self.folder / path).read_bytes()
            if _digest(content) == known.content:
                try:
                    os.link(self.folder / path, fresh / path)
                except OSError:  # a file system without links
                    (fresh / path).write_bytes(content)
                return True
        return False


def read_earlier(out: Path) -> Earlier:
    """Read the earlier site in a folder, empty without one. Raises RequestError if the folder must not be replaced."""
    folder = out.resolve()
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{out} is a file: give a folder.")
    if Path.cwd().is_relative_to(folder):
        raise RequestError(
            f"{out} is or contains the working directory: give a folder inside it, such as {out / 'site'}."
        )
    files = (path for path in folder.rglob("*") if not path.is_dir() and not path.name.startswith("."))
    there = {path.relative_to(folder).as_posix() for path in files}
    earlier = _read_mark(folder)
    if (folder / _MARK).exists() and there and not there & earlier.files.keys():
        raise RequestError(f"the mark of the site in {out} is damaged: delete the folder, or give another.")
    if others := sorted(there - earlier.files.keys()):
        raise RequestError(f"{out} contains {others[0]}, which `report` did not write: give another folder.")
    return earlier


def _read_mark(folder: Path) -> Earlier:
    """Read the mark of a site, without damaged entries; one of weakloc 0.2 or earlier is only a list of files."""
    mark = folder / _MARK
    try:
        content = read_json(mark)
        files = {path: _read_known(known) for path, known in content["files"].items()}
        return Earlier(folder, files, {name: known for name, known in content["values"].items() if _is_whole(known)})
    except FileNotFoundError:
        return Earlier(folder)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        lines = mark.read_text(encoding="utf-8", errors="replace").splitlines()
        return Earlier(folder, dict.fromkeys(lines, _Known("", "")))


def _read_known(said: Any) -> _Known:
    """Read a file's entry in a mark; a damaged one becomes an entry that no file matches."""
    whole = isinstance(said, list) and [*map(type, said)] == [str, str]
    return _Known(*said) if whole else _Known("", "")


def _is_whole(said: Any) -> bool:
    """Return whether a value's entry in a mark is undamaged."""
    return isinstance(said, list) and len(said) == 3 and said[1] == digest(said[2])


def write_folder(out: Path, files: Iterable[SiteFile], earlier: Earlier) -> list[Path]:
    """Write the files of a site to a folder, in place of the earlier site, and return them.

    Raises ValueError if two files have one path.
    """
    known: dict[str, _Known] = {}
    folders = set()
    with atomic_folder(out.resolve()) as fresh:
        for file in files:
            if file.path in known:
                raise ValueError(f"two files of the site have the path {file.path}")
            depends = digest(file.depends)
            if (folder := file.path.rpartition("/")[0]) not in folders:
                (fresh / folder).mkdir(parents=True, exist_ok=True)
                folders.add(folder)
            if earlier.take_over(file.path, depends, fresh):
                known[file.path] = earlier.files[file.path]
                continue
            content = file.read()
            known[file.path] = _Known(depends, _digest(content))
            (fresh / file.path).write_bytes(content)  # not atomic, because the whole folder is
        values = dict(sorted(earlier.kept.items()))
        mark = {"files": dict(sorted(known.items())), "values": values}
        write_text(fresh / _MARK, json.dumps(mark, ensure_ascii=False, allow_nan=False))
    return [out / path for path in sorted(known)]


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=10).hexdigest()
