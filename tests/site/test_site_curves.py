"""Lines of a leaderboard against a threshold: means of seeds, where all are there, of the first metric that moves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from record_cases import RECORD

from bench import registry
from bench.analysis.curves import Curve
from bench.records.collection import StoredResult
from bench.records.result import Result
from bench.site.build import write
from bench.site.curves import draw_curve, draw_curves
from bench.site.parts import make_board
from bench.site.plots import MOST

pytestmark = pytest.mark.usefixtures("made_up_addresses")

CURVE = Curve("IoU threshold", 0.5, (0.3, 0.5, 0.7), {"mAP_11pt": (0.5, 0.5, 0.5), "mAP_area": (0.75, 0.5, None)})


def make(address: str, method: str, **more: Any) -> StoredResult:
    conventions = registry.bind(registry.protocol("voc07-det")).conventions.model_dump(mode="json")
    metrics = {"mAP_11pt": 0.5, "mAP_area": 0.5}
    fields = {
        **RECORD,
        "address": address,
        "method": method,
        "conventions": conventions,
        "predictions": address,
        "metrics": metrics,
        "higher_is_better": dict.fromkeys(metrics, True),
        "created": "2025-01-01",
    }
    return StoredResult(Result(**{**fields, **more}), Path(f"{address}.json"))


def read_lines(known: list[StoredResult], curves: dict[str, Curve]) -> Any:
    drawn = draw_curves(make_board("voc07-det", "voc2007", known), curves)
    assert drawn is not None
    assert drawn.plot is not None
    return drawn, {line["name"]: line["points"] for line in drawn.plot.data["series"]}


def test_a_row_is_the_mean_of_its_seeds_and_has_no_point_where_none_is_defined() -> None:
    known = [make("a", "cam", seed=0), make("b", "cam", seed=1), make("c", "gmp", seed=0)]
    other = replace(CURVE, metrics={**CURVE.metrics, "mAP_area": (0.25, 0.1, None)})
    drawn, lines = read_lines(known, {"a": CURVE, "b": other, "c": CURVE})
    assert lines == {"cam": [[0.3, 50], [0.5, 30]], "gmp": [[0.3, 75], [0.5, 50]]}
    assert (drawn.plot.title, drawn.is_whole) == ("mAP_area against the IoU threshold", True)
    assert drawn.plot.summary == "mAP_area, per cent over IoU threshold: cam has 30 at 0.5, gmp has 50 at 0.5"
    assert ">50.0<" in drawn.table


def test_a_row_of_which_a_seed_has_no_curve_is_left_out() -> None:
    known = [make("a", "cam", seed=0), make("b", "cam", seed=1), make("c", "gmp", seed=0)]
    drawn, lines = read_lines(known, {"a": CURVE, "c": CURVE})
    assert (set(lines), drawn.is_whole) == ({"gmp"}, False)
    assert drawn.plot.title == "mAP_area against the IoU threshold; 1 of 2 rows"


def test_rows_of_one_name_have_a_line_each_named_with_their_marks() -> None:
    known = [make("a", "cam"), make("b", "cam", tuned_on="test-oracle")]
    lower = replace(CURVE, metrics={**CURVE.metrics, "mAP_area": (0.25, 0.1, None)})
    drawn, lines = read_lines(known, {"a": CURVE, "b": lower})
    assert sorted(lines.values()) == [[[0.3, 25], [0.5, 10]], [[0.3, 75], [0.5, 50]]]
    assert drawn.is_whole
    assert "cam (a)" in lines
    assert "cam ()" not in lines


def test_methods_under_other_thresholds_have_no_dashed_line_in_common() -> None:
    known = [make("a", "cam"), make("b", "gmp")]
    drawn, lines = read_lines(known, {"a": CURVE, "b": replace(CURVE, own=0.3)})
    assert (set(lines), drawn.plot.data["mark"]) == ({"cam", "gmp"}, None)


def test_no_more_lines_than_rows_of_other_plots() -> None:
    known = [make(f"{number:020d}", f"method-{number}") for number in range(MOST + 3)]
    drawn, lines = read_lines(known, {one.result.address: CURVE for one in known})
    assert (len(lines), drawn.is_whole) == (MOST, True)
    assert drawn.plot.title.endswith(f"; {MOST} of {MOST + 3} rows")


def test_what_no_threshold_moves_and_what_has_none_are_not_drawn() -> None:
    one = make("a", "cam").result
    still = replace(CURVE, metrics={"mAP_area": (0.0, 0.0, 0.0)})
    assert draw_curve(one, still, is_run=True) is None
    assert draw_curve(one.model_copy(update={"conventions": {}}), None, is_run=True) is None
    assert draw_curve(one, None, is_run=False) is None  # of a scored file no predictions are kept


def test_a_page_is_made_again_if_its_curve_is_another(tmp_path: Path) -> None:
    known, out = [make("a" * 20, "cam")], tmp_path / "site"
    files = [out / "run" / f"{'a' * 20}.html", out / "protocol" / "voc07-det.html"]
    texts = []
    for values in (CURVE, replace(CURVE, own=0.3)):
        write(known, out, curves={"a" * 20: values})
        texts.append([file.read_text(encoding="utf-8").replace(" ", "") for file in files])
    assert all('"mark":0.5' in text for text in texts[0])
    assert all('"mark":0.3' in text for text in texts[1])
