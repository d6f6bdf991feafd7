"""`errors` as its users meet it: of results, of a file, by parts, as pictures, and in Python."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pytest
from test_compare_verb import IDS
from test_compare_verb import dogs as dogs  # a fixture

import bench as weakloc
from bench.predictions.table import About, write

SHAPES = ("--data", "shapes", "--data-option", "version=3,train=4,val=4,test=4,size=96,classes=3")


@pytest.fixture
def run(here) -> str:
    """The address of the largest proposals of shapes."""
    method = ("--method", "largest-proposal", "--protocol", "voc07-corloc")
    (result,) = here("run", *method, *SHAPES, "--json").json()["results"]
    return str(result["address"])


def test_boxes_are_sorted_with_shares_that_add_up_and_by_parts(here, run: str) -> None:
    (found,) = here("errors", "largest-proposal", "--json").json()["results"]
    kinds = {kind["name"]: kind for kind in found["kinds"]}
    assert found["cost"] is None
    assert sum(kind["value"] for kind in kinds.values()) == pytest.approx(1)
    assert kinds["correct"]["value"] == here("show", "run", run, "--json").json()["metrics"]["CorLoc"]
    for group in found["groups"].values():
        counts = [sum(kind["count"] for kind in part) for part in group.values()]
        assert sum(counts) == sum(kind["count"] for kind in kinds.values())
    text = here("errors", run[:8], "--by", "size")
    assert text.code == 0
    assert "largest-proposal, by size" in text.out
    assert "wrong class" not in text.out


def test_the_site_shows_a_bar_for_each_method_whose_predictions_are_here(
    here, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert here("report", "--out", "site", "--errors").code == 0
    page = (tmp_path / "site" / "protocol" / "voc07-corloc.html").read_text(encoding="utf-8")
    plots = [json.loads(data) for data in re.findall(r'<script type="application/json">(.*?)</script>', page)]
    (bars,) = [plot["bars"] for plot in plots if plot["kind"] == "errors"]
    assert sum(bar["value"] for bar in bars) == pytest.approx(100, abs=0.1)
    assert {bar["name"] for bar in bars} == {"largest-proposal"}
    with monkeypatch.context() as patched:  # they are recalled, not analysed once more
        patched.setattr("bench.analysis.errors.analyse_result", None)
        assert here("report", "--out", "again", "--errors").code == 0
    assert (tmp_path / "again" / "protocol" / "voc07-corloc.html").read_text(encoding="utf-8") == page
    here("report", "--out", "site")
    assert '"kind": "errors"' not in (tmp_path / "site" / "protocol" / "voc07-corloc.html").read_text(encoding="utf-8")


def test_each_kind_is_drawn_with_what_shows_it(here, run: str, tmp_path: Path) -> None:
    answer = here("errors", run, "--images", 1, "--out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert (answer.code, f"Wrote {tmp_path / 'page.html'}" in answer.err) == (0, True)
    (found,) = here("errors", run, "--json").json()["results"]
    for kind in found["kinds"]:
        assert (f"<h2>{kind['name']}</h2>" in page) == (kind["count"] > 0 and kind["name"] != "correct")


def test_detections_of_a_file_have_their_costs_as_verb_and_as_function(here, dogs: Path, tmp_path: Path) -> None:
    boxes = [(0.0, 8.0), (20.0, 28.0)] * (len(IDS) // 2)
    low, high = [pair[0] for pair in boxes], [pair[1] for pair in boxes]
    columns = {"image": IDS, "label": ["dog"] * len(IDS), "score": [0.5] * len(IDS)}
    table = pa.table({**columns, "x1": low, "y1": low, "x2": high, "y2": high})
    write(tmp_path / "mine.parquet", "boxes", table, About("mine", "voc2007", "test", IDS))
    given = ("--predictions", tmp_path / "mine.parquet", "--protocol", "voc07-det", "--data-root", dogs)
    (found,) = here("errors", *given, "--json").json()["results"]
    assert (found["name"], found["cost"]) == ("mine", "mAP_11pt")
    counts = {kind["name"]: kind["count"] for kind in found["kinds"]}
    assert (counts["background"], counts["missed"], counts["localization"]) == (len(IDS) // 2, len(IDS) // 2, 0)
    (same,) = weakloc.analyse_errors(
        predictions=tmp_path / "mine.parquet", protocol="voc07-det", data_root=dogs, runs=tmp_path / "runs"
    )
    assert [(kind.name, kind.value) for kind in same.kinds] == [
        (kind["name"], kind["value"]) for kind in found["kinds"]
    ]
    assert "+" in str(same)
    assert list(same.to_frame().columns) == ["by", "part", "kind", "count", "value", "low", "high"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Give either results"),
        (("x", "--predictions", "y", "--protocol", "det"), "Give either results"),
        (("--predictions", "y"), "--predictions needs --protocol"),
        (("--predictions", "y", "--protocol", "det", "--images", 3), "--images draws results"),
        (("x", "--split", "val"), "--data and --split go with --predictions"),
        (("x",), "Unknown result 'x'"),
    ],
)
def test_what_does_not_fit_together_is_refused(here, arguments: tuple[object, ...], message: str) -> None:
    answer = here("errors", *arguments)
    assert answer.code == 2
    assert message in answer.err


def test_a_protocol_without_boxes_and_a_part_that_there_is_not_are_refused(here, run: str) -> None:
    here("run", "--method", "center", "--protocol", "voc07-point", *SHAPES)
    assert "evaluates no boxes" in here("errors", "center").err
    here("run", "--method", "largest-proposal", "--protocol", "corloc", *SHAPES)
    several = here("errors", "largest-proposal")
    assert (several.code, "largest-proposal has 2 results" in several.err) == (2, True)
    assert here("errors", "largest-proposal", "--protocol", "corloc").code == 0
