"""The static site: every page is there, every link leads somewhere, nothing comes from elsewhere or is markup."""

from __future__ import annotations

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from record_cases import RECORD

from bench import registry
from bench.errors import RequestError
from bench.records.collection import StoredResult
from bench.records.replicates import build_table, replicates_path
from bench.records.result import Result, write_result
from bench.site.build import make_pages, write
from bench.site.folder import SiteFile, read_earlier, write_folder
from bench.site.index import describe_leader
from bench.site.material import HERE
from bench.site.paths import method_page, run_page
from bench.site.plots import find_role, plot_numbers
from bench.tables.model import Cell, Row, Table

EVIL = '<script>alert("x")</script>&../..'


def made(folder: Path, address: str, method: str = "center", **more: Any) -> StoredResult:
    bound = registry.bind(registry.protocol("voc07-point"))
    fields: dict[str, Any] = {
        **RECORD,
        "created": "2025-01-01",
        "address": address,
        "protocol": "voc07-point",
        "family": bound.record.family,
        "conventions": bound.conventions.model_dump(mode="json"),
        "method": method,
        "predictions": address,
        "metrics": {"accuracy": 0.6963},
        "higher_is_better": {"accuracy": True},
        "per_class": {"accuracy": {"cat": 0.6963, "dog": None}},
    }
    one = StoredResult(Result(**{**fields, **more}), folder / f"{len(list(folder.glob('*')))}.json")
    write_result(one.record, one.result)
    return one


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> list[StoredResult]:
    """A usual result, one on generated data, and one whose every text is an attack."""
    folder = tmp_path_factory.mktemp("results")
    odd = {"variant": EVIL, "split": EVIL, "notes": (EVIL,), "config": {"net": EVIL}, "partial": True}
    return [
        made(folder, "a" * 20, intervals={"accuracy": (0.68, 0.71)}),
        made(folder, "b" * 20, dataset="shapes"),
        made(folder, EVIL, method=EVIL, **odd),
    ]


@pytest.fixture(scope="module")
def files(known: list[StoredResult]) -> dict[str, str]:
    """The files of the site of these results."""
    return make_pages(known)


@pytest.fixture(scope="module")
def found(files: dict[str, str]) -> dict[str, str]:
    """The pages of these results, and the data that they load."""
    return {name: text for name, text in files.items() if name.endswith((".html", ".js"))}


class _Page(HTMLParser):
    """The tags of a page, its links, and whether every tag that opens also closes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.scripts: list[dict[str, str | None]] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "script":
            self.scripts.append(dict(attrs))
        self.links += [str(value) for key, value in attrs if key in ("href", "src")]
        assert not [key for key, _ in attrs if key.startswith("on")]
        if tag not in ("meta", "link", "input", "path", "rect", "polyline", "circle"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def test_there_is_a_page_for_everything(found: dict[str, str]) -> None:
    kinds = [name.partition("/")[0] for name in found]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "index.html": 1,
        "compare.html": 1,
        "data": 3 + 1,
        "protocol": len(registry.protocols()),
        "method": len(registry.methods()) + 1,
        "run": 3,
        "paper": 32,
    }
    assert "69.6" in found["paper/spn-2.html"]
    assert "<p>Text against table: Sec. 4.2 says" in found["paper/spn-2.html"]
    assert "69.6 [68.0, 71.0]" in found["protocol/voc07-point.html"]
    assert '<th scope="row">melm:l2+arl</th><td class="word">melm-1, melm-3' in found["method/melm.html"]
    assert "<h2>Variants</h2>" not in found["method/center.html"]
    against = re.search(r"<h2>Reported and measured</h2>.*?</table>", found["method/center.html"], re.DOTALL)
    assert against
    assert re.search(r"<td>69\.5</td><td>69\.6</td><td></td><td class=\"word\">[^<]", against[0])  # and why none


def test_every_link_leads_to_a_page_and_none_elsewhere(
    known: list[StoredResult], found: dict[str, str], tmp_path: Path
) -> None:
    written = {path.relative_to(tmp_path / "out").as_posix() for path in write(known, tmp_path / "out")}
    for name, text in found.items():
        for link in _Page(text).links:
            parts: list[str] = []
            for part in (PurePosixPath(name).parent / link).parts:
                parts = parts[:-1] if part == ".." else [*parts, part]
            assert link == "data:," or link.startswith("#") or "/".join(parts).partition("#")[0] in written, (
                name,
                link,
            )


def test_assets_load_nothing(known: list[StoredResult]) -> None:
    own = [path for path in (HERE / "assets").iterdir() if not path.name.startswith("plot.")]
    for path in own:
        assert not re.search(r"https?:|//\w|@import|url\(|fetch|import ", path.read_text())
    vendored = (HERE / "assets" / "plot.js").read_text()
    assert {*re.findall(r"https?://[\w.]+", vendored)} == {"http://www.w3.org"}  # names of XML, not addresses
    assert not re.search(r"\bfetch\(|XMLHttpRequest|\beval\(|new Function|\bimport\(", vendored)


def test_what_is_vendored_is_what_the_page_of_its_making_says() -> None:
    page = (registry.ROOT / "docs" / "decisions" / "plotting.md").read_text(encoding="utf-8")
    (digest,) = re.findall(r"`([0-9a-f]{64})`", page)
    assert hashlib.sha256((HERE / "assets" / "plot.js").read_bytes()).hexdigest() == digest
    assert "Observable" in (HERE / "assets" / "plot.LICENSE.txt").read_text(encoding="utf-8")


def test_nothing_that_a_record_says_is_markup_or_a_path(
    known: list[StoredResult], found: dict[str, str], tmp_path: Path
) -> None:
    for name, text in found.items():
        for script in _Page(text).scripts:
            own = {"site.js", "plot.js", "plots.js", "data.js", "choose.js", "compare.js", "save.js", "images.js"}
            assert (script.get("src") or "").removeprefix("../") in own or script == {"type": "application/json"}
        assert "script-src 'self'" in text or name.startswith("data/")
    assert not [name for name, text in found.items() if "<script>" in text or 'alert("x")' in text]
    assert "&lt;script&gt;alert" in found["protocol/voc07-point.html"]
    out = tmp_path / "site" / "out"
    assert all(out in path.resolve().parents for path in write(known, out))
    assert not [name for name in found if ".." in PurePosixPath(name).parts]


def test_tables_lie_beside_their_pages_as_files(files: dict[str, str], found: dict[str, str]) -> None:
    board, paper = "protocol/voc07-point.voc2007", "paper/spn-2"
    for name in (board, paper):
        page = found[f"{name.partition('.')[0]}.html"]
        assert all(f'href="../{name}.{ending}" download' in page for ending in ("csv", "json", "tex"))
    assert files[f"{board}.csv"].startswith("method,accuracy,split,images,seeds,")
    assert files[f"{paper}.tex"].startswith(r"\begin{table}")
    rows = json.loads(files[f"{board}.json"])["rows"]
    assert {0.6963} == {row["values"]["accuracy"] for row in rows}
    assert json.loads(files[f"{board}.json"])["title"] == "voc07-point on voc2007"  # fractions, not per cent
    assert EVIL in {row["values"]["method"].partition(":")[0] for row in rows}


def test_what_a_paper_prints_leads_to_what_was_measured_or_would_be(found: dict[str, str]) -> None:
    page = found["paper/spn-2.html"]
    assert f'<a href="../run/{"a" * 20}.html">69.6</a>' in page
    (row,) = re.findall(r'<a href="#(plan-\d+)">', page.partition("SPN")[2])[:1]
    assert f'<tr id="{row}">' in page
    assert "python -m bench run --method spn --protocol voc07-point" in page
    (data,) = re.findall(r'<script type="application/json">(.*?)</script>', page)
    center = next(row for row in json.loads(data)["rows"] if row["value"] is not None)
    assert (center["printed"], center["value"], center["low"], center["high"]) == (69.5, 69.63, 68.0, 71.0)


def test_the_same_results_give_the_same_bytes_in_any_order(known: list[StoredResult], files: dict[str, str]) -> None:
    assert list(files.items()) == list(make_pages(known[::-1]).items())


def test_generated_and_partial_results_are_named_so(found: dict[str, str]) -> None:
    assert "voc07-point on shapes (synthetic)" in found["protocol/voc07-point.html"]
    assert "these results say nothing about photographs" in found[f"run/{'b' * 20}.html"]
    assert "(not the protocol" in found["protocol/voc07-point.html"]
    assert "shapes" not in found["paper/spn-2.html"]


def test_a_class_without_a_number_is_undefined(found: dict[str, str]) -> None:
    assert re.search(r'<th scope="row">dog</th><td[^>]*>undefined</td>', found[f"run/{'a' * 20}.html"])


def test_without_results_there_is_a_site(tmp_path: Path) -> None:
    assert "No results yet" in make_pages([])["index.html"]
    assert "No results yet" in make_pages([])["method/melm.html"]


@pytest.mark.usefixtures("made_up_addresses")
def test_a_site_is_written_from_the_command_line(here, known: list[StoredResult], tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "results"
    folder.mkdir(parents=True)
    for one in known[:2]:
        write_result(folder / f"{one.result.address}.json", one.result)
    answer = here("report", "--out", "site")
    count = len([path for path in (tmp_path / "site").rglob("*.*") if path.name != ".weakloc-site"])
    assert (answer.code, answer.out) == (0, f"Wrote {count} files: site/index.html\n")
    assert "center" in (tmp_path / "site" / "index.html").read_text()


def test_a_new_site_takes_the_place_of_the_last_one_whole(known: list[StoredResult], tmp_path: Path) -> None:
    out = tmp_path / "site"
    write(known, out)
    written = write(known[:1], out)
    assert {path for path in out.rglob("*") if path.is_file()} == {*written, out / ".weakloc-site"}
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def read_tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_files_of_one_path_are_no_site(tmp_path: Path) -> None:
    twice = [SiteFile("a.html", number, lambda: "") for number in range(2)]
    with pytest.raises(ValueError, match=r"two files of the site have the path a\.html"):
        write_folder(tmp_path / "site", twice, read_earlier(tmp_path / "site"))
    assert not (tmp_path / "site").exists()


def test_only_what_depends_on_a_new_result_is_made_anew(
    known: list[StoredResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    read = SiteFile.read
    monkeypatch.setattr(SiteFile, "read", lambda file: made.append(file.path) or read(file))
    out, fresh = tmp_path / "site", tmp_path / "fresh"
    write(known[:2], out)
    made.clear()
    write(known, out)
    address = known[2].result.address
    assert {method_page(EVIL), run_page(address), "index.html", "protocol/voc07-point.html"} <= {*made}
    assert not {"site.css", "method/melm.html", "protocol/voc07-det.html", run_page("a" * 20)} & {*made}
    assert len(made) < 13
    write(known, fresh)
    assert read_tree(out) == read_tree(fresh)
    made.clear()
    write(known, out)
    assert made == []


def test_a_page_that_somebody_edited_and_a_damaged_mark_are_mended(known: list[StoredResult], tmp_path: Path) -> None:
    out = tmp_path / "site"
    write(known[:1], out)
    there = read_tree(out)
    (out / "index.html").write_text("mine")
    (out / "method" / "melm.html").unlink()
    write(known[:1], out)
    assert read_tree(out) == there
    (out / ".weakloc-site").write_text("\n".join(there))  # as weakloc 0.2 wrote it
    write(known[:1], out)
    assert read_tree(out) == there


def test_other_replicates_of_the_same_size_are_seen(tmp_path: Path) -> None:
    one, path = made(tmp_path, "a" * 20), replicates_path(tmp_path / "0.json")
    values = np.random.default_rng(0).random(100)
    sizes = set()
    for order in (values, values[::-1]):
        pq.write_table(build_table({"accuracy": order}, 10, 0), path)
        sizes.add(path.stat().st_size)
        write([one], tmp_path / "site")
    assert len(sizes) == 1
    write([one], tmp_path / "fresh")
    assert read_tree(tmp_path / "site") == read_tree(tmp_path / "fresh")


@pytest.mark.parametrize("damage", [[], 5, None, "text", {"a": 1}, ["right", {"a": 1}], ["right", "wrong", {"a": 1}]])
def test_a_damaged_entry_of_the_mark_counts_as_unknown(
    known: list[StoredResult], tmp_path: Path, damage: object
) -> None:
    out = tmp_path / "site"
    write(known[:1], out)
    there, mark = read_tree(out), json.loads((out / ".weakloc-site").read_text())

    def break_entry(entry: list[Any]) -> object:
        return [entry[0], *damage[1:]] if isinstance(damage, list) and damage else damage

    broken = {part: {name: break_entry(entry) for name, entry in mark[part].items()} for part in mark}
    (out / ".weakloc-site").write_text(json.dumps(broken))
    write(known[:1], out)
    assert read_tree(out) == there


@pytest.mark.parametrize("mark", ["", "{", '{"files": {"index', "{}", "[]", '{"files": [], "values": {}}', "[" * 9999])
def test_a_mark_that_cannot_be_read_is_said_to_be_damaged(tmp_path: Path, mark: str) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("mine")
    (tmp_path / "site" / ".weakloc-site").write_text(mark)
    with pytest.raises(RequestError, match=r"the mark of the site in .*site is damaged: delete the folder, or give"):
        read_earlier(tmp_path / "site")


def test_hidden_files_are_ignored_but_not_hidden_folders(known: list[StoredResult], tmp_path: Path) -> None:
    out = tmp_path / "site"
    write(known[:1], out)
    there = read_tree(out)
    (out / ".DS_Store").write_text("")
    (out / "run" / "._x").write_text("")
    write(known[:1], out)
    assert read_tree(out) == there
    (out / ".git").mkdir()
    (out / ".git" / "config").write_text("mine")
    with pytest.raises(RequestError, match=r"contains \.git/config, which"):
        write(known[:1], out)


def test_what_is_no_site_is_never_replaced(here, known: list[StoredResult], tmp_path: Path) -> None:
    write(known, tmp_path / "site")
    (tmp_path / "site" / "run" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "0.json").write_text("{}")
    for out, says in (
        ("site", "Error: site contains run/mine.txt, which `report` did not write: give another folder."),
        ("results", "Error: results contains 0.json, which `report` did not write"),
        ("file", "Error: file is a file: give a folder."),
        (".", "Error: . is or contains the working directory: give a folder inside it, such as site."),
    ):
        answer = here("report", "--out", out)
        assert (answer.code, answer.out) == (2, "")
        assert says in answer.err
    assert (tmp_path / "site" / "run" / "mine.txt").read_text() == "mine"
    assert len(list((tmp_path / "results").iterdir())) == 1


def test_a_plot_says_what_its_table_says_and_data_cannot_leave_its_element() -> None:
    evil = "</script><script>alert(1)</script>&\u2028"
    plot = plot_numbers("by class", "CorLoc", {evil: 0.5, "dog": None, "cat": 0.25}, {"cat": (0.2, 0.31)})
    assert plot is not None
    assert not re.search("[<>&\u2028]", plot.json)
    rows = json.loads(plot.json)["rows"]
    assert [(row["name"], row["value"], row["low"], row["high"]) for row in rows] == [
        (evil, 50.0, None, None),
        ("cat", 25.0, 20.0, 31.0),
    ]
    assert plot_numbers("by class", "CorLoc", {"dog": None}, {}) is None


def test_floors_and_ceilings_are_told_from_methods() -> None:
    fields: dict[str, Any] = {**RECORD, "address": "a", "method": "m", "metrics": {}, "higher_is_better": {}}
    run = Result(**fields, seconds={"prediction": 1.0})
    assert find_role(run) == "floor"
    assert find_role(run.model_copy(update={"training": "t"})) == "method"
    assert find_role(run.model_copy(update={"training": "t", "config": {"epochs": 0}})) == "floor"
    assert find_role(run.model_copy(update={"tuned_on": "test-oracle"})) == "ceiling"
    tuned = run.model_copy(update={"tuned_on": "test-oracle", "training": "t"})
    assert find_role(tuned) == "tuned on what is evaluated"
    assert find_role(Result(**fields)) == "method"


def test_a_paper_names_results_of_its_methods_under_other_protocols(tmp_path: Path) -> None:
    own = made(tmp_path, "a" * 20, method="spn")
    other = made(tmp_path, "b" * 20, method="spn", protocol="voc07-point-val")
    foreign = made(tmp_path, "c" * 20, method="danet", protocol="voc07-point-val")
    synthetic = made(tmp_path, "d" * 20, method="spn", protocol="coco14-point", dataset="shapes")
    page = make_pages([own, other, foreign, synthetic])["paper/spn-2.html"]
    said = re.search("<p>Results of these methods under other protocols of the same kind.*?</p>", page)
    assert said
    assert said[0].endswith(': <a href="../protocol/voc07-point-val.html">voc07-point-val</a> (spn).</p>')
    assert "of the same kind" not in make_pages([own, foreign, synthetic])["paper/spn-2.html"]


def test_speeds_are_said_to_be_of_their_machines(tmp_path: Path) -> None:
    for timed, said in (({"prediction": 9.0}, 1), ({}, 0)):
        page = make_pages([made(tmp_path, "a" * 20, images_per_second=timed)])["protocol/voc07-point.html"]
        assert page.count("images/s: of prediction, as each run was timed") == said


def test_the_first_page_names_the_best_method_not_the_ceiling(tmp_path: Path) -> None:
    oracle = made(tmp_path, "a" * 20, method="oracle", metrics={"accuracy": 0.9}, tuned_on="test-oracle", seconds={})
    page = make_pages([oracle, made(tmp_path, "b" * 20, method="mine", metrics={"accuracy": 0.5})])["index.html"]
    best = page.partition('id="leaderboards"')[2].partition("</table>")[0]
    assert '<a href="method/mine.html">mine</a>' in best
    assert "oracle" not in best


def test_the_first_page_says_who_leads_and_by_how_much() -> None:
    def make_row(name: str, rank: int | None, value: float) -> Row:
        return Cell(name, name), Cell(rank, str(rank)), Cell(value, f"{100 * value:.1f} [1, 2] ± 0.4 (3)")

    def make_group(training: str | None, *, higher: bool = True) -> list[Result]:
        fields: dict[str, Any] = {**RECORD, "address": "a", "method": "m", "higher_is_better": {"accuracy": higher}}
        return [Result(**fields, metrics={"accuracy": 0.5}, training=training, seconds={"prediction": 1.0})]

    columns = ("method", "rank", "accuracy")
    rows = (
        make_row("a", 1, 0.9),
        make_row("b", 1, 0.8),
        make_row("unranked", None, 0.95),
        make_row("c", 3, 0.5),
        make_row("floor", 4, 0.25),
    )
    groups = [make_group("t"), make_group("t"), make_group("t"), make_group("t"), make_group(None)]
    said = describe_leader(Table("", columns, rows, {}), groups)
    assert (
        said == "a leads with 90.0 [1, 2] (rank shared with b), 40.0 points ahead of c and 65.0 points ahead of floor."
    )
    assert describe_leader(Table("", columns, rows[:1], {}), groups[:1]) == "a leads with 90.0 [1, 2]."
    assert describe_leader(Table("", columns, rows[4:], {}), groups[4:]) == ""
    assert describe_leader(Table("", ("method", "accuracy"), (), {}), groups[:1]) == ""
    errors = [make_group("t", higher=False), make_group("t", higher=False), make_group(None, higher=False)]
    rows = (make_row("a", 1, 0.3), make_row("b", 2, 0.4), make_row("floor", 3, 0.2))
    said = describe_leader(Table("", columns, rows, {}), errors)
    assert said == "a leads with 30.0 [1, 2], 10.0 points ahead of b and 10.0 points behind floor."
