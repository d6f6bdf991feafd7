"""Values that verbs keep in the cache folder, by the digest of what they depend on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def recall(path: Path, kind: type[T], make: Callable[[], T]) -> T:
    """Return the value in a JSON file of the cache, or else make it and keep it there if the file can be written."""
    from pydantic import TypeAdapter, ValidationError

    from bench.core.files import atomic_file

    adapter = TypeAdapter(kind)
    with suppress(OSError, ValidationError):
        return adapter.validate_json(path.read_bytes())
    value = make()
    with suppress(OSError), atomic_file(path) as part:
        part.write_bytes(adapter.dump_json(value))
    return value
