"""The page that compares runs, in a real Chromium: chosen by clicking, the numbers of `compare`, all text as text."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser_cases import EVIL, MEASURED, draw_plots
from test_accessibility import OPTIONS

from bench.analysis.compare import Comparison, compare, describe_verdict
from bench.records.collection import StoredResult, read_each
from bench.records.replicates import replicates_path
from bench.records.result import Result
from bench.site.build import write
from bench.site.data import make_data_file
from bench.site.paths import data_file
from bench.tables.numbers import bounds, format_difference, percent
from bench.tracks.track import read_track

pytestmark = pytest.mark.slow

PROTOCOL = "voc07-corloc"


@pytest.fixture(scope="module")
def known() -> list[StoredResult]:
    """Three published seeds of each of three methods in a track, one of another protocol."""
    names = [f"{PROTOCOL}.wsddn", f"{PROTOCOL}.oicr", "voc07-cls-val.lse"]
    known = read_each(sorted(path for name in names for path in MEASURED.glob(f"{name}.*.json")))
    includes = read_track("voc07-laptop").includes
    return [one for one in known if includes(one.result)]


@pytest.fixture(scope="module")
def root(known: list[StoredResult], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their site, with a result whose every text is an attack."""
    folder = tmp_path_factory.mktemp("compared")
    record = json.loads(known[-1].record.read_bytes())
    hostile = {"address": EVIL, "method": EVIL, "variant": EVIL, "seed": 9, "config": {EVIL: EVIL}}
    hostile["per_class"] = {
        name: {f"{EVIL}{key}": value for key, value in values.items()} for name, values in record["per_class"].items()
    }
    fields = {name: value for name, value in record.items() if name in Result.model_fields}
    shutil.copy(replicates_path(known[-1].record), folder / "0.replicates.parquet")
    odd = StoredResult(Result(**{**fields, **hostile, "class_intervals": {}}), folder / "0.json")
    write([*known, odd], folder / "site")
    return folder / "site"


def select(known: list[StoredResult], method: str) -> list[StoredResult]:
    sides = [one for one in known if (one.result.method, one.result.protocol) == (method, PROTOCOL)]
    return sorted(sides, key=lambda one: one.result.seed or 0)


def name_sides(*sides: list[StoredResult]) -> str:
    return "&".join(
        f"{letter}={','.join(one.result.address for one in side)}"
        for letter, side in zip("abcdef", sides, strict=False)
    )


def read_rows(page: Any, caption: str) -> list[list[str]]:
    table = page.locator("table", has=page.locator("caption", has_text=caption)).first
    table.wait_for()
    return list(
        table.locator("tbody tr").evaluate_all("rows => rows.map(row => [...row.cells].map(cell => cell.textContent))")
    )


def check(page: Any, found: Comparison) -> None:
    """Hold a page against `compare`: the metrics to the last digit, classes but for fewer draws."""
    page.locator(".verdict", has_text=f"Verdict: {describe_verdict(found)}.").wait_for()
    line = found.metrics["CorLoc"]
    expected = [percent(line.a), percent(line.b), format_difference(line.difference), bounds(line.interval)]
    a = found.a[0]
    title = f"{PROTOCOL} on voc2007 {a.split}, {a.images} images, per cent"
    assert read_rows(page, title) == [["CorLoc", *expected, f"{line.p:.3f}"]]
    rows = read_rows(page, "CorLoc by class")
    assert [row[:4] for row in rows] == [
        [name, percent(one.a), percent(one.b), format_difference(one.difference)]
        for name, one in found.per_class["CorLoc"].items()
    ]
    for row, one in zip(rows, found.per_class["CorLoc"].values(), strict=True):
        assert one.interval is not None
        low, high = (float(text) / 100 for text in row[4].strip("[]").split(", "))
        assert (
            max(abs(low - one.interval[0]), abs(high - one.interval[1]))
            < 0.2 * (one.interval[1] - one.interval[0]) + 0.001
        )


def test_two_runs_and_two_means_over_seeds_are_compared_as_compare_does(
    visit: Any, root: Path, known: list[StoredResult]
) -> None:
    ours, theirs = select(known, "oicr"), select(known, "wsddn")
    page = visit(root / "compare.html")
    for a, b in (([ours[0]], [theirs[1]]), (ours, theirs)):
        page.goto(f"{(root / 'compare.html').as_uri()}#{name_sides(a, b)}")
        check(page, compare(a, b, per_class=True))
        figure = page.locator("figure.plot").first
        figure.scroll_into_view_if_needed()
        figure.locator("svg").wait_for()
        assert figure.locator("svg").get_attribute("aria-label").startswith("Differences in CorLoc of 20 classes")
    assert "lr" in [row[0] for row in read_rows(page, "Settings in which they differ")]
    assert "seconds of training" in [row[0] for row in read_rows(page, "Time and size")]


def test_rows_of_a_leaderboard_are_chosen_by_clicking(visit: Any, root: Path, known: list[StoredResult]) -> None:
    page = visit(root / "protocol" / f"{PROTOCOL}.html")
    bar = page.get_by_role("complementary", name="Chosen runs")
    page.locator(".board").get_by_label("Choose oicr").check()
    assert bar.inner_text().startswith("A oicr")
    assert bar.get_by_role("link").count() == 0
    page.locator(".board").get_by_label("Choose wsddn").check()
    page.reload()  # the address says what was chosen
    bar.get_by_role("link", name="Compare 2 chosen").click()
    check(page, compare(select(known, "oicr"), select(known, "wsddn"), per_class=True))
    selects = page.locator("#picker select")
    assert [select.input_value().count(",") for select in selects.all()] == [0, 2, 2]
    selects.nth(2).select_option(label=selects.nth(2).locator("option", has_text="wsddn").nth(1).inner_text())
    page.locator(".verdict", has_text="(p =").wait_for()
    assert page.url.partition("&b=")[2].count(",") == 0


def test_what_was_evaluated_otherwise_is_not_compared(visit: Any, root: Path, known: list[StoredResult]) -> None:
    page = visit(root / "compare.html")
    other = [one for one in known if one.result.protocol != PROTOCOL][:1]
    page.goto(f"{page.url}#{name_sides(select(known, 'oicr'), other)}")
    said = page.locator(".verdict")
    said.wait_for()
    assert "and is not compared: protocol voc07-cls-val, not voc07-corloc; other images: " in said.inner_text()
    assert page.locator("#comparison table").count() == 0


@pytest.mark.parametrize("other", ["oicr", "wsddn"])
def test_what_is_no_mean_over_seeds_is_not_averaged(
    visit: Any, root: Path, known: list[StoredResult], other: str
) -> None:
    one, oicr = select(known, "wsddn")[0], select(known, "oicr")
    page = visit(root / "compare.html")
    page.goto(f"{page.url}#{name_sides([one, select(known, other)[0]], [oicr[1]])}")
    page.locator(".verdict", has_text="A is not one method under one protocol with several seeds").wait_for()
    assert page.locator("#comparison *").count() == 0


@pytest.mark.parametrize("name", ["compare", "nosuch", "../../x", "a" * 5000])
def test_an_unknown_result_is_said_and_nothing_is_loaded(
    visit: Any, root: Path, known: list[StoredResult], name: str
) -> None:
    page = visit(root / "compare.html")
    page.goto(f"{page.url}#a={name}&b={select(known, 'oicr')[0].result.address}")
    page.locator(".verdict", has_text=f"There is no result {name[:40]}").wait_for()


def test_a_site_without_results_says_so(visit: Any, tmp_path: Path) -> None:
    write([], tmp_path / "site")
    page = visit(tmp_path / "site" / "compare.html")
    page.locator("#picker", has_text="There are no results yet.").wait_for()


def test_images_on_which_runs_differ_are_counted_and_narrowed_to_a_class(
    visit: Any, root: Path, known: list[StoredResult]
) -> None:
    page = visit(root / "compare.html")
    page.goto(f"{page.url}#{name_sides(select(known, 'oicr')[:1], select(known, 'wsddn')[:1])}")
    page.locator("#images").wait_for()
    rows = read_rows(page, "A better than B")
    assert len(rows) == 10
    assert all(row[3].startswith("+") for row in rows)
    page.get_by_label("class", exact=True).select_option("person")
    assert all(row[1:] == ["100.0", "0.0", "+100.0"] for row in read_rows(page, "A better than B"))


def test_images_of_a_ranking_differ_by_their_average_precision(
    visit: Any, root: Path, known: list[StoredResult]
) -> None:
    page = visit(root / "compare.html")
    one, other = [each for each in known if each.result.protocol != PROTOCOL][:2]
    page.goto(f"{page.url}#{name_sides([one], [other])}")
    page.locator("p", has_text="Each class that the image shows counts with the precision").wait_for()
    differences = [float(row[3]) for row in read_rows(page, "A better than B")]
    assert len(differences) == 10
    assert differences == sorted(differences, reverse=True)
    assert differences[-1] > 0


def add_pictures(root: Path, known: list[StoredResult]) -> None:
    """Give images of a split pages and pictures, as `bench.site.images` does."""
    addresses, rows = [one.result.address for one in known], range(60)
    for address in addresses:
        path = root / data_file(address)
        path.write_text(path.read_text().replace('"pages":null', '"pages":"images/a.js"'))
    (root / "images").mkdir()
    files = [f"images/{row}.js" for row in rows]
    split = {"rows": [*rows], "pages": ["index.html" for _ in rows], "images": files, "walks": {}}
    (root / "images" / "a.js").write_text(make_data_file("images/a.js", split))
    said = {address: {"value": 1.0, "hits": {"0": True}, "boxes": [[0, 5, 5, 60, 60]]} for address in addresses}
    image = {"id": EVIL, "page": "index.html", "picture": "", "width": 100, "height": 80, "classes": [EVIL]}
    for file in files:
        data = {**image, "truth": [[0, False, 0, 0, 50, 50]], "layers": {}, "runs": said}
        (root / file).write_text(make_data_file(file, data))


def test_images_with_pictures_stand_beside_the_truth(
    visit: Any, root: Path, known: list[StoredResult], tmp_path: Path
) -> None:
    shutil.copytree(root, site := tmp_path / "site")
    ours, theirs = select(known, "oicr"), select(known, "wsddn")
    add_pictures(site, [ours[0]])
    page = visit(site / "compare.html")
    page.goto(f"{page.url}#{name_sides(ours, theirs)}")
    article = page.locator("article").first
    article.locator("svg").nth(1).wait_for()
    assert article.get_by_role("heading").inner_text() == EVIL
    captions = article.locator("figcaption").all_inner_texts()
    assert [caption.partition(";")[0] for caption in captions] == [
        "truth",
        "A: oicr:paper, seed 0",
        "B: wsddn:paper, seed 0",
    ]
    assert article.locator("svg").nth(1).get_attribute("aria-label").endswith(f"{EVIL} hit")
    assert "Its predictions are not on this site." in article.inner_text()
    shown = f"#runs={ours[0].result.address}%2C{theirs[0].result.address}&walk="
    assert shown in article.get_by_role("link").get_attribute("href")


def test_hostile_text_is_text(visit: Any, root: Path, known: list[StoredResult]) -> None:
    page = visit(root / "compare.html")
    evil = "%3Cscript%3Ealert(1)%3C%2Fscript%3E"
    for other in (known[-1].result.address, evil):
        page.goto(f"{(root / 'compare.html').as_uri()}#a={evil}&b={other}")
        page.locator(".verdict", has_text="(p =").wait_for()
        page.locator("li", has_text=other if other != evil else f"B: {EVIL}").first.wait_for()
        assert EVIL in page.locator("#comparison").inner_text()
        assert page.locator("#comparison script:not([type='application/json']), #picker script").count() == 0
    assert read_rows(page, "CorLoc by class")[0][0].startswith(EVIL)


def test_without_scripts_it_says_what_says_the_same(visit: Any, root: Path) -> None:
    page = visit(root / "compare.html", java_script_enabled=False)
    assert "python -m bench compare A B --per-class" in page.locator("main").inner_text()


@pytest.mark.parametrize("width", [360, 1440])
def test_it_does_not_scroll_sideways(visit: Any, root: Path, known: list[StoredResult], width: int) -> None:
    page = visit(root / "compare.html", viewport={"width": width, "height": 800})
    page.goto(f"{page.url}#{name_sides(select(known, 'oicr'), select(known, 'wsddn'), select(known, 'wsddn')[:1])}")
    figure = page.locator("figure.plot").first
    figure.scroll_into_view_if_needed()
    figure.locator("svg").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(visit: Any, root: Path, known: list[StoredResult], scheme: str) -> None:
    page = visit(root / "compare.html", color_scheme=scheme)
    page.goto(f"{page.url}#{name_sides(select(known, 'oicr'), select(known, 'wsddn'), select(known, 'wsddn')[:1])}")
    page.locator("#images").wait_for()
    draw_plots(page)
    found = Axe().run(page, options=OPTIONS).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found] == []
