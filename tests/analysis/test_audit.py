"""Audit: every switch is moved, alone, to every other value it has; differences and ranges as by hand."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scoring_cases import arrays, bound, judge, predicted, truth_of

import protocols
from bench.analysis import audit as module
from bench.analysis.audit import Audit, Setting, alternatives, audit, make_table
from bench.errors import RequestError
from bench.scoring.protocol import Conventions
from bench.tables.render import FORMATS

PROTOCOLS = sorted(path.stem for path in Path(protocols.__path__[0]).glob("*.toml"))
HALF = [("a", "cat", (0, 0, 4, 4), False), ("b", "cat", (0, 0, 4, 4), False)]


def found(audited: Audit, switch: str, value: Any) -> Setting:
    (one,) = [one for one in audited.others if (one.switch, one.value) == (switch, value)]
    return one


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_switch_of_every_protocol_has_other_values_that_it_takes(name: str) -> None:
    protocol = bound(name)
    others = alternatives(protocol.conventions)
    assert set(others) == set(protocol.record.conventions)
    for switch, values in others.items():
        assert values
        for value in values:
            assert getattr(bound(name, **{switch: value}).conventions, switch) == value != protocol.conventions


def test_the_values_tried_are_the_others_of_the_type_or_the_examples() -> None:
    others = alternatives(bound("voc07-det").conventions)
    assert others["difficult"] == ["count", "remove"]
    assert others["plus_one"] == [False]
    assert others["iou_threshold"] == [0.3, 0.7]


def test_a_number_without_examples_is_a_mistake_of_the_family() -> None:
    class Switches(Conventions):
        """One switch that says nothing of its values."""

        share: float

    with pytest.raises(TypeError, match="switch share: a number needs examples"):
        alternatives(Switches(share=0.5))


def test_each_setting_is_what_scoring_says_under_it_and_all_metrics_of_the_family_are_there() -> None:
    truth = truth_of([*HALF, ("c", "dog", (1, 1, 9, 9), True)])
    rows = [("a", "cat", 0.9, 0.0, 0.0, 4.0, 8.0), ("b", "cat", 0.8, 1.0, 0.0, 4.0, 4.0), ("c", "dog", 1, 1, 1, 9, 9)]
    boxes = predicted(truth, "boxes", rows)
    audited = audit(bound("voc10-det"), truth, boxes)
    assert list(audited.own.metrics) == ["mAP_area", "mAP_11pt"]
    assert audited.own.metrics["mAP_area"] == judge(bound("voc10-det"), truth, boxes).metrics["mAP_area"] == 1.0
    assert len(audited.others) == 9
    for one in audited.others:
        moved = judge(bound("voc10-det", **{one.switch: one.value}), truth, boxes).metrics["mAP_area"]
        assert one.metrics["mAP_area"] == moved
    assert audited.difference(found(audited, "iou_compare", ">"), "mAP_area") == -0.75  # 1 of 2, after a miss
    moved_by = [abs(audited.difference(one, "mAP_area") or 0) for one in audited.others]
    assert moved_by == sorted(moved_by, reverse=True)
    assert audited.difference(found(audited, "iou_threshold", 0.3), "mAP_area") == 0.0


def orders(rows: int, hits: int) -> list[float]:
    """Average precision as area of every order of tied rows of which some hit, all positives among them."""
    values = []
    for at in itertools.combinations(range(rows), hits):
        precision = [(k + 1) / (place + 1) for k, place in enumerate(at)]
        values.append(sum(max(precision[k:]) for k in range(hits)) / hits)
    return values


def test_the_range_over_orders_of_equal_scores_is_that_of_all_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ORDERS", 200)
    truth = truth_of(HALF)
    rows = [("a", "cat", 0.5001, 0.0, 0.0, 4.0, 4.0), ("b", "cat", 0.5002, 0.0, 0.0, 4.0, 4.0)]
    rows += [("c", "cat", 0.5003, 0.0, 0.0, 4.0, 4.0)]
    audited = audit(bound("voc10-det"), truth, predicted(truth, "boxes", rows))
    low, high = found(audited, "rounding", "devkit").ranges["mAP_area"]
    assert (low, high) == pytest.approx((min(orders(3, 2)), max(orders(3, 2))))
    assert found(audited, "ties", "argsort").ranges["mAP_area"] == pytest.approx((2 / 3, 2 / 3))
    assert not found(audited, "difficult", "count").ranges


def test_a_family_without_a_tie_rule_has_no_ranges() -> None:
    truth = truth_of(HALF)
    points = predicted(truth, "points", [("a", "cat", 0.5, 1, 1), ("b", "cat", 0.5, 9, 9)])
    assert not any(one.ranges for one in audit(bound("voc07-point"), truth, points).others)


def test_a_setting_that_cannot_be_scored_says_why_and_comes_last() -> None:
    truth = truth_of(HALF)
    points = predicted(truth, "points", [("a", "cat", 0.5, 1, 1), ("b", "cat", 0.5, 9, 9)])
    audited = audit(bound("voc07-point"), truth, points)
    last = audited.others[-1]
    assert (last.switch, last.value, last.refused) == (
        "box_region",
        "mask",
        "toy has no masks of its objects, which box_region = mask asks for.",
    )
    text = FORMATS["text"](make_table(audited, "T"))
    assert "(a) toy has no masks" in text
    assert "mask (a)" in text


def test_what_the_protocol_itself_cannot_score_is_refused() -> None:
    truth = truth_of(HALF)
    points = predicted(truth, "points", [("a", "cat", 0.5, 1, 1)], ids=("a",))
    with pytest.raises(RequestError, match="--allow-missing"):
        audit(bound("voc07-point"), truth, points)
    assert audit(bound("voc07-point"), truth, points, allow_missing=True).own.metrics["accuracy"] == 0.5


def test_kinds_that_are_folders_are_audited_too() -> None:
    truth = truth_of(HALF)
    maps = arrays(truth, "maps", [(name, "cat", np.eye(4, dtype=np.float32)) for name in "ab"])
    audited = audit(bound("voc07-point"), truth, maps, allow_missing=True)
    assert audited.own.metrics["accuracy"] == 1.0


def test_the_table_has_value_and_difference_in_per_cent_and_the_csv_every_digit() -> None:
    truth = truth_of(HALF)
    rows = [("a", "cat", 0.9, 0.0, 0.0, 4.0, 8.0), ("b", "cat", 0.8, 0.0, 0.0, 4.0, 4.0)]
    table = make_table(audit(bound("voc07-det"), truth, predicted(truth, "boxes", rows)), "T")
    assert [cell.text for cell in table.rows[0]] == ["(as the protocol says)", "", "100.00", "100.00"]
    strict = next(row for row in table.rows if row[1].text == ">")
    assert strict[3].text == "25.00  -75.00"
    ties = next(row for row in table.rows if row[0].text == "ties")
    assert ties[3].text == "100.00  +0.00  [100.00, 100.00]"
    lines = FORMATS["csv"](table).splitlines()
    assert lines[0].startswith("switch,value,mAP_11pt,mAP_area,mAP_11pt difference,mAP_11pt least,mAP_11pt most")
    assert any(line.startswith("iou_compare,>,0.2727272727272727,0.25,-0.7272727272727273,,,-0.75") for line in lines)
