"""Safe unpacking of archives: nothing lands outside its folder, nothing is a link, every file appears whole."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from bench.core.files import atomic_file
from bench.errors import BadFileError

_EXPANSION = 100
"""An archive that declares this many times its own length is rejected as a bomb: image data compresses far less."""


def unpack(path: Path, target: Path, *, inside: str = "") -> None:
    """Unpack a tar or zip archive below `target`; copy any other file there.

    inside: take only the content of this folder of the archive. Raises BadFileError if the archive is damaged, holds
    links or devices, or names anything outside.
    """
    target.mkdir(parents=True, exist_ok=True)
    if path.suffix not in (".zip", ".tar", ".tgz", ".gz"):
        with atomic_file(target / path.name) as part:
            shutil.copyfile(path, part)
        return
    with tempfile.TemporaryDirectory(dir=target, prefix=".unpack-") as staging:
        with _report_damage(path):
            (_unzip if path.suffix == ".zip" else _untar)(path, Path(staging))
        root = Path(staging, inside)
        if not root.is_dir():
            raise BadFileError(path, f"holds no folder {inside}")
        _move(root, target)


def _unzip(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            _check_name(path, member.filename)
            if (member.external_attr >> 16) & 0o170000 not in (0, 0o100000, 0o040000):
                raise BadFileError(path, f"holds a link or device: {member.filename[:80]!r}")
        _check_size(path, sum(member.file_size for member in archive.infolist()))
        archive.extractall(folder)


def _untar(path: Path, folder: Path) -> None:
    with tarfile.open(path) as archive:
        for member in archive:
            _check_name(path, member.name)
            if not (member.isfile() or member.isdir()):
                raise BadFileError(path, f"holds a link or device: {member.name[:80]!r}")
        _check_size(path, sum(member.size for member in archive))
        archive.extractall(folder, filter="data")


def _check_name(path: Path, name: str) -> None:
    if name.startswith("/") or "\\" in name or ":" in name or ".." in PurePosixPath(name).parts:
        raise BadFileError(path, f"names a file outside its folder: {name[:80]!r}")


def _check_size(path: Path, size: int) -> None:
    if size > _EXPANSION * path.stat().st_size:
        raise BadFileError(path, f"declares {size} bytes of content, over {_EXPANSION} times its own length")


def _move(source: Path, target: Path) -> None:
    """Move files one by one, not folders: two archives may share a folder."""
    for file in source.rglob("*"):
        if file.is_file():
            destination = target / file.relative_to(source)
            destination.parent.mkdir(parents=True, exist_ok=True)
            file.replace(destination)


@contextmanager
def _report_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise BadFileError(path, f"a damaged archive ({error})") from None
