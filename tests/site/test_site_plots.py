"""Data of plots: rows evaluated alike, their marks explained, no frontier of oracles, no mean of half the seeds."""

from __future__ import annotations

from typing import Any

from record_cases import RECORD

from bench.analysis.errors import ErrorAnalysis, ErrorKind
from bench.records.result import Result
from bench.site.plots import plot_classes, plot_costs, plot_errors, plot_intervals
from bench.tables.model import Cell, Table

TUNED = "tuned on: val-boxes"


def make(address: str, value: float, **more: Any) -> Result:
    fields = {
        **RECORD,
        "address": address,
        "method": address,
        "metrics": {"CorLoc": value},
        "higher_is_better": {"CorLoc": True},
        "training": address,
        "seconds": {"training": 10.0, "prediction": 1.0},
    }
    return Result(**{**fields, **more})


def tabulate(*rows: tuple[Result, ...], unranked: str = "") -> Table:
    cells = [
        (
            Cell(first.method, first.method, ("a",) * (first.tuned_on == "val-boxes")),
            Cell(None, "" if first.method in unranked else str(at)),
            Cell(first.metrics["CorLoc"], "1"),
        )
        for at, (first, *_) in enumerate(rows, 1)
    ]
    return Table("board", ("method", "rank", "CorLoc"), tuple(cells), {"a": TUNED})


ORACLE = (make("oracle", 0.9, training=None, tuned_on="test-oracle"),)
TUNED_ROW = (make("tuned", 0.5, tuned_on="val-boxes"),)
PLAIN = (make("plain", 0.4),)
ELSEWHERE = (make("elsewhere", 0.6, truth_digest="other"),)
ROWS = (ORACLE, ELSEWHERE, TUNED_ROW, PLAIN)
TABLE = tabulate(*ROWS, unranked="oracle elsewhere")


def test_rows_on_other_images_than_the_ranked_ones_are_in_the_table_only() -> None:
    plot = plot_intervals(TABLE, ROWS, "")
    assert plot is not None
    assert [row["name"] for row in plot.data["rows"]] == ["oracle", "tuned", "plain"]
    assert plot.title == "board; 3 of 4 rows: the best that were evaluated alike"
    assert plot.summary.endswith("First: tuned, 50.0.")  # no ceiling, which saw what is evaluated
    without = plot_intervals(tabulate(*ROWS, unranked="oracle elsewhere tuned plain"), ROWS, "")
    assert without is not None
    assert len(without.data["rows"]) == 4


def test_what_marks_a_row_is_explained_where_it_is_drawn() -> None:
    plot = plot_intervals(TABLE, ROWS, "")
    assert plot is not None
    assert [row["notes"] for row in plot.data["rows"]] == [[], [TUNED], []]


def test_what_saw_the_evaluated_truth_costs_nothing_that_could_be_compared() -> None:
    plots = plot_costs(TABLE, ROWS, "")
    assert [[point["name"] for point in plot.data["points"]] for plot in plots] == [["tuned", "plain"]]


def test_a_class_that_a_seed_leaves_undefined_has_no_mean() -> None:
    seeds = (
        make("a", 0.5, seed=0, per_class={"CorLoc": {"cat": 0.4, "dog": 0.6}}),
        make("b", 0.5, seed=1, per_class={"CorLoc": {"cat": None, "dog": 0.8}}),
    )
    other = (make("c", 0.5, per_class={"CorLoc": {"cat": 0.1, "dog": 0.9}}),)
    plot = plot_classes(tabulate(seeds, other), (seeds, other))
    assert plot is not None
    values = [(cell["name"], cell["class"], cell["value"]) for cell in plot.data["cells"]]
    assert values == [("a", "dog", 70.0), ("c", "cat", 10.0), ("c", "dog", 90.0)]


def test_a_metric_that_is_better_the_lower_is_named_so() -> None:
    fields: dict[str, Any] = {"higher_is_better": {"CorLoc": False}, "per_class": {"CorLoc": {"cat": 0.4, "dog": 0.6}}}
    rows = [(make("a", 0.5, **fields),), (make("b", 0.5, **fields),)]
    plot = plot_classes(tabulate(*rows), rows)
    assert plot is not None
    assert plot.title == "CorLoc by class, per cent (lower is better)"


def test_errors_of_several_seeds_are_said_to_be_those_of_one() -> None:
    seeds = (make("a", 0.5, seed=0), make("b", 0.5, seed=1))
    errors = {"a": ErrorAnalysis("a", "voc07-corloc", "voc2007 test", None, (ErrorKind("part", 3, 0.25),))}
    for rows, says in (((seeds,), True), ((seeds[:1],), False)):
        plot = plot_errors(tabulate(*rows), rows, errors)
        assert plot is not None
        assert ("of several seeds, those of the first" in plot.title) == says
