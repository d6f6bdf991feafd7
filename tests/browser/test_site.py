"""The site in a real Chromium, of the published results and 300 made-up ones: it sorts, filters, searches, and loads
nothing; by keyboard, in the dark, on a phone.

`python tests/browser/test_site.py` takes `docs/leaderboard.png` anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from browser_cases import BOARD, COUNT, EVIL, KINDS, MEASURED, PHONE, Site, chromium, draw_plots

from bench import registry
from bench.core.files import Places
from bench.records.collection import list_results
from bench.site.build import write

pytestmark = pytest.mark.slow

PAPER = {"width": 703, "height": 1000}
"""A4 between its margins."""


def column(page: Any, number: int) -> list[str]:
    """Texts of the shown cells of the leaderboard."""
    rows = page.locator(".board tbody tr:visible")
    return list(rows.evaluate_all(f"rows => rows.map(row => row.cells[{number}].textContent.trim())"))


def test_two_builds_are_the_same_to_the_last_byte(site: Site) -> None:
    one, two = ({path.relative_to(root): path.read_bytes() for path in root.rglob("*.*")} for root in site[:2])
    assert one == two
    assert len(one) > COUNT


def test_no_page_loads_anything_or_has_an_error_or_is_wider_than_a_phone(opened: Any, site: Site) -> None:
    page = opened("index.html", viewport=PHONE)
    for path in site.pages:
        page.goto((site.root / path).as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path


def test_what_is_printed_is_light_and_has_whole_tables_and_no_controls(opened: Any) -> None:
    page = opened("protocol/voc07-corloc.html", color_scheme="dark", viewport=PAPER)
    draw_plots(page)
    page.emulate_media(media="print")
    assert page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("document.documentElement.scrollWidth") <= PAPER["width"]
    assert page.locator(".board").evaluate("box => box.scrollWidth <= box.clientWidth")
    assert page.locator(".board thead th").evaluate_all("heads => heads.every(head => head.innerText)")
    for control in ("header", ".save", ".filters", ".downloads", "input", "select"):
        assert page.locator(control).locator("visible=true").count() == 0, control


def test_a_leaderboard_is_sorted_by_its_heads_and_ranks_are_shared(opened: Any) -> None:
    page = opened(BOARD)
    ranks = column(page, 1)
    order = [(int(rank), -float(text.split()[0])) for rank, text in zip(ranks, column(page, 2), strict=True)]
    assert (len(order), order) == (COUNT, sorted(order))  # by rank, then by the number
    assert ranks[:3] == ["1", "1", "1"]
    assert len(set(ranks)) < COUNT
    head = page.locator(".board thead th", has_text="mAP_area")
    for direction, falling in (("descending", True), ("ascending", False)):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == direction
        numbers = [float(text.split()[0]) for text in column(page, 2)]
        assert numbers == sorted(numbers, reverse=falling)


def test_a_leaderboard_is_filtered_and_searched(opened: Any) -> None:
    page = opened(BOARD)
    page.get_by_label("net", exact=True).select_option("vgg16")
    shown = sum(number % 3 == 0 for number in range(COUNT))
    assert page.locator(".board tbody tr:visible").count() == shown
    page.get_by_role("searchbox").fill("method-7 [")
    both = sum(number % 3 == 0 and number % 25 == 7 for number in range(COUNT))
    assert [name.startswith("method-7 [") for name in column(page, 0)] == [True] * both
    rows = page.locator("main tbody tr, main li")
    visible = rows.locator("visible=true").count()
    assert page.get_by_role("status").inner_text() == f"{visible} of {rows.count()} rows"
    page.get_by_role("searchbox").fill("")
    page.get_by_label("net", exact=True).select_option("all")
    assert page.locator(".board tbody tr:visible").count() == COUNT


def test_everything_works_by_keyboard(opened: Any) -> None:
    page = opened(BOARD)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("/")
    page.keyboard.type("method-7 [")
    assert page.locator(".board tbody tr:visible").count() == COUNT // 25
    while page.evaluate("document.activeElement.textContent") != "mAP_area":
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement !== document.body")
    page.keyboard.press("Enter")
    page.keyboard.press("Space")
    assert page.locator("[aria-sort]").get_attribute("aria-sort") == "ascending"


def test_a_reader_of_the_screen_finds_its_way(opened: Any, site: Site) -> None:
    page = opened(next(page for page in site.pages if page.startswith("run/")))
    for role in ("banner", "navigation", "search", "main", "contentinfo"):
        assert page.get_by_role(role).count() == 1, role
    assert page.locator("table:not(:has(caption))").count() == 0
    assert page.locator("svg:not([role][aria-label])").count() == 0
    assert page.locator("h1").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_light_or_dark_and_legible_in_both(opened: Any, scheme: str) -> None:
    page = opened("index.html", color_scheme=scheme)

    def luminance(selector: str, name: str) -> float:
        """As WCAG 2 has it."""
        style = page.locator(selector).first.evaluate(f"element => getComputedStyle(element).{name}")
        parts = [int(part) / 255 for part in style[4:-1].split(",")[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    ground = luminance("body", "backgroundColor")
    assert (ground > 0.5) == (scheme == "light")
    for selector in ("body", "main a", "footer"):
        low, high = sorted([ground, luminance(selector, "color")])
        assert (high + 0.05) / (low + 0.05) > 4.5, selector


def test_a_method_that_is_called_a_script_is_text(opened: Any) -> None:
    page = opened(BOARD)
    page.locator(".board").get_by_role("link", name=EVIL).first.click()
    assert page.locator("h1").inner_text() == EVIL
    assert page.locator("script:not([src]):not([type='application/json'])").count() == 0


def test_plots_are_drawn_with_names_and_links_and_what_is_hostile_is_text_in_them(opened: Any) -> None:
    page = opened(BOARD)
    figure = page.locator("figure.plot").first
    figure.locator("svg").first.wait_for()
    names = figure.locator("svg a text").all_text_contents()
    assert any(name.startswith("<script>") for name in names)
    assert len(names) == 40
    assert figure.locator("svg").get_attribute("aria-label").startswith("mAP_area of 40 rows")
    page.goto(page.url.replace(BOARD, "index.html"))
    page.locator("figure.plot svg a").first.click()
    assert page.locator("h1").inner_text() != "weakloc"


def test_on_a_phone_names_stand_above_their_dots(opened: Any) -> None:
    page = opened(BOARD, viewport=PHONE)
    figure = page.locator("figure.plot").first
    figure.scroll_into_view_if_needed()
    figure.locator("svg").first.wait_for()
    names = figure.locator("svg a text")
    assert 15 < max(map(len, names.all_text_contents())) <= 40
    assert {*names.evaluate_all("all => all.map(one => getComputedStyle(one).fontSize)")} == {"14px"}
    ends = names.evaluate_all("all => all.map(one => one.getBoundingClientRect().bottom)")
    dots = figure.locator("svg a circle").evaluate_all("all => all.map(one => one.getBoundingClientRect().top)")
    assert all(end <= dot < end + 12 for end, dot in zip(sorted(ends), sorted(dots), strict=True))


def test_without_scripts_the_tables_are_all_there(opened: Any) -> None:
    page = opened(BOARD, java_script_enabled=False)
    assert page.locator(".board tbody tr").count() == COUNT
    assert page.locator("figure.plot:visible").count() == 0


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_nothing_scrolls_sideways_once_plots_are_drawn(opened: Any, site: Site, width: int) -> None:
    page = opened("index.html", viewport={"width": width, "height": 900})
    for path in KINDS:
        page.goto((site.root / path).as_uri())
        draw_plots(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_on_a_phone_a_long_name_leaves_room_for_its_numbers(opened: Any, site: Site) -> None:
    page = opened("index.html", viewport={"width": 360, "height": 740})
    for path in KINDS:
        page.goto((site.root / path).as_uri())
        widths = page.locator('tr:has(td) > th[scope="row"]:visible').evaluate_all(
            "all => all.map(th => th.offsetWidth)"
        )
        assert max(widths, default=0) <= 0.55 * 360 + 1, path


@pytest.fixture
def large(site: Site) -> Iterator[Path]:
    """The board's page with each of its rows four times, so that they are more than 1,000."""
    text = (site.root / BOARD).read_text()
    before, rows, after = re.split(r"(<tbody>.*?</tbody>)", text, maxsplit=1, flags=re.DOTALL)
    page = site.root / "protocol" / "large.html"
    page.write_text(before + 4 * rows + after)
    yield page
    page.unlink()


def test_a_leaderboard_of_a_thousand_rows_answers_within_a_second_of_work(browser: Any, large: Path) -> None:
    """Work, not waiting: what the page's own thread computed, so that a busy machine fails nothing."""
    page = browser.new_page()
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def worked() -> float:
        return {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}["TaskDuration"]

    begin = worked()
    page.goto(large.as_uri())
    assert page.locator(".board tbody tr").count() == 4 * COUNT
    assert worked() - begin < 1
    for step in (
        lambda: page.locator(".board thead th button").nth(2).click(),
        lambda: page.get_by_role("searchbox").fill("method-7"),
    ):
        begin = worked()
        step()
        assert worked() - begin < 1
    page.context.close()


def take_picture(path: Path) -> None:
    """The first page of what is published, down to the second leaderboard."""
    with TemporaryDirectory() as folder, chromium() as browser:
        write(list_results(Places(Path(folder) / "runs"), MEASURED), Path(folder) / "site")
        page = browser.new_page(viewport={"width": 1100, "height": 600}, device_scale_factor=1.5)
        page.goto((Path(folder) / "site" / "index.html").as_uri())
        draw_plots(page)
        page.evaluate("scrollTo(0, 0)")
        last = page.locator("figure.plot").nth(1).bounding_box()
        clip = {"x": 0, "y": 0, "width": 1100, "height": last["y"] + last["height"] + 16}
        page.screenshot(path=path, full_page=True, clip=clip)


if __name__ == "__main__":
    take_picture(registry.ROOT / "docs" / "leaderboard.png")
