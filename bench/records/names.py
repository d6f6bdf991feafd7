"""Checks of names in a record, which may come from anybody, and the record's address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.core.files import digest
from bench.core.redaction import CONTROL

_LONGEST = 200
"""Most characters of a name."""


def check_line(text: str) -> None:
    """Raise ValueError for text with control characters, or longer than any name."""
    if len(text) > _LONGEST:
        raise ValueError(f"expected at most {_LONGEST} characters, but got {len(text)}")
    if "\n" in text or CONTROL.search(text):
        raise ValueError(f"control characters are not allowed, but got {text[:50]!a}")


def check_name(text: str) -> None:
    """Raise ValueError for text that is not a file name, or could lead out of a folder."""
    if not text or text.startswith(".") or "/" in text or "\\" in text:
        raise ValueError(f"expected a name without slashes, and with no dot at its beginning, but got {text[:50]!r}")
    check_line(text)


def check_provenance(provenance: Mapping[str, Any]) -> None:
    """Raise ValueError if an entry of a record's provenance (its code and machine) has the wrong type."""
    for key, expected in (("revision", str), ("dirty", bool), ("changed", list), ("code", str), ("device", str)):
        if not isinstance(provenance.get(key), expected | None):
            raise ValueError(f"provenance.{key}: expected {expected.__name__}, but got {ascii(provenance[key])[:50]}")
    if not all(isinstance(name, str) for name in provenance.get("changed") or ()):
        raise ValueError("provenance.changed: expected names of files")


def compute_address(predictions: str, protocol: str, conventions_digest: str, truth_digest: str) -> str:
    """Compute the address of the result of scoring `predictions`: their digest, or the address of a run's."""
    return digest({"predictions": predictions, "protocol": [protocol, conventions_digest], "truth": truth_digest})
