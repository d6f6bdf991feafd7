"""Photographs given by their paths, outside any dataset, to predict on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from bench.core.files import list_files
from bench.data.dataset import Dataset
from bench.data.ground_truth import ABSENT, GroundTruth, empty_objects
from bench.data.left_out import READABLE, find_misnamed_images, find_unreadable_images
from bench.data.lists import is_text
from bench.data.pixels import read_header, read_pixels
from bench.errors import BadFileError, MissingDataError, RequestError, format_count, format_names

SPLIT = "photographs"

PathLike = str | os.PathLike[str]


class Photographs(Dataset):
    """Files as a dataset without ground truth. name, classes: of the dataset that the method was trained on."""

    how_to_get = "Give paths of photographs."

    def __init__(self, name: str, classes: tuple[str, ...], files: Mapping[str, Path]) -> None:
        self.name, self.classes, self.files, self.recipe = name, classes, dict(files), {}

    def splits(self) -> tuple[str, ...]:
        """Return the only split."""
        return (SPLIT,)

    def ground_truth(self, split: str = SPLIT) -> GroundTruth:
        """Return ids and sizes, without labels. Raises BadFileError for a file that is not a photograph."""
        headers = [read_header(path) for path in self.files.values()]
        size = np.array([(header.width, header.height) for header in headers], np.int32).reshape(-1, 2)
        labels = np.full((len(headers), len(self.classes)), ABSENT, np.int8)
        return GroundTruth(self.name, split, self.classes, tuple(self.files), size, labels, empty_objects())

    def image_path(self, image: str) -> Path:
        """Return the path of a photograph."""
        return self.files[image]

    def list_notes(self) -> Iterator[str]:
        """Describe which photographs viewers rotate by their EXIF data, and which have 16 bits."""
        headers = {name: read_header(path) for name, path in self.files.items()}
        turned = [name for name, header in headers.items() if header.orientation != 1]
        deep = [name for name, header in headers.items() if header.is_deep]
        if turned:
            count = format_count(len(turned), "photograph has", "photographs have")
            rule = "an EXIF rotation, which viewers apply; coordinates refer to the pixels as stored"
            yield f"{count} {rule} (first: {turned[0]})"
        if deep:
            count = format_count(len(deep), "photograph is", "photographs are")
            rule = "in 16-bit greyscale, of which the upper 8 bits are read; convert images that use fewer"
            yield f"{count} {rule} (first: {deep[0]})"


def find_photographs(paths: PathLike | Sequence[PathLike]) -> dict[str, Path]:
    """Find photographs by path, or in folders and below; ids are file names, or paths below a folder, without suffix.

    Raises MissingDataError for a path that does not exist, RequestError if there is no photograph or two share an id,
    BadFileError for a name that is not text.
    """
    given = list_given(paths)
    found: dict[str, Path] = {}
    for name, path in (pair for one in given for pair in _list_files(one)):
        if not is_text(name):
            raise BadFileError(path, "the file name is not UTF-8 text: rename the file")
        if found.setdefault(name, path) != path:
            rule = f"{path} and {found[name]} would both be called {name}"
            raise RequestError(f"{rule}: give the folder above them, or only one.")
    if not found:
        notes = "".join(f" Note: {note}" for note in describe_left_out(given)[:3])
        raise RequestError(
            f"No photograph ({', '.join(READABLE)}) in {', '.join(map(str, given)) or 'no path'}.{notes}"
        )
    return found


def list_given(paths: PathLike | Iterable[PathLike]) -> list[Path]:
    """List one path or several. Raises RequestError for anything that is not a path."""
    several = [paths] if isinstance(paths, str | os.PathLike) else [*paths]
    if other := [one for one in several if not isinstance(one, str | os.PathLike)]:
        raise RequestError(f"Photographs are given by their paths, but got {type(other[0]).__name__}: save it first.")
    return [Path(one) for one in several]


def describe_left_out(paths: Iterable[Path]) -> list[str]:
    """Describe the images that `find_photographs` leaves out in folders."""
    looks = (find_unreadable_images, find_misnamed_images)
    return [one.describe() for path in paths if path.is_dir() for look in looks for one in look(path)]


@contextmanager
def name_unreadable(files: Mapping[str, Path]) -> Iterator[None]:
    """Extend the error of an unreadable photograph to name all unreadable ones, which are only then searched for."""
    try:
        yield
    except BadFileError as error:
        bad = [str(path) for path in files.values() if not _is_readable(path)]
        if len(bad) < 2 or error.file not in bad:
            raise
        rule = f"{len(bad)} of {len(files)} photographs cannot be read: {format_names(bad)}"
        raise BadFileError(error.file, f"{error.rule}. {rule}. Replace them, or move them elsewhere") from None


def _is_readable(path: Path) -> bool:
    try:
        read_pixels(path)
    except BadFileError:
        return False
    return True


def _list_files(path: Path) -> Iterator[tuple[str, Path]]:
    if not path.exists():
        raise MissingDataError("Photograph", path, Photographs.how_to_get)
    if not path.is_dir():
        yield path.stem, path
        return
    for file in list_files(path):
        if file.suffix.lower() in READABLE and file.is_file():
            yield file.relative_to(path).with_suffix("").as_posix(), file
