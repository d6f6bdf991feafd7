"""Results over revisions: the gate's verdict on each point, where it compares anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from record_cases import RECORD

from bench.core.bootstrap import average_over_seeds, interval
from bench.records.collection import StoredResult
from bench.records.replicates import build_table, replicates_path
from bench.records.result import Result
from bench.site.trends import REMARK, draw_trends
from bench.tables.render import FORMATS


def made(number: int, value: float, **more: Any) -> StoredResult:
    fields: dict[str, Any] = {
        "address": f"a{number}",
        "method": "cam",
        "seed": 0,
        "created": f"2026-01-0{number}",
        "metrics": {"mAP": value},
        "higher_is_better": {"mAP": True},
        "intervals": {"mAP": (value - 0.01, value + 0.01)},
        "provenance": {"revision": f"{number}" * 40},
    }
    return StoredResult(Result(**{**RECORD, **fields, **more}), Path(f"{number}.json"))


def test_a_point_is_compared_with_the_one_before_where_settings_are_the_same() -> None:
    known = [
        made(1, 0.4),
        made(2, 0.3),
        made(3, 0.301),
        made(4, 0.5),
        made(5, 0.2, config={"lr": 1}),
        made(6, 0.3, config={"lr": 1}, seed=1),
    ]
    ((trend, plot, table),) = draw_trends(known)
    said = ["", "regressed", "unchanged", "improved", "", ""]
    assert [point["gate"] for point in plot.data["points"]] == said
    assert [row[table.columns.index("gate")].text for row in table.rows] == said
    assert len(trend.points) == 6
    assert REMARK in FORMATS["text"](table)


def test_nothing_is_said_where_nothing_is_compared() -> None:
    ((_, plot, table),) = draw_trends([made(1, 0.4), made(2, 0.3, seed=1)])
    assert [point["gate"] for point in plot.data["points"]] == ["", ""]
    assert "gate" not in table.columns
    assert [*draw_trends([made(1, 0.4)])] == []


def test_a_point_of_several_seeds_has_the_interval_of_their_mean(tmp_path: Path) -> None:
    random, known = np.random.default_rng(0), [made(1, 0.4)]
    replicates = [random.normal(0.3, 0.02, 100), random.normal(0.34, 0.02, 100)]
    for seed, values in enumerate(replicates):
        stored = made(2 + seed, 0.3 + 0.04 * seed, seed=seed, provenance={"revision": "2" * 40})
        record = tmp_path / f"{seed}.json"
        pq.write_table(build_table({"mAP": values}, 100, 0), replicates_path(record))
        known.append(StoredResult(stored.result, record))
    ((_, plot, _),) = draw_trends(known)
    one, several = plot.data["points"]
    assert (one["low"], one["high"]) == (39, 41)
    low, high = interval(average_over_seeds(np.stack(replicates)), 0.32) or (0, 0)
    assert (several["value"], several["low"], several["high"]) == (32, round(100 * low, 2), round(100 * high, 2))
