"""The records that have already passed their checks, by content, since checking takes longer than reading."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from functools import cache
from pathlib import Path

from bench.core import bootstrap, files
from bench.records import names, replicates, result


class CheckedRecords:
    """Digests of records, each with the replicates beside it, that this version of the checks has passed.

    They are kept in the cache, one per line; a torn or missing line only means that a record is checked again.
    """

    def __init__(self, places: files.Places) -> None:
        self._path = places.cache / f"checked-records-{_digest_checks()}.txt"
        self._known: set[str] = set()
        self._new: list[str] = []
        with suppress(OSError):
            self._known.update(self._path.read_text(encoding="ascii", errors="replace").split())

    def has(self, digest: str) -> bool:
        """Whether a record of this digest has passed."""
        return digest in self._known

    def add(self, digest: str) -> None:
        """Remember a record that has passed."""
        self._new.append(digest)

    def save(self) -> None:
        """Write what was added. If nothing can be written, the next process checks these records again."""
        if self._new and self._path.parent.parent.is_dir():
            with suppress(OSError):
                self._path.parent.mkdir(exist_ok=True)
                with self._path.open("a", encoding="ascii") as file:
                    file.write("\n" + "\n".join(self._new) + "\n")


def digest_record(record: Path, content: bytes) -> str:
    """Compute the digest of a record and of the replicates beside it, if there are any."""
    hasher = hashlib.blake2b(content, digest_size=16)
    beside = replicates.replicates_path(record)
    if beside.is_file():
        hasher.update(b"\0" + beside.read_bytes())
    return hasher.hexdigest()


@cache
def _digest_checks() -> str:
    """Compute the digest of the checking code."""
    sources = (str(module.__file__) for module in (bootstrap, names, replicates, result))
    return files.digest([files.file_digest(Path(source)) for source in sources])
