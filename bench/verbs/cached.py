"""What verbs keep in the cache folder, by the digest of what it depends on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def recall(path: Path, kind: type[T], make: Callable[[], T]) -> T:
    """Return what a JSON file of the cache says, or else what is made, which is kept there if it can be written."""
    from pydantic import TypeAdapter, ValidationError

    from bench.core.files import atomic_file

    adapter = TypeAdapter(kind)
    with suppress(OSError, ValidationError):
        return adapter.validate_json(path.read_bytes())
    made = make()
    with suppress(OSError), atomic_file(path) as part:
        part.write_bytes(adapter.dump_json(made))
    return made
