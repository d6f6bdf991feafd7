"""The leaderboards of a track hold its results, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_track import LAPTOP, result

from bench.errors import UnknownNameError
from bench.records.collection import StoredResult
from bench.records.result import Result
from bench.tables.model import Table
from bench.tracks.leaderboards import make_leaderboards


def tables(*results: Result, protocols: tuple[str, ...] = ()) -> list[Table]:
    return make_leaderboards(LAPTOP, [StoredResult(each, Path("nowhere.json")) for each in results], protocols)


def names(table: Table) -> list[str]:
    return [row[0].text for row in table.rows]


def test_a_table_for_each_protocol_names_the_track_and_its_rows_by_entry() -> None:
    untrained = result(config={"epochs": 0}, metrics={"accuracy": 0.25}, address="u")
    floor = result("center", metrics={"accuracy": 0.3}).model_copy(
        update={"config": {}, "weights": None, "train_split": None, "seed": None}
    )
    elsewhere = result("has", split="test", metrics={"accuracy": 0.9})
    point, corloc = tables(result(), untrained, floor, elsewhere, result("gmp", "voc07-corloc"))
    head, split = f"voc07-laptop, version {LAPTOP.version}", LAPTOP.find_split("voc07-point-val")
    assert point.title == f"{head}: voc07-point-val on voc2007 {split}, per cent"
    assert names(point) == ["cam", "center", "cam-untrained"]
    assert not any("not the protocol" in note for note in point.notes.values())  # the split is the track's whole
    assert names(corloc) == ["gmp"]


def test_only_the_protocols_that_are_asked_for() -> None:
    both = result(), result("gmp", "voc07-corloc")
    assert [table.title.split()[3] for table in tables(*both, protocols=("voc07-corloc",))] == ["voc07-corloc"]
    with pytest.raises(UnknownNameError, match="protocol of track voc07-laptop"):
        tables(*both, protocols=("voc07-det",))
