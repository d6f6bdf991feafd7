"""The names of images in files of predictions: an id, or a part of a path that is unique to one image."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import PurePosixPath

from bench.data.left_out import READABLE
from bench.errors import RequestError, format_names

_LONGEST = 20
"""Digits of the longest id that counts as a number."""

_NUMBER = re.compile(r"(?:COCO_[a-z]+\d{4}_)?(\d{1,20})(?:\.0)?", re.ASCII)


class ImageNames:
    """Finds N images by name. files: their files, if ids are not paths.

    A name is an image's id; or else the last components of its id or file, with or without the suffix of a photograph:
    `cat/a 01`, `a 01.jpg` and `a 01` all mean `test/cat/a 01.jpg`, if they fit no other image. Or else it is the number
    of a numeric id: `12`, `12.0` and `COCO_val2014_000000000012` mean `000012`.
    """

    def __init__(self, ids: Sequence[str], files: Sequence[str] = ()) -> None:
        self._ids, self._files = ids, files
        self._index = {name: row for row, name in enumerate(ids)}

    def find(self, name: str) -> int | None:
        """Return the row of the image with this name; None if there is none. Raises RequestError if it fits several."""
        if (row := self._index.get(name)) is not None:
            return row
        found = [row for row in self._by_stem.get(_stem(name), ()) if self._is_called(row, name)]
        if not found and (number := _NUMBER.fullmatch(drop_suffix(name))):
            found = self._by_number.get(int(number[1]), [])
        if len(found) > 1:
            candidates = format_names([repr(self._ids[row]) for row in found], 3)
            raise RequestError(f"Image {name!r} may be any of {candidates}: write the whole id.")
        return found[0] if found else None

    @cached_property
    def _by_stem(self) -> dict[str, list[int]]:
        rows: defaultdict[str, list[int]] = defaultdict(list)
        for row in range(len(self._ids)):
            for stem in {_stem(path) for path in self._paths(row)}:
                rows[stem].append(row)
        return rows

    @cached_property
    def _by_number(self) -> dict[int, list[int]]:
        rows: defaultdict[int, list[int]] = defaultdict(list)
        for row, name in enumerate(self._ids):
            if len(name) < _LONGEST and name.isascii() and name.isdecimal():
                rows[int(name)].append(row)
        return rows

    def _paths(self, row: int) -> tuple[str, ...]:
        return (self._ids[row], self._files[row]) if self._files else (self._ids[row],)

    def _is_called(self, row: int, name: str) -> bool:
        forms = {form for path in self._paths(row) for form in (path, drop_suffix(path))}
        return any(form == name or form.endswith(f"/{name}") for form in forms)


def drop_suffix(path: str) -> str:
    """Return a path without the suffix of a photograph."""
    suffix = PurePosixPath(path).suffix
    return path.removesuffix(suffix) if suffix.lower() in READABLE else path


def _stem(path: str) -> str:
    return drop_suffix(path).rpartition("/")[2]
