"""Pages of images: every run on each, walks from one to the next, small pictures made once, all text as text."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from image_cases import CLASSES, EVIL, SIZE, make_split
from PIL import Image

from bench import registry
from bench.core.files import Places
from bench.core.progress import SILENT
from bench.execution.pipeline import Request, run
from bench.gallery import layers, split_images
from bench.gallery.layers import keep_cells, make_layers, make_mask_cell, make_thumbnail
from bench.gallery.split_images import RunImages, SplitImages, collect_splits
from bench.records.collection import StoredResult, list_results
from bench.site import images as site_images
from bench.site.build import write
from bench.site.images import SplitPages, find_data, list_chosen, list_files, make_split_pages
from bench.site.material import make_renderer
from bench.site.strip import ROLES, Three, choose_rows, draw, look_up

TINY = {"train": 4, "val": 4, "test": 6, "size": 64, "classes": 4}


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> SplitImages:
    return make_split(tmp_path_factory.mktemp("toy") / "photographs")


@pytest.fixture(scope="module")
def pages(split: SplitImages, tmp_path_factory: pytest.TempPathFactory) -> SplitPages:
    return make_split_pages([split], tmp_path_factory.mktemp("cache"))[0]


def read(pages: SplitPages) -> dict[str, bytes]:
    return {file.path: file.read() for file in list_files(pages, make_renderer(), "code")}


@pytest.fixture(scope="module")
def files(pages: SplitPages) -> dict[str, bytes]:
    return read(pages)


def measure(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def parse(content: bytes) -> Any:
    """The data of a data file."""
    return json.loads(content.decode().partition("] = ")[2].removesuffix(";\n"))


def test_every_image_shows_every_run_and_what_it_said(pages: SplitPages, files: dict[str, bytes]) -> None:
    for row, name in enumerate(pages.split.truth.ids):
        page = files[str(pages.find_image(row))].decode()
        assert page.count("<li data-run=") == 3
        data = parse(files[str(pages.find_image(row, "js"))])
        assert (data["id"], [data["width"], data["height"]]) == (name, [*SIZE])
        assert len(data["truth"]) == row % 3 + 1 + (row % 2 == 0)
        late, elsewhere = data["runs"]["late"], data["runs"]["elsewhere"]
        assert late["hits"]["0"] == (row >= 3)
        assert late["points"][0] == [0, 1, 20.5]
        assert set(elsewhere) == {"hits", "value"}
        assert (data["picture"] == "") == (row == 5)
    assert "The photograph is not on this machine." in page


def test_the_walks_lead_from_image_to_image(pages: SplitPages, files: dict[str, bytes]) -> None:
    orders = {name: walk.images for name, walk in pages.walks.items()}
    assert orders.pop("hardest") == (1, 2, 0, 3, 4, 5)
    assert orders.pop("size") == (0, 1, 2, 3, 4, 5)
    assert orders.pop("objects") == (2, 4, 5, 1, 0, 3)  # 4, 3, 3, 2, 2, 1 objects: ties by id
    assert orders.pop("class-cat") == (1, 2, 0, 3, 4, 5)
    assert [*orders.values()] == [(2, 0, 4)]
    for at, row in enumerate(pages.walks["hardest"].images):
        page = files[str(pages.find_image(row))].decode()
        around = [pages.walks["hardest"].images[n] if 0 <= n < 6 else None for n in (at - 1, at + 1)]
        links = ["" if n is None else str(pages.find_image(n)).rpartition("/")[2] for n in around]
        assert re.findall(r'<a rel="(?:prev|next)" href="([^"]*)"', page) == links
    listed = files[pages.find_page("objects")].decode()
    assert [*re.findall(r'href="([^"]+)#walk=objects"', listed)] == [
        f"../../{pages.find_image(row)}" for row in pages.walks["objects"].images
    ]
    data = parse(files[pages.data])
    assert data["walks"]["size"]["images"] == [*pages.walks["size"].images]
    assert data["rows"] == [*range(6)]


def test_what_is_hostile_is_neither_markup_nor_a_path(files: dict[str, bytes]) -> None:
    assert all(re.fullmatch(r"image/toy(/[\w.-]+)+", path) and "/../" not in path for path in files)
    pages = [content.decode() for path, content in files.items() if path.endswith(".html")]
    assert not [text for text in pages if "<script>" in text or "alert(1)</" in text]
    assert all("&lt;script&gt;" in text for text in pages)
    assert not [path for path, content in files.items() if path.endswith(".js") and b"<" in content]


def test_small_pictures_are_small_lazy_and_made_once(
    pages: SplitPages, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [path for path in files if path.endswith(".jpg")]
    assert len(pictures) == 5
    assert max(measure(next(pages.cache.glob("*.jpg")))) == 320
    lists = files[pages.find_page("hardest")].decode()
    assert lists.count('width="320" height="240" loading="lazy"') == 5

    def fail(*_: Any, **__: Any) -> bytes:
        raise AssertionError("made again")

    monkeypatch.setattr(layers, "encode_picture", fail)
    monkeypatch.setattr(layers, "_encode_layers", fail)
    assert read(pages) == files


def test_of_what_is_the_same_nothing_is_made_or_read_again(
    split: SplitImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise AssertionError("made again")

    def write_site(runs: Sequence[RunImages]) -> dict[Path, bytes]:
        write([], tmp_path / "site", make_split_pages([replace(split, runs=tuple(runs))], tmp_path / "cache"))
        return {path: path.read_bytes() for path in (tmp_path / "site").rglob("*") if path.is_file()}

    first = write_site(split.runs)
    unread = [replace(run, describe=fail) for run in split.runs]
    monkeypatch.setattr(site_images, "describe_image", fail)
    assert write_site(unread) == first
    with pytest.raises(AssertionError, match="made again"):
        write_site([*unread[1:], replace(unread[0], state="other")])
    moved = replace(split.truth.objects, box=split.truth.objects.box + 7)
    split = replace(split, truth=replace(split.truth, objects=moved))
    with pytest.raises(AssertionError, match="made again"):
        write_site(unread)


def test_masks_and_maps_of_all_runs_are_one_picture_each(pages: SplitPages, files: dict[str, bytes]) -> None:
    data = parse(files[str(pages.find_image(1, "js"))])
    assert data["layers"]["masks"] | {"file": ""} == {"file": "", "width": 160, "height": 120}
    assert [data["runs"][name].get("mask") for name in ("late", EVIL, "elsewhere")] == [0, 1, None]
    assert data["runs"][EVIL]["maps"] == [[0, 1]]
    path = next(pages.cache.glob("*-masks.png"))
    with Image.open(path) as stacked:
        assert (stacked.size, stacked.mode, stacked.info["transparency"]) == ((160, 240), "P", 0)
        assert np.asarray(stacked)[0, 0] == 1


def test_a_result_finds_the_pages_of_its_images(pages: SplitPages) -> None:
    late, _, elsewhere = (one.result for one in pages.split.runs)
    assert find_data([pages], elsewhere) == pages.data
    assert find_data([], elsewhere) is None
    chosen = dict(list_chosen([pages], late))
    assert [entry["name"] for entry in chosen["Worst"]] == [EVIL, "0001"]
    assert [entry["value"] for entry in chosen["Best"]] == ["100 %"]
    assert chosen["Best"][0]["link"] == f"../{pages.find_image(5)}#runs=late"
    assert list_chosen([pages], elsewhere) == []


def test_a_damaged_photograph_has_no_picture_that_is_linked_to(tmp_path: Path) -> None:
    split = make_split(tmp_path / "photographs", photographs=6)
    damaged = split.dataset.image_path(split.truth.ids[1])
    damaged.write_bytes(damaged.read_bytes()[:-200])
    (pages,) = make_split_pages([split], tmp_path / "cache")
    files = read(pages)
    late, never, always = split.runs
    entries = [entry for _, some in list_chosen([pages], late.result) for entry in some]
    assert [bool(entry["picture"]) for entry in entries] == [True, False, True]
    assert 1 not in choose_rows(Three(pages, (late, never, always)))
    text = b"".join(content for path, content in files.items() if path.endswith((".html", ".js"))).decode()
    assert {path.rpartition("/")[2] for path in files if path.endswith(".jpg")} == {*re.findall(r"[\w.-]+\.jpg", text)}
    assert "The photograph is not on this machine." in files[str(pages.find_image(1))].decode()


def test_splits_of_one_name_have_pages_of_their_own(split: SplitImages, tmp_path: Path) -> None:
    named = [replace(split, where=split.where._replace(split=name)) for name in ("test", "test", "test-2", "test~2")]
    paths = [file.path for one in make_split_pages(named, tmp_path) for file in list_files(one, make_renderer(), "")]
    assert len({*paths}) == len(paths)


def test_cells_are_made_again_where_a_row_lacks_or_the_file_is_damaged(tmp_path: Path) -> None:
    made = []

    def make(rows: Any) -> Any:
        made.append(rows)
        return ((str(row), np.full((2, 3), row, np.uint8)) for row in rows)

    path = tmp_path / "cells.parquet"
    assert keep_cells(path, [1, 2], make)["2"].tolist() == [[2] * 3] * 2
    assert "3" not in keep_cells(path, [2], make)
    assert keep_cells(path, [2, 3], make)["3"][0, 0] == 3
    path.write_bytes(path.read_bytes()[:50])
    assert keep_cells(path, [3], make)["3"][0, 0] == 3
    whole = path.read_bytes()
    path.write_bytes(whole.replace(whole[whole.index(b"x\x9c") :][:2], b"\0\0", 1))  # damage beside the names
    assert keep_cells(path, [3], make)["3"][0, 0] == 3
    cells = keep_cells(path, [3], make)
    path.unlink()
    assert cells["3"][0, 0] == 3
    assert made == [[1, 2], [2, 3], [3], [3], [3]]


def test_cells_that_another_call_replaced_are_made_again(tmp_path: Path) -> None:
    def make(rows: Any) -> Any:
        return ((str(row), np.full((2, 3), row, np.uint8)) for row in rows)

    path = tmp_path / "cells.parquet"
    keep_cells(path, [0, 1], make)
    fewer = keep_cells(path, [0], make)
    path.unlink()
    assert [fewer[name][0, 0] for name in fewer] == [0, 1]
    one, other = keep_cells(path, [0, 1], make), keep_cells(path, [2], make)
    assert [one["0"][0, 0], other["2"][0, 0], one["1"][0, 0]] == [0, 2, 1]


def test_layers_and_thumbnails_have_the_shape_of_their_image(tmp_path: Path) -> None:
    cell = make_mask_cell(np.ones((10, 20), np.uint8), 20, 10)
    assert cell.shape == (80, 160)
    assert make_layers([cell], "masks", tmp_path) == make_layers([cell], "masks", tmp_path)
    Image.new("RGB", (30, 60)).save(tmp_path / "a.png")
    assert measure(make_thumbnail(tmp_path / "a.png", tmp_path)) == (160, 320)


def test_the_strip_shows_where_three_differ_most_each_another_class_first(pages: SplitPages) -> None:
    late, never, always = pages.split.runs
    assert choose_rows(Three(pages, (late, never, always))) == [1, 2, 3, 4, 0]  # 5 has no photograph
    assert choose_rows(Three(pages, (late, never, never))) == [3, 4]  # no difference on others
    assert choose_rows(Three(pages, (never, never, never))) == []
    drawn = draw(Three(pages, (late, never, always)), 4)
    assert [one["role"] for one in drawn["said"]] == [*ROLES]
    assert [one["verdict"] for one in drawn["said"]] == ["hit", "miss", "hit"]
    assert sorted(drawn["said"][0]["marks"]) == [[1.5, 21], [46.5, 21]]  # centres of pixels
    assert drawn["radius"] == 80 / 50
    assert len(drawn["truth"]) == 3
    assert drawn["link"] == f"{pages.find_image(4)}#runs=late,{quote(EVIL)},elsewhere"


def test_a_strip_needs_what_all_three_said(pages: SplitPages) -> None:
    late, never, always = ((one.result.label, (one.result,)) for one in pages.split.runs)
    three = look_up(pages, (late, never, late))
    assert three is not None
    assert three.names == ("late", EVIL, "late")
    assert look_up(pages, (late, never, always)) is None


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Places, list[StoredResult]]:
    """A floor that was run here, and a copy of its result as published by others."""
    folder = tmp_path_factory.mktemp("ran")
    places = Places(folder / "runs")
    request = Request("center", registry.protocol("voc07-point"), data="shapes", data_options=TINY)
    assert not run([request], places, device="cpu", workers=0).failed
    (here,) = list_results(places, folder / "none")
    published = folder / "published.json"
    published.with_suffix(".parquet").write_bytes(here.record.with_suffix(".parquet").read_bytes())
    copied = here.result.model_copy(update={"address": "b" * 20, "predictions": "c" * 20, "method": "theirs"})
    return places, [here, StoredResult(copied, published)]


def test_images_are_collected_from_predictions_or_else_outcomes(ran: tuple[Places, list[StoredResult]]) -> None:
    places, known = ran
    (split,) = collect_splits(known, places, 4)
    assert split.where[:2] == ("shapes", "test")
    here, theirs = sorted(split.runs, key=lambda one: one.result.method)
    assert sorted({row for rows in here.chosen.values() for row in rows}) == [*split.rows]
    assert len(split.rows) == 4
    np.testing.assert_array_equal(here.values, theirs.values)
    for row in split.rows:
        assert json.loads(here.said[row]).pop("points")
        assert json.loads(theirs.said[row]).keys() == {"hits", "value"}
    assert [*collect_splits(known[1:], places, 4)] == []


def test_maps_are_made_again_with_the_predictions_and_by_other_code(
    ran: tuple[Places, list[StoredResult]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ran[0].runs, tmp_path / "runs", ignore=shutil.ignore_patterns("layers"))
    places = Places(tmp_path / "runs")
    (here,) = list_results(places, tmp_path / "none")

    def collect(left: float) -> int:
        """The left end of the first map that is shown, if a map made now has this there."""
        map = np.array([[left, 0.5]])
        monkeypatch.setattr(split_images, "read_maps", lambda *of: {(of[3].ids[row], ""): map for row in of[4]})
        (split,) = collect_splits([here], places, 2)
        return int(split.runs[0].maps[f"{split.rows[0]}--1"][0, 0])

    assert [collect(0), collect(1)] == [0, 0]
    (predicted,) = places.runs.rglob("points.parquet")
    os.utime(predicted, ns=(0, 0))
    assert [collect(1), collect(0)] == [255, 255]
    monkeypatch.setattr(split_images, "digest_code", lambda *_: "edited")
    assert collect(0) == 0


def test_what_cannot_be_shown_is_said(ran: tuple[Places, list[StoredResult]]) -> None:
    places, (here, _) = ran
    said = []

    class Listener:
        task = staticmethod(SILENT.task)

        def say(self, text: str) -> None:
            said.append(text)

    odd = here.result.model_copy(update={"truth_digest": "other", "address": "d" * 20})
    collected = [*collect_splits([here, StoredResult(odd, here.record)], places, 2, Listener())]
    assert [len(one.runs) for one in collected] == [1]
    assert [text[:46] for text in said] == [f"note: no images of result {'d' * 20}"]
    said.clear()
    gone = here.result.model_copy(update={"dataset": "voc2007"})
    assert [*collect_splits([StoredResult(gone, here.record)], places, 2, Listener())] == []
    assert said[0].startswith("note: no images of voc2007 test: ")


@pytest.mark.usefixtures("made_up_addresses")
def test_report_writes_pages_of_images_that_runs_lead_to(
    here: Any, ran: tuple[Places, list[StoredResult]], tmp_path: Path
) -> None:
    places, (one, _) = ran
    answer = here("report", "--out", "site", "--images", 4, "--runs", places.runs)
    assert answer.code == 0, answer.err
    root = tmp_path / "site"
    page = (root / "run" / f"{one.result.address}.html").read_text()
    links = re.findall(r'href="\.\./(image/shapes/test/[^"#]+)#runs=', page)
    assert len(links) == 4
    assert all((root / link).is_file() and (root / link).with_suffix(".jpg").is_file() for link in links)
    assert '<a href="image/shapes/test.html">shapes test</a> (4)' in (root / "index.html").read_text()


def test_classes_are_named_on_lists(pages: SplitPages, files: dict[str, bytes]) -> None:
    walks = [walk.title for walk in pages.walks.values()]
    assert walks == ["hardest first", "smallest object first", "most objects first", *CLASSES]
