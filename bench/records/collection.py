"""Results that were kept, in the runs folder or published: each with its record's path, beside which the rest is."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from bench.core.files import Places
from bench.errors import UnknownNameError
from bench.records.result import Result, read_result


class StoredResult(NamedTuple):
    """A result and the file that it was read from."""

    result: Result
    record: Path


def list_results(places: Places, published: Path) -> list[StoredResult]:
    """List published results and those of the runs folder, by file name, each address once."""
    records = [*sorted(published.rglob("[!.]*.json")), *sorted((places.runs / "results").glob("[!.]*.json"))]
    every = [StoredResult(read_result(record), record) for record in records]
    return list({one.result.address: one for one in every}.values())


def find_result(name: str, places: Places, published: Path) -> StoredResult:
    """One kept result, by the path of its record or by the beginning of its address.

    Raises UnknownNameError where no address, or more than one, begins so; BadFileError for a file that is no record.
    """
    if name.endswith(".json"):
        return StoredResult(read_result(Path(name)), Path(name))
    known = list_results(places, published)
    found = [one for one in known if one.result.address.startswith(name)]
    if len(found) != 1:
        addresses = [one.result.address for one in found or known]
        raise UnknownNameError("result", name, addresses, hint="python -m bench list runs")
    return found[0]
