"""The page of a protocol: its address keeps what is asked of it, and its tables and plots can be saved."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from browser_cases import BOARD, COUNT, Site

pytestmark = pytest.mark.slow

FIRST = ".board tbody tr:visible >> nth=0"


def test_the_address_keeps_what_is_asked_and_restores_it(opened: Any) -> None:
    page = opened(BOARD)
    page.get_by_label("net", exact=True).select_option("vgg16")
    page.get_by_role("searchbox").fill("method-7 [")
    page.locator(".board thead th", has_text="mAP_area").get_by_role("button").click()
    page.locator(".board thead th", has_text="mAP_area").get_by_role("button").click()
    page.get_by_role("link", name="Skip to the content").press("Enter")  # goes to a place, which the address names then
    page.get_by_role("searchbox").fill("method-7")
    first, count = page.locator(FIRST).inner_text(), page.locator(".board tbody tr:visible").count()
    assert 0 < count < COUNT // 3
    link = page.url
    assert link.rpartition("#")[2] == "1.net=vgg16&search=method-7&1.sort=mAP_area"
    for again in (page.reload, lambda: page.goto("about:blank") or page.goto(link)):
        again()
        assert page.locator(FIRST).inner_text() == first
        assert page.locator(".board tbody tr:visible").count() == count
        assert page.get_by_label("net", exact=True).input_value() == "=vgg16"
        assert page.get_by_role("searchbox").input_value() == "method-7"
    page.get_by_role("searchbox").fill("")
    page.get_by_label("net", exact=True).select_option("all")
    assert page.url.rpartition("#")[2] == "1.sort=mAP_area"
    assert page.locator(".board tbody tr:visible").count() == COUNT


def test_the_table_lies_beside_the_page_for_programs_and_papers(opened: Any, site: Site) -> None:
    page = opened(BOARD, java_script_enabled=False)
    links = page.locator(".downloads a").evaluate_all("links => links.map(link => [link.textContent, link.href])")
    files = {name: (site.root / "protocol" / Path(link).name).read_text() for name, link in links}
    rows, described = list(csv.DictReader(files["CSV"].splitlines())), json.loads(files["JSON"])["rows"]
    assert len(rows) == len(described) == COUNT
    assert [float(row["mAP_area"]) for row in rows] == [row["values"]["mAP_area"] for row in described]
    assert files["LaTeX"].count(r" \\") == COUNT + 1


def test_plots_are_saved_as_pictures_that_need_nothing_else(opened: Any, site: Site, tmp_path: Path) -> None:
    page = opened(BOARD, accept_downloads=True, color_scheme="dark")
    figures = page.locator("figure.plot").all()
    kinds = {json.loads(figure.locator("script").text_content() or "")["kind"]: figure for figure in figures}
    assert 1 < len(kinds) <= 5  # Chromium asks before an eleventh file
    for figure in kinds.values():
        figure.scroll_into_view_if_needed()
        for name in ("SVG", "PNG"):
            with page.expect_download() as waits:
                figure.get_by_role("button", name=f"Save as {name}").click()
            waits.value.save_as(tmp_path / f"plot.{name.lower()}")
        picture = (tmp_path / "plot.svg").read_text()
        assert "var(" not in picture
        assert "<a" not in picture
        assert 'fill="#ffffff"' in picture
        assert (tmp_path / "plot.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    alone = page.context.new_page()
    alone.goto((tmp_path / "plot.svg").as_uri())
    assert alone.evaluate("document.documentElement.tagName") == "svg"
    assert alone.locator("script").count() == 0
