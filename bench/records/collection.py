"""Collections of results, in the runs folder or published: each with its record's path, beside which its files lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.core.files import Places
from bench.errors import UnknownNameError
from bench.records.result import Result, list_records, read_result


class StoredResult(NamedTuple):
    """A result and the file that it was read from."""

    result: Result
    record: Path


def list_results(places: Places, published: Path) -> list[StoredResult]:
    """Return published results and those of the runs folder, by file name, each address once."""
    records = [*list_records(published), *list_records(places.runs / "results")]
    stored = [StoredResult(read_result(record), record) for record in records]
    return list({each.result.address: each for each in stored}.values())


def find_result(name: str, places: Places, published: Path) -> StoredResult:
    """Return one result, by the path of its record or by a prefix of its address.

    Raises UnknownNameError if no address, or more than one, has this prefix; BadFileError for a file that is no record.
    """
    return choose_result(name, () if name.endswith(".json") else list_results(places, published))


def choose_result(name: str, known: Sequence[StoredResult]) -> StoredResult:
    """Return one of these results, or the one of a path, as `find_result` does."""
    if name.endswith(".json"):
        return StoredResult(read_result(Path(name)), Path(name))
    matches = [each for each in known if each.result.address.startswith(name)]
    if len(matches) != 1:
        addresses = [each.result.address for each in matches or known]
        raise UnknownNameError("result", name, addresses, hint="python -m bench list runs")
    return matches[0]
