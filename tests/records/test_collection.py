"""Finding a kept result: in the runs folder or published, by a path or the beginning of an address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.core.files import Places
from bench.errors import BadFileError, LeftOutWarning, UnknownNameError
from bench.records import collection
from bench.records.collection import StoredResult, find_result, list_results
from bench.records.replicates import replicates_path
from bench.records.result import Result, write_result

pytestmark = pytest.mark.usefixtures("made_up_addresses")

FIELDS: dict[str, Any] = {
    **dict.fromkeys(("protocol", "family", "digest", "truth_digest", "ids_digest", "dataset", "split", "method"), "x"),
    **{"conventions": {}, "images": 1, "partial": False, "predictions": "p"},
    **{"metrics": {"x": 0.5}, "higher_is_better": {"x": True}},
}


@pytest.fixture
def published(places: Places, tmp_path: Path) -> Path:
    """Results aa1 and aa2 in the runs folder, aa2 and bb published."""
    for address in ("aa1", "aa2"):
        write_result(places.runs / "results" / f"{address}.json", Result(address=address, **FIELDS))
    for address in ("aa2", "bb"):
        write_result(tmp_path / "measured" / f"x.x.{address}.json", Result(address=address, **FIELDS))
    return tmp_path / "measured"


def test_each_address_once_the_run_before_its_copy(places: Places, published: Path) -> None:
    found = {one.result.address: one.record.parent.name for one in list_results(places, published)}
    assert found == {"aa1": "results", "aa2": "results", "bb": "measured"}


def test_by_the_beginning_of_its_address_or_by_its_path(places: Places, published: Path) -> None:
    assert find_result("b", places, published).record == published / "x.x.bb.json"
    assert find_result("aa1", places, published).result.address == "aa1"
    copy = published / "x.x.aa2.json"
    assert find_result(str(copy), places, published).record == copy


def test_what_is_not_one_result_is_refused(places: Places, published: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown result 'aa'\. Did you mean: aa2, aa1"):
        find_result("aa", places, published)
    with pytest.raises(UnknownNameError, match="Unknown result 'cc'"):
        find_result("cc", places, published)
    with pytest.raises(BadFileError, match="not a result record"):
        find_result("nothing.json", places, published)


def test_bad_records_are_left_out_counted_and_named(places: Places, published: Path) -> None:
    (published / "x.x.cc.json").write_text("{")
    (places.runs / "results" / "dd.json").write_text('{"schema": 99}')
    with pytest.warns(LeftOutWarning, match=r"left out 2 records:\n  .*x\.x\.cc\.json: .*\n  .*dd\.json: ") as caught:
        found = list_results(places, published)
    assert [one.result.address for one in found] == ["aa2", "bb", "aa1"]
    assert len(caught) == 1


def test_a_checked_record_is_checked_again_when_it_or_its_replicates_change(
    places: Places, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []

    def check(stored: StoredResult) -> StoredResult:
        checked.append(stored.result.address)
        return stored

    monkeypatch.setattr(collection, "require_replicates", check)
    every = len(list_results(places, published, with_replicates=True))
    assert len(checked) == every + 1  # one lies in both folders
    list_results(places, published, with_replicates=True)
    assert len(checked) == every + 1
    replicates_path(published / "x.x.aa2.json").write_bytes(b"others")
    list_results(places, published, with_replicates=True)
    assert checked[every + 1 :] == ["aa2"]
    (path,) = places.cache.glob("checked-records-*.txt")
    path.write_bytes(path.read_bytes()[:-5] + b"\xff")  # torn: the last was the one that changed
    list_results(places, published, with_replicates=True)
    assert checked[every + 2 :] == ["aa2"]


def test_a_bad_record_is_left_out_each_time_though_others_were_checked(places: Places, published: Path) -> None:
    (published / "x.x.cc.json").write_text("{")
    for _ in range(2):
        with pytest.warns(LeftOutWarning, match="left out 1 record"):
            list_results(places, published, with_replicates=True)


def test_listing_makes_no_runs_folder(published: Path, tmp_path: Path) -> None:
    assert list_results(Places(tmp_path / "none"), published, with_replicates=True)
    assert not (tmp_path / "none").exists()
