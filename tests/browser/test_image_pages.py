"""Pages of images in a real Chromium: walked by keyboard, what runs said drawn, all text as text, on a phone too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from image_cases import EVIL, make_split, store_results
from test_accessibility import OPTIONS

from bench.site.build import write
from bench.site.images import SplitPages, make_split_pages

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> SplitPages:
    folder = tmp_path_factory.mktemp("images")
    return make_split_pages([make_split(folder / "photographs")], folder / "cache")[0]


@pytest.fixture(scope="module")
def root(pages: SplitPages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    write(store_results(pages.split, folder / "records"), folder / "out", [pages])
    return folder / "out"


def name_shown(page: Any) -> str:
    return str(page.locator("h1").inner_text())


def test_the_arrows_walk_in_the_order_of_the_address(visit: Any, root: Path, pages: SplitPages) -> None:
    page = visit(root / pages.find_page("objects"))
    page.locator(".thumbnails a").first.click()
    names = [pages.split.truth.ids[pages.split.rows[place]] for place in pages.walks["objects"].images]
    for at, name in enumerate(names):
        page.locator(".place", has_text=f"{at + 1} of 6").wait_for()
        assert name_shown(page) == name
        assert page.locator(".list").inner_text() == "most objects first"
        assert page.locator("[rel=next]").is_visible() == (at < 5)
        page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.locator(".place", has_text="5 of 6").wait_for()
    assert page.url.endswith("#walk=objects")
    page.locator(".list").click()
    assert name_shown(page).endswith("most objects first")


def test_the_arrows_walk_along_the_list_of_a_comparison_and_back_to_it(visit: Any, root: Path) -> None:
    page = visit(root / "compare.html")
    page.goto(f"{(root / 'compare.html').as_uri()}#a=late&b=elsewhere")
    listed = page.locator("section", has=page.get_by_role("heading", name="B better than A"))
    listed.locator("table a", has_text="0001").click()
    page.locator(".place", has_text="2 of 3").wait_for()
    page.keyboard.press("ArrowLeft")
    for at, name in enumerate((EVIL, "0001", "0002")):  # of the hardest, 0001 is the first and this the third
        page.locator(".place", has_text=f"{at + 1} of 3").wait_for()
        assert name_shown(page) == name
        assert page.locator(".cards li:visible").count() == 2
        page.keyboard.press("ArrowRight")
    assert not page.locator("[rel=next]").is_visible()
    page.get_by_role("link", name="comparison").click()
    listed.wait_for()
    assert page.url.endswith("#a=late&b=elsewhere")


@pytest.mark.parametrize("walk", ["constructor", "__proto__", "toString", "9.x.-1.1e0", "5.4", "", "%3Cscript%3E"])
def test_a_walk_that_there_is_not_is_hardest_first(visit: Any, root: Path, pages: SplitPages, walk: str) -> None:
    page = visit(root / str(pages.find_image(0)))
    page.goto(f"{page.url}#walk={walk}&runs=constructor&back=javascript:alert(1)")
    page.locator(".place", has_text="3 of 6").wait_for()
    assert page.locator(".list").inner_text() == "hardest first"
    assert page.locator(".cards li:visible").count() == 3


def test_runs_are_drawn_and_the_address_says_which(visit: Any, root: Path, pages: SplitPages) -> None:
    path = root / str(pages.find_image(4))
    page = visit(path)
    cards = page.locator(".cards li")
    page.locator(".cards svg").first.wait_for()
    assert cards.count() == 3
    assert page.locator(".cards svg circle").count() == 2 * 2 * 2  # two runs, two classes, the photograph and a map
    assert page.locator(".cards li", has_text="elsewhere").locator("svg").count() == 0
    late = page.locator('[data-run="late"]')
    first = late.locator("svg circle").first
    assert [float(first.get_attribute(name)) for name in ("cx", "cy", "r")] == [1.5, 21, 80 / 50]  # as in the strip
    assert late.locator("svg.photo").first.get_attribute("aria-label") == f"late: cat hit, {EVIL} hit"
    assert late.locator("svg.photo svg.masks").count() == 1
    page.goto(f"{path.as_uri()}#runs=late&walk=size")
    page.locator(".all a").wait_for()
    assert [one.get_attribute("data-run") for one in cards.all() if one.is_visible()] == ["late"]
    page.keyboard.press("ArrowLeft")
    page.locator(".place", has_text="4 of 6").wait_for()
    assert page.url.endswith("#runs=late&walk=size")
    page.locator(".all a").click()
    assert page.locator(".cards li:visible").count() == 3
    assert page.url.endswith("#walk=size")


def test_pages_fit_a_phone_and_load_only_what_is_there(visit: Any, root: Path, pages: SplitPages) -> None:
    phone = {"width": 360, "height": 740}
    for path in (pages.find_page("hardest"), pages.find_image(0), pages.find_image(5)):
        page = visit(root / str(path), viewport=phone)
        for photo in page.locator("svg.photo").all():
            photo.scroll_into_view_if_needed()
        assert page.evaluate("document.documentElement.scrollWidth") <= phone["width"], path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(visit: Any, root: Path, pages: SplitPages, scheme: str) -> None:
    for path in (pages.find_page("hardest"), pages.find_image(1)):
        page = visit(root / str(path), color_scheme=scheme)
        page.locator("svg, img").first.wait_for()
        found = Axe().run(page, options=OPTIONS).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found] == [], path


def test_without_scripts_the_links_and_verdicts_are_there(visit: Any, root: Path, pages: SplitPages) -> None:
    page = visit(root / str(pages.find_image(0)), java_script_enabled=False)
    assert page.locator("figure.truth rect.true").count() == 2
    assert page.locator('[data-run="late"]').inner_text() == f"late cat miss, {EVIL} miss"
    page.locator("[rel=next]").click()
    assert page.locator(".place").inner_text() == "4 of 6"
    page.locator(".list").click()
    assert page.locator(".thumbnails img[loading=lazy]").count() == 5
