"""Images and classes as files of others call them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from bench.data.ground_truth import GroundTruth, require_image
from bench.errors import BadFileError, UnknownNameError


class Names:
    """Finds images and classes by what a file calls them, and remembers where that is not what they are called here."""

    def __init__(self, path: Path, truth: GroundTruth) -> None:
        self.path, self.truth = path, truth
        self._images, self._labels = dict(truth.index), dict(truth.class_index)
        self._by_fold: dict[str, list[int]] = {}
        for label, name in enumerate(truth.classes):
            self._by_fold.setdefault(fold(name), []).append(label)

    def find_image(self, name: str, row: int) -> int:
        """Return the row of an image, as `require_image` does. Raises BadFileError."""
        if name not in self._images:
            self._images[name] = require_image(self.truth, self.path, name, row)
        return self._images[name]

    def find_label(self, name: str, row: int) -> int:
        """Return the index of a class; see `fold` for the differences that are ignored. Raises BadFileError."""
        if name not in self._labels:
            alike = self._by_fold.get(fold(name), [])
            if len(alike) != 1:
                unknown = UnknownNameError(f"class of {self.truth.dataset}", name, self.truth.classes)
                raise BadFileError(self.path, str(unknown), row=row)
            self._labels[name] = alike[0]
        return self._labels[name]

    def list_notes(self) -> Iterator[str]:
        """Describe the first image and the first class that have other names in the file."""
        for what, found, known in (
            ("image", self._images, self.truth.ids),
            ("class", self._labels, self.truth.classes),
        ):
            other = next(((name, row) for name, row in found.items() if name != known[row]), None)
            if other:
                yield f"{what} {other[0]!r} is taken as {known[other[1]]!r}, and others like it"


def fold(name: str) -> str:
    """Return a key that is equal for class names that differ only in case, spaces, `_` and `-`."""
    return re.sub(r"[\s_-]", "", name).casefold()
