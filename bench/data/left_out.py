"""Files in a dataset's folder that are not read: reported with the reason and what to do, never dropped silently."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.core.files import list_files
from bench.errors import BadFileError, escape_text, format_count, format_names

READABLE = (".jpg", ".jpeg", ".png")
"""Suffixes of photographs that are read, in lower case."""

UNREADABLE = (
    ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif", ".heic", ".heif", ".jfif", ".jpe", ".jp2", ".jxl", ".ppm",
    ".pgm", ".tga", ".dng", ".cr2", ".nef", ".arw", ".svg",
)  # fmt: skip
"""Suffixes of other images, in lower case."""


_OF_MACOS = "._"
"""Prefix of the files that macOS writes beside others; they are not images, whatever their suffix."""


@dataclass(frozen=True)
class LeftOut:
    """Files below the dataset's folder that are not read. advice: what to do, as a sentence."""

    files: tuple[str, ...]
    reason: str
    advice: str

    def describe(self) -> str:
        """Describe them in a line, with the first names."""
        names = format_names(self.files, 3)
        return escape_text(f"{format_count(len(self.files), 'file')} left out ({self.reason}): {names}. {self.advice}.")


def leave_out(folder: Path, error: BadFileError, advice: str) -> LeftOut:
    """Return the file of an error as left out, with the error as the reason."""
    where = "" if error.row is None else f"row {error.row}: "
    return LeftOut((str(Path(error.file).relative_to(folder)),), f"{where}{error.rule}", advice)


def count_files(left_out: Collection[LeftOut]) -> int:
    """Count the files that are left out."""
    return len({name for one in left_out for name in one.files})


def find_unused_images(folder: Path, used: Collection[Path], masks: frozenset[Path], advice: str) -> Iterator[LeftOut]:
    """Find the images in a folder and below that are not used, by suffix or by the folder that they are in.

    masks: folders to skip, which hold masks. advice: what to do with unused photographs.
    """
    unlisted: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(_list_images(folder, READABLE)):
        if folder / name not in used and masks.isdisjoint((folder / name).parents):
            unlisted[str(Path(name).parent)].append(name)
    yield from find_unreadable_images(folder)
    for names in unlisted.values():
        yield LeftOut(tuple(names), "not in any split", advice)


def find_unreadable_images(folder: Path) -> Iterator[LeftOut]:
    """Find the images in a folder and below that are neither JPEG nor PNG, by suffix."""
    unreadable: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(_list_images(folder, UNREADABLE)):
        unreadable[Path(name).suffix.lower()].append(name)
    for suffix, names in unreadable.items():
        yield LeftOut(tuple(names), f"{suffix}; only JPEG and PNG are read", "Convert them to JPEG or PNG")


def find_misnamed_images(folder: Path) -> Iterator[LeftOut]:
    """Find the files in a folder and below that are JPEG or PNG by content, but lack the suffix of an image."""
    paths = (path for path in list_files(folder) if not path.name.lower().endswith((*READABLE, *UNREADABLE)))
    if names := tuple(str(path.relative_to(folder)) for path in paths if path.is_file() and _starts_as_image(path)):
        yield LeftOut(names, "a JPEG or PNG by content, not by name", f"Name them {', '.join(READABLE)}")


def _starts_as_image(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(8).startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"))
    except OSError:  # a file that cannot be opened is not known to be an image
        return False


def _list_images(folder: Path, suffixes: tuple[str, ...]) -> Iterator[str]:
    """Yield the paths below a folder of the files with a suffix."""
    for path in folder.rglob("*"):
        if not path.name.startswith(_OF_MACOS) and path.name.lower().endswith(suffixes) and path.is_file():
            yield str(path.relative_to(folder))
