"""Collections of results, in the runs folder or published, each with the path of its record and of the files beside it.

A record that cannot be believed is left out with a `LeftOutWarning` that names it; the others are still read.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from bench.core.files import Places
from bench.errors import BadFileError, LeftOutWarning, UnknownNameError, format_count
from bench.records.result import Result, list_records, parse_result, read_record, read_result

T = TypeVar("T")

_NAMED = 5
"""Records that a warning names; the rest are only counted."""


class StoredResult(NamedTuple):
    """A result and the file that it was read from."""

    result: Result
    record: Path


def list_results(places: Places, published: Path, *, with_replicates: bool = False) -> list[StoredResult]:
    """Return published results and those of the runs folder, by file name, each address once.

    with_replicates: whether to leave out results whose numbers are not those of their replicates, as ranking requires.
    """
    records = [*list_records(published), *list_records(places.runs / "results")]
    stored = read_rankable(records, places) if with_replicates else read_each(records)
    return list({each.result.address: each for each in stored}.values())


def read_each(records: Iterable[Path]) -> list[StoredResult]:
    """Read records; those that cannot be believed are left out, with a warning."""
    return _read_all(records, lambda record: StoredResult(read_result(record), record))


def read_rankable(records: Iterable[Path], places: Places) -> list[StoredResult]:
    """Read records; those that cannot be believed, or contradict their replicates, are left out with a warning."""
    from bench.records.checked import CheckedRecords, digest_record

    checked = CheckedRecords(places)

    def read(record: Path) -> StoredResult:
        content = read_record(record)
        digest = digest_record(record, content)
        if checked.has(digest):
            return StoredResult(parse_result(record, content, check=False), record)
        stored = require_replicates(StoredResult(parse_result(record, content), record))
        checked.add(digest)
        return stored

    stored = _read_all(records, read)
    checked.save()
    return stored


def _read_all(records: Iterable[Path], read: Callable[[Path], StoredResult]) -> list[StoredResult]:
    stored, bad = [], {}
    for record in records:
        try:
            stored.append(read(record))
        except BadFileError as error:
            bad[record] = str(error)
    leave_out(bad)
    return stored


def read_or_leave_out(read: Callable[[StoredResult], T], stored: StoredResult) -> T | None:
    """Read a file beside a record; if it is damaged, warn that it is left out, and return None."""
    try:
        return read(stored)
    except BadFileError as error:
        leave_out({stored.record: str(error)}, "file")
        return None


def leave_out(bad: Mapping[Path, str], noun: str = "record") -> None:
    """Warn that records, or other files, are left out, and why."""
    if bad:
        reasons = "".join(f"\n  {reason}" for reason in [*bad.values()][:_NAMED])
        more = f"\n  and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        warnings.warn(f"left out {format_count(len(bad), noun)}:{reasons}{more}", LeftOutWarning, stacklevel=3)


def require_replicates(stored: StoredResult) -> StoredResult:
    """Return a result. Raise BadFileError if its numbers are not those of the replicates beside its record, if any."""
    from bench.records.replicates import check_replicates, read_replicates

    replicates = read_replicates(stored.record)
    try:
        if replicates is not None:
            check_replicates(stored.result, replicates)
    except ValueError as error:
        raise BadFileError(stored.record, str(error)) from None
    return stored


def find_result(name: str, places: Places, published: Path) -> StoredResult:
    """Return one result, by the path of its record or by a prefix of its address.

    Raises UnknownNameError if no address, or more than one, has this prefix; BadFileError for a file that is no record.
    """
    return choose_result(name, () if name.endswith(".json") else list_results(places, published))


def choose_result(name: str, known: Sequence[StoredResult]) -> StoredResult:
    """Return one of these results, or the one at a path, as `find_result` does."""
    if name.endswith(".json"):
        return StoredResult(read_result(Path(name)), Path(name))
    matches = [each for each in known if each.result.address.startswith(name)]
    if len(matches) != 1:
        addresses = [each.result.address for each in matches or known]
        raise UnknownNameError("result", name, addresses, hint="python -m bench list runs")
    return matches[0]
