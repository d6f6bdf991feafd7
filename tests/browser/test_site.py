"""The site in a real Chromium, of the published results and 1,000 made-up ones: it sorts, filters, searches, and loads
nothing; by keyboard, in the dark, on a phone.

`python tests/browser/test_site.py` takes `docs/leaderboard.png` anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest

from bench import registry
from bench.core.files import Places
from bench.records.collection import StoredResult, list_results
from bench.records.replicates import build_table, replicates_path
from bench.records.result import Result
from bench.site.build import write
from bench.site.paths import method_page

MEASURED = registry.ROOT / "results" / "measured"

pytestmark = pytest.mark.slow

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
EVIL = "<script>alert(1)</script>"
COUNT = 1000
NETS = ("vgg16", "resnet50", "squeezenet")
BOARD = "protocol/voc10-det.html"
PHONE = {"width": 390, "height": 844}


class Site(NamedTuple):
    """Two builds of the same results, and the pages of the published ones, one or more of each kind."""

    root: Path
    again: Path
    pages: tuple[str, ...]


def generated(folder: Path) -> list[StoredResult]:
    """Results of 25 methods with 40 settings each; those of nearly the same number share a rank."""
    bound = registry.bind(registry.protocol("voc10-det"))
    random, known = np.random.default_rng(0), []
    for number in range(COUNT):
        method = EVIL if number % 25 == 0 else f"method-{number % 25}"
        centre = random.uniform(0.2, 0.8) if number else 0.795  # so that the hostile name is among the first
        values = centre + random.normal(0, 0.01, 60)
        mean = float(values.mean())
        result = Result(
            address=f"{number:020d}",
            protocol="voc10-det",
            family=bound.record.family,
            digest="d",
            conventions=bound.conventions.model_dump(mode="json"),
            truth_digest="t",
            ids_digest="i",
            dataset="voc2010",
            split="test",
            images=100,
            partial=False,
            method=method,
            seed=0,
            config={"net": NETS[number % 3], "lr": number},
            predictions=str(number),
            metrics={"mAP_area": mean},
            higher_is_better={"mAP_area": True},
            intervals={"mAP_area": (mean - 0.02, mean + 0.02)},
            per_class={"mAP_area": {"cat": mean, "dog": None}},
            created=f"2026-01-{1 + number % 28:02d}T00:00:00+00:00",
        )
        record = folder / f"{number}.json"
        pq.write_table(build_table({"mAP_area": values}, 100, 0), replicates_path(record))
        known.append(StoredResult(result, record))
    return known


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    published = list_results(Places(folder / "runs"), MEASURED)
    (folder / "records").mkdir()
    known = [*published, *generated(folder / "records")]
    roots = folder / "one", folder / "two"
    for root in roots:
        write(known, root)
    of = [one.result for one in published]
    pages = {f"protocol/{one.protocol}.html" for one in of} | {method_page(one.method) for one in of}
    pages |= {f"run/{one.address}.html" for one in of} | {"index.html", BOARD, "paper/spn-2.html", "paper/melm-3.html"}
    return Site(*roots, tuple(sorted(pages)))


@contextmanager
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])  # CI is root
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    with chromium() as browser:
        yield browser


class Seen(NamedTuple):
    """A page, and what went wrong on it: console errors, exceptions, dialogs, requests that leave it."""

    page: Any
    wrong: list[str]


@pytest.fixture
def opened(browser: Any, site: Site) -> Iterator[Any]:
    """`opened(path, ...)`: a page of the site; nothing may have gone wrong on any when the test ends."""
    contexts, wrong = [], []

    def open_(path: str, **how: Any) -> Any:
        context = browser.new_context(offline=True, **how)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda one: None if one.url.startswith(("file://", "data:")) else wrong.append(one.url))
        page.on("requestfailed", lambda one: wrong.append(one.url))
        page.goto((site.root / path).as_uri())
        return page

    yield open_
    for context in contexts:
        context.close()
    assert wrong == []


def column(page: Any, number: int) -> list[str]:
    """Texts of the shown cells of the leaderboard."""
    rows = page.locator(".board tbody tr:visible")
    return list(rows.evaluate_all(f"rows => rows.map(row => row.cells[{number}].textContent)"))


def test_two_builds_are_the_same_to_the_last_byte(site: Site) -> None:
    one, two = ({path.relative_to(root): path.read_bytes() for path in root.rglob("*.*")} for root in site[:2])
    assert one == two
    assert len(one) > COUNT


def test_no_page_loads_anything_or_has_an_error_or_is_wider_than_a_phone(opened: Any, site: Site) -> None:
    page = opened("index.html", viewport=PHONE)
    for path in site.pages:
        page.goto((site.root / path).as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path


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
    assert page.locator("svg:not([role=img][aria-label])").count() == 0
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
    assert figure.locator("svg").get_attribute("aria-label").startswith("mAP_area of 40 methods")
    page.goto(page.url.replace(BOARD, "index.html"))
    page.locator("figure.plot svg a").first.click()
    assert page.locator("h1").inner_text() != "weakloc"


def test_without_scripts_the_tables_are_all_there(opened: Any) -> None:
    page = opened(BOARD, java_script_enabled=False)
    assert page.locator(".board tbody tr").count() == COUNT
    assert page.locator("figure.plot:visible").count() == 0


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_nothing_scrolls_sideways_once_plots_are_drawn(opened: Any, site: Site, width: int) -> None:
    page = opened("index.html", viewport={"width": width, "height": 900})
    run = "run/6335e8042b5c27534a1e.html"
    for path in ("index.html", "protocol/voc07-corloc.html", "protocol/voc07-point-val.html", "method/cam.html", run):
        page.goto((site.root / path).as_uri())
        for figure in page.locator("figure.plot").all()[:4]:
            figure.scroll_into_view_if_needed()
            figure.locator("svg").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_a_leaderboard_of_a_thousand_rows_answers_within_a_second_of_work(browser: Any, site: Site) -> None:
    """Work, not waiting: what the page's own thread computed, so that a busy machine fails nothing."""
    page = browser.new_page()
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def worked() -> float:
        return {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}["TaskDuration"]

    begin = worked()
    page.goto((site.root / BOARD).as_uri())
    assert page.locator(".board tbody tr").count() == COUNT
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
        for figure in page.locator("figure.plot").all():
            figure.scroll_into_view_if_needed()
            figure.locator("svg").first.wait_for()
        page.evaluate("scrollTo(0, 0)")
        last = page.locator("figure.plot").last.bounding_box()
        clip = {"x": 0, "y": 0, "width": 1100, "height": last["y"] + last["height"] + 16}
        page.screenshot(path=path, full_page=True, clip=clip)


if __name__ == "__main__":
    take_picture(registry.ROOT / "docs" / "leaderboard.png")
