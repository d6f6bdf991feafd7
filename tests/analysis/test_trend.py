"""How a result moved: points of one revision and setting, seeds together, and what was moved between two of them."""

from __future__ import annotations

from typing import Any

import pytest
from record_cases import RECORD

from bench.analysis.trend import Trend, make_table, trends
from bench.records.result import Result
from bench.tables.render import FORMATS

COMMON: dict[str, Any] = {
    **RECORD,
    "method": "melm",
    "config": {"epochs": 20, "lr": 0.1},
    "higher_is_better": {"mAP": True},
}


def made(day: int, value: float | None, revision: str = "abcdef0123456789", **more: Any) -> Result:
    fields = {"seed": 0, "created": f"2025-01-{day:02}", "provenance": {"revision": revision, "dirty": False}, **more}
    return Result(**{**COMMON, "address": f"{day}{fields}", "metrics": {"mAP": value}, **fields})


def one(*results: Result) -> Trend:
    (trend,) = trends(results)
    return trend


def test_points_are_in_the_order_of_their_making_and_say_how_far_they_moved() -> None:
    trend = one(made(2, 0.50, "b" * 40), made(1, 0.47), made(3, 0.45, "c" * 40))
    assert [point.values["mAP"] for point in trend.points] == [0.47, 0.50, 0.45]
    assert [point.change for point in trend.points] == [None, pytest.approx(0.03), pytest.approx(-0.05)]
    assert [point.moved for point in trend.points] == [(), (), ()]


def test_seeds_of_one_revision_are_one_point_and_of_a_seed_the_last_counts() -> None:
    trend = one(made(1, 0.1), made(2, 0.4), made(3, 0.5, seed=1), made(4, 0.6, "b" * 40))
    assert [point.values["mAP"] for point in trend.points] == [pytest.approx(0.45), 0.6]
    assert [[one.seed for one in point.results] for point in trend.points] == [[0, 1], [0]]


def test_a_point_names_the_settings_that_were_moved() -> None:
    trend = one(made(1, 0.4), made(2, 0.5, config={"epochs": 10, "lr": 0.1, "clip": 1.0}))
    assert trend.points[1].moved == ("epochs 10, was 20",)
    assert trend.points[1].change == pytest.approx(0.1)


def test_a_setting_that_older_records_lack_was_moved_only_where_no_other_was() -> None:
    (_, point) = one(made(1, 0.4), made(2, 0.5, config={"epochs": 20, "lr": 0.1, "clip": 1.0})).points
    assert point.moved == ("clip 1.0, was null",)


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (
            {"digest": "x", "conventions": {"iou_threshold": 0.7}},
            "other conventions: iou_threshold 0.7, not 0.5",
        ),
        ({"truth_digest": "x"}, "evaluated on other images or annotations"),
    ],
)
def test_between_two_judgements_there_is_no_change(odd: dict[str, Any], reason: str) -> None:
    trend = one(made(1, 0.4), made(2, 0.5, **odd))
    assert (trend.points[1].change, trend.points[1].moved) == (None, (reason,))


def test_an_undefined_number_has_no_change_and_is_not_zero() -> None:
    trend = one(made(1, 0.4), made(2, None, "b" * 40), made(3, 0.5, "c" * 40))
    assert [point.change for point in trend.points] == [None, None, None]
    assert [cell[3].text for cell in make_table(trend).rows] == ["40.0", "", "50.0"]


def test_methods_protocols_datasets_and_splits_have_trends_of_their_own() -> None:
    odd = [{}, {"variant": "base"}, {"protocol": "voc07-corloc"}, {"dataset": "shapes"}, {"split": "few"}]
    found = trends(made(1, 0.4, **more) for more in odd)
    assert len({(trend.method, trend.protocol, trend.dataset, trend.split) for trend in found}) == 5


def test_a_trend_is_read_as_a_table() -> None:
    dirty = {"provenance": {"revision": "b" * 40, "dirty": True}, "config": {"epochs": 10, "lr": 0.1}}
    text = FORMATS["text"](make_table(one(made(1, 0.4, intervals={"mAP": (0.3, 0.5)}), made(2, 0.5, **dirty))))
    assert text.splitlines() == [
        "melm · voc07-det on voc2007 test, per cent",
        "",
        "made                revision    seeds                mAP    change",
        "----------------  ----------  -------  -----------------  --------",
        "2025-01-01         abcdef012        0  40.0 [30.0, 50.0]",
        "2025-01-02 (a) §   bbbbbbbbb        0               50.0     +10.0",
        "(a) epochs 10, was 20",
        "§ from an edited checkout: no revision has the code that made it",
        "change: of the first metric since the row before.",
    ]
