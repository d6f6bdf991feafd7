"""What is kept of measured steps, and what is made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.core.files import Places
from bench.execution.step_cost import Span, StepCost, compute_cost_key, estimate_mean, read_cost, write_cost

COST = StepCost(Span(1, 2, 3), Span(0.1, 0.2, 0.3), 0.5, None, 100.0, 20.0, 40.0, 3.0, "a machine", "its own images")


def test_a_cost_is_read_as_it_was_written_and_a_damaged_one_is_none(tmp_path: Path) -> None:
    places = Places(tmp_path)
    assert read_cost(places, "abc") is None
    write_cost(places, "abc", COST)
    assert read_cost(places, "abc") == COST
    (path,) = tmp_path.rglob("abc.json")
    path.write_text('{"training": [1]}')
    assert read_cost(places, "abc") is None


def test_what_only_is_learned_changes_no_key() -> None:
    key = compute_cost_key("melm", {"net": "vgg16", "tau": "0.1", "epochs": "20"}, "voc2007", "boxes")
    assert key == compute_cost_key("melm", {"epochs": "1", "net": "vgg16", "tau": "1"}, "voc2007", "boxes")
    assert key != compute_cost_key("melm", {"net": "vgg-f"}, "voc2007", "boxes")
    assert key != compute_cost_key("melm", {"net": "vgg16"}, "voc2012", "boxes")


@pytest.mark.parametrize("values", [[1.0, 1.1, 0.9], [2.0, 1.0], [3.0]])
def test_a_mean_lies_in_its_range_and_more_spread_makes_it_wider(values: list[float]) -> None:
    span = estimate_mean(values)
    assert span.middle == pytest.approx(sum(values) / len(values))
    assert 0 < span.low < span.middle < span.high
    assert span.high - span.low >= 0.3 * span.middle * (1 - 1e-9)
