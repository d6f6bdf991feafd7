"""`report --curves` draws results against the number of their protocol, where what they are made of is here."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

SHAPES = ("--data", "shapes", "--data-option", "version=3,train=4,val=4,test=4,size=96,classes=3")
TINY = ("--set", "net=tiny,weights=none,input_size=64,epochs=0")


def read_lines(page: Path) -> list[Any]:
    """The plots of a page against a threshold or tolerance."""
    scripts = re.findall(r'<script type="application/json">(.*?)</script>', page.read_text(encoding="utf-8"))
    return [plot for plot in map(json.loads, scripts) if plot["kind"] == "lines" and plot["mark"] is not None]


@pytest.mark.parametrize(
    ("method", "protocol", "own"),
    [
        ("largest-proposal", "voc07-corloc", 0.5),
        ("largest-proposal", "voc07-det", 0.5),
        ("center", "voc07-point", 15),
        ("cam", "loc", 0.5),
        ("cam", "maxbox", 0.2),
        ("cam", "point-pred", 18),
    ],
)
def test_lines_pass_through_the_recorded_numbers(here, tmp_path: Path, method: str, protocol: str, own: float) -> None:
    settings = TINY if method == "cam" else ()
    (run,) = here("run", "--method", method, "--protocol", protocol, *SHAPES, *settings, "--json").json()["results"]
    assert "note" not in here("report", "--out", "site", "--curves").err
    (alone,) = read_lines(tmp_path / "site" / "run" / f"{run['address']}.html")
    (row,) = read_lines(tmp_path / "site" / "protocol" / f"{protocol}.html")
    assert (alone["mark"], row["mark"]) == (own, own)
    recorded = run["metrics"]
    for line in alone["series"]:
        assert dict(line["points"])[own] == pytest.approx(100 * recorded[line["name"]], abs=1e-4)
    (line,) = row["series"]
    metric = row["y"].partition(",")[0]
    assert dict(line["points"])[own] == pytest.approx(100 * recorded[metric], abs=1e-4)


@pytest.fixture
def runs(here) -> list[str]:
    """The addresses of two results of boxes."""
    methods = ("--method", "largest-proposal,best-proposal", "--protocol", "voc07-corloc")
    return [one["address"] for one in here("run", *methods, *SHAPES, "--json").json()["results"]]


def test_curves_are_kept_by_what_they_are_made_of(
    here, runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here("report", "--out", "site", "--curves")
    page = tmp_path / "site" / "protocol" / "voc07-corloc.html"
    first, before = page.read_text(encoding="utf-8"), page.stat().st_ino
    (plot,) = read_lines(page)
    assert {line["name"] for line in plot["series"]} == {"largest-proposal", "best-proposal"}
    assert "<code>python -m bench report --out site --curves</code>" not in first
    monkeypatch.setattr("bench.analysis.curves.evaluate_predictions", None)
    assert "note" not in here("report", "--out", "site", "--curves").err
    assert (page.read_text(encoding="utf-8"), page.stat().st_ino) == (first, before)  # linked, not made again
    here("report", "--out", "site")
    assert read_lines(page) == []


def test_a_table_says_what_the_lines_say(here, runs: list[str], tmp_path: Path) -> None:
    here("report", "--out", "site", "--curves")
    page = tmp_path / "site" / "run" / f"{runs[0]}.html"
    (plot,) = read_lines(page)
    text = page.read_text(encoding="utf-8")
    (table,) = re.findall(r"<table>(?:(?!</table>).)*IoU threshold(?:(?!</table>).)*</table>", text, re.DOTALL)
    rows = [re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)]
    points = [[f"{x:g}", f"{y:.1f}"] for x, y in plot["series"][0]["points"]]
    assert rows[-len(points) :] == points


def test_where_predictions_are_not_the_page_says_how_to_get_them(here, runs: list[str], tmp_path: Path) -> None:
    gone, kept = runs
    address = here("show", "run", gone, "--json").json()["predictions"]
    (folder,) = (tmp_path / "runs").rglob(address)
    folder.rename(tmp_path / "elsewhere")
    assert "note" not in here("report", "--out", "site", "--curves").err
    (plot,) = read_lines(tmp_path / "site" / "protocol" / "voc07-corloc.html")
    assert len(plot["series"]) == 1
    text = (tmp_path / "site" / "protocol" / "voc07-corloc.html").read_text(encoding="utf-8")
    assert "CorLoc against the IoU threshold; 1 of 2 rows" in text
    assert "<code>python -m bench report --out site --curves</code> draws against the IoU threshold the methods" in text
    for one, is_here in ((gone, False), (kept, True)):
        page = tmp_path / "site" / "run" / f"{one}.html"
        assert (len(read_lines(page)) == 1) == is_here
        assert ("draws this on a machine that has the run's predictions" in page.read_text()) != is_here


def test_what_cannot_be_evaluated_is_left_out_with_a_note(here, runs: list[str], tmp_path: Path) -> None:
    for path in (tmp_path / "runs" / "predictions").rglob("boxes.parquet"):
        path.write_bytes(b"PAR1")
    answer = here("report", "--out", "site", "--curves", "--errors")
    assert answer.code == 0
    assert [answer.err.count(f"note: no {what} of result ") for what in ("curves", "errors")] == [2, 2]
    assert read_lines(tmp_path / "site" / "protocol" / "voc07-corloc.html") == []
