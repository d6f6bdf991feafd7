"""Leaderboards of many settings: time in proportion to the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from record_cases import RECORD
from timing import times_faster

from bench.records.replicates import Replicates
from bench.records.result import Result
from bench.tables.leaderboard import leaderboard

pytestmark = pytest.mark.slow

Board = tuple[list[Result], dict[str, Replicates | None]]


def make_board(count: int) -> Board:
    """Results of one method with as many settings, most of them clearly better than the one before."""
    common: dict[str, Any] = {**RECORD, "higher_is_better": {"mAP": True}, "method": "cam", "seed": 0}
    results = [
        Result(
            **{**common, "address": f"{n:020x}", "predictions": str(n)}, metrics={"mAP": n / count}, config={"lr": n}
        )
        for n in range(count)
    ]
    noise = np.random.default_rng(0).normal(0, 1e-6, 100)
    return results, {one.address: Replicates("draws", {"mAP": n / count + noise}) for n, one in enumerate(results)}


def test_four_times_the_rows_take_about_four_times_as_long() -> None:
    few, many = make_board(500), make_board(2000)

    def draw(board: Board) -> None:
        assert len(leaderboard("voc07-det", "voc2007", board[0], draws=board[1]).rows) == len(board[0])

    ratio = times_faster(lambda: draw(few), lambda: draw(many), rounds=3)
    assert ratio < 8, "in proportion it is 4, with the square of the rows 16"
