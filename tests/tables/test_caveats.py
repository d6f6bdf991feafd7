"""Marks of what an interval does not tell: which results get them, in every table, format and field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from measured import beside, result

from bench.analysis.compare import Comparison, Difference
from bench.analysis.compare import make_tables as compare_tables
from bench.analysis.gate import GateCheck
from bench.analysis.gate import make_table as gate_table
from bench.analysis.trend import make_table as trend_table
from bench.analysis.trend import trends
from bench.records.result import Result
from bench.site.parts import list_runs
from bench.tables.caveats import CAVEATS, EDITED, ONE_SEED, list_caveats
from bench.tables.leaderboard import COSTS, add_columns, leaderboard
from bench.tables.model import Table
from bench.tables.render import FORMATS

DIRTY = {"provenance": {"revision": "r", "dirty": True}}


def make(label: str = "cam", **more: Any) -> Result:
    return result("voc07-point", label, {"accuracy": 0.5}, **more)


def test_one_seed_of_what_learns_is_marked_and_what_learns_nothing_is_not() -> None:
    assert list_caveats([make("center", seed=None)]) == ()
    assert list_caveats([make(training="t")]) == (ONE_SEED,)
    assert list_caveats([make(training="t", seed=seed) for seed in (0, 1)]) == ()
    assert list_caveats([make("ensemble", seed=None, config={"runs": ["a", "b"]})]) == (ONE_SEED,)


@pytest.mark.parametrize(("dirty", "marks"), [(True, (EDITED,)), (False, ()), (None, ())])
def test_any_result_from_an_edited_checkout_marks_its_row(dirty: bool | None, marks: tuple[str, ...]) -> None:
    both = [make(training="t", seed=0), make(training="t", seed=1, provenance={"revision": "r", "dirty": dirty})]
    assert list_caveats(both) == marks


def of_leaderboard(row: Result) -> Table:
    return leaderboard("voc07-point", "voc2007", [row, make("center", seed=None)])


def of_gate(row: Result) -> Table:
    return gate_table([GateCheck(row, "accuracy", "unchanged", 0.5, 0.5, 0.0, seeds=(0,))])


def of_trend(row: Result) -> Table:
    return trend_table(trends([row])[0])


def of_paper(row: Result) -> Table:
    return beside("spn-2", [row])


def of_comparison(row: Result) -> Table:
    return compare_tables(
        Comparison((row,), (make("center", seed=None),), (), (), True, {"accuracy": Difference(0.5, 0.5)}, {})
    )[0]


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("table", [of_leaderboard, of_gate, of_trend, of_paper, of_comparison])
def test_every_table_explains_its_marks_in_every_format(table: Callable[[Result], Table], format_: str) -> None:
    marked, plain = (
        FORMATS[format_](table(make(training="t", config={"net": "googlenet"}, **more))) for more in (DIRTY, {})
    )
    in_rows = format_ != "csv" or table is not of_comparison  # CSV leaves remarks out
    assert (CAVEATS[EDITED] in marked) == in_rows
    assert CAVEATS[EDITED] not in plain
    assert (CAVEATS[ONE_SEED] in plain) == in_rows


def test_the_runs_of_the_site_are_marked_where_they_are_edited() -> None:
    table = list_runs([make(training="t", created="2025-02", **DIRTY), make("center", seed=None, created="2025-01")])
    assert [row[0].marks for row in table.rows] == [(EDITED,), ()]
    assert table.notes == {EDITED: CAVEATS[EDITED]}


def test_programs_read_the_marks_as_fields_and_people_as_marks_alone() -> None:
    table = of_leaderboard(make(training="t", **DIRTY))
    extra = {str(row[0].value): row[0].extra for row in table.rows}
    assert [extra["cam"][name] for name in ("one seed", "edited")] == ["yes", "yes"]
    assert [extra["center"][name] for name in ("one seed", "edited")] == [None, None]
    assert not {"one seed", "edited"} & set(add_columns(table).columns)


def test_costs_are_columns_on_request_and_in_csv_always() -> None:
    one = make("cam", parameters=1_260_000, flops=2.61e9, peak_memory_mib=900.0)
    table = leaderboard(one.protocol, one.dataset, [one])
    costs = add_columns(table, costs=True)
    assert [cell.text for cell in costs.rows[0]][-3:] == ["1.26", "2.61", "900"]
    assert not {*COSTS} & {*add_columns(table).columns}
    assert "M parameters" in FORMATS["csv"](table)
