"""Pictures of a run: which images, what is said of them, and what is done where something is missing."""

from __future__ import annotations

import base64
import io
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from bench import registry
from bench.core.files import Places
from bench.data.datasets import Dataset, open_dataset
from bench.data.ground_truth import GroundTruth, Objects, derive_labels
from bench.errors import MissingDataError, RequestError
from bench.execution.pipeline import Request, run
from bench.gallery.contact_sheet import Sheet, sheet
from bench.gallery.drawing import (
    HIT,
    MISS,
    OTHER,
    SIDE,
    TRUTH,
    Mark,
    Picture,
    encode_picture,
    overlay_map,
    overlay_mask,
)
from bench.gallery.image_card import Run, example, goodness
from bench.gallery.recompute_maps import recompute_maps
from bench.predictions.decode import peak
from bench.predictions.table import ResolvedPredictions
from bench.records.collection import StoredResult, find_result
from bench.records.store import Store
from bench.site.sheet import render_page
from methods.nets import build as build_net

TINY = {"train": 4, "val": 4, "test": 6, "size": 64, "classes": 4}
EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Places, dict[str, str]]:
    """Runs without any learning, and their addresses by method and protocol."""
    places = Places(tmp_path_factory.mktemp("sheet") / "runs")
    settings = {"epochs": 0, "input_size": 64, "precision": "float32", "map_alignment": "resize"}
    asked = [
        ("center", "voc07-point", {}),
        *(("cam", name, settings) for name in ("voc07-point", "voc07-corloc", "maxbox")),
    ]
    requests = [
        Request(method, registry.protocol(name), settings=more, data="shapes", data_options=TINY)
        for method, name, more in asked
    ]
    report = run(requests, places, device="cpu", workers=0)
    assert not report.failed
    return places, {f"{one.method} {one.protocol}": one.address for one in report.results}


def shown(made: tuple[Places, dict[str, str]], name: str, number: int = 4) -> Sheet:
    places, addresses = made
    return sheet(find_result(addresses[name], places, places.runs / "none"), places, number, TINY)


def dataset(made: tuple[Places, dict[str, str]]) -> Dataset:
    return open_dataset("shapes", made[0], TINY)


def test_the_worst_and_the_best_images_are_shown_and_none_twice(made: Any) -> None:
    found = shown(made, "center voc07-point", 6)
    worst, best = ([one.value for one in found.examples[title]] for title in ("Worst", "Best"))
    assert (len(worst), len(best)) == (3, 3)
    assert worst == sorted(worst)
    assert best == sorted(best, reverse=True)
    assert max(worst) <= min(best)
    names = [one.image for some in found.examples.values() for one in some]
    assert sorted(names) == sorted(dataset(made).ground_truth("test").ids)


def test_of_one_image_there_is_no_best(made: Any) -> None:
    assert {title: len(some) for title, some in shown(made, "center voc07-point", 1).examples.items()} == {"Worst": 1}


def test_what_is_said_of_a_class_is_what_was_scored(made: Any) -> None:
    for examples in shown(made, "center voc07-point", 6).examples.values():
        for one in examples:
            hits = [": hit;" in line for line in one.lines if ": hit;" in line or ": miss;" in line]
            assert one.value == pytest.approx(np.mean(hits))
            for line in one.lines:
                far = int(re.search(r"the point is (\d+) pixels from an object", line)[1])
                assert (": miss;" in line) <= (far >= 15)


def test_boxes_say_how_far_they_overlap(made: Any) -> None:
    for examples in shown(made, "cam voc07-corloc").examples.values():
        for line in (line for one in examples for line in one.lines):
            overlap = float(re.search(r"the best of 1 boxes overlaps an object by (\d\.\d\d)", line)[1])
            assert (": hit;" in line) == (overlap > 0.5)


def test_maps_that_were_not_kept_are_made_again(made: Any) -> None:
    places, addresses = made
    kept = find_result(addresses["cam voc07-point"], places, places.runs / "none")
    data = dataset(made)
    truth = data.ground_truth("test")
    maps = recompute_maps(kept.result, Store(places), data, truth.subset(truth.ids[1:3], split="test"))
    assert set(maps) == {(image, label) for image in truth.ids[1:3] for label in truth.classes}
    points = pa.parquet.read_table(
        Store(places).predictions_folder(kept.result.predictions) / "points.parquet"
    ).to_pylist()
    for row in points:
        if row["image"] in truth.ids[1:3]:
            assert [row["x"], row["y"]] == list(peak(maps[row["image"], row["label"]], 64, 64))
    captions = [picture.caption for picture in shown(made, "cam voc07-point").examples["Worst"][0].pictures]
    assert captions[0] == "truth, and what was said"
    assert captions[1].startswith("map of ")


@pytest.mark.parametrize("method", ["cam", "mwp"])
def test_maps_on_a_frozen_net_are_made_again(method: str, tmp_path: Path) -> None:
    weights, options = tmp_path / "tiny.pth", {"train": 4, "val": 2, "test": 4, "size": 64, "classes": 2}
    torch.save(build_net("tiny", "none", roi_head="own").state_dict(), weights)
    settings = {"net": "tiny", "weights": str(weights), "freeze_backbone": True, "epochs": 1, "map_alignment": "resize"}
    request = Request(method, registry.protocol("voc07-point"), data="shapes", data_options=options, settings=settings)
    places = Places(tmp_path / "runs")
    (result,) = run([request], places, device="cpu", threads=1).results
    data = open_dataset("shapes", places, options)
    truth = data.ground_truth("test")
    maps = recompute_maps(result, Store(places), data, truth)
    points = pa.parquet.read_table(Store(places).predictions_folder(result.predictions) / "points.parquet")
    assert len(points)
    for row in points.to_pylist():
        assert [row["x"], row["y"]] == list(peak(maps[row["image"], row["label"]], 64, 64))


def test_a_protocol_that_judges_no_image_by_itself_shows_the_first(made: Any) -> None:
    found = shown(made, "cam maxbox", 2)
    assert list(found.examples) == ["First"]
    assert [one.value for one in found.examples["First"]] == [None, None]
    assert all(
        line.endswith("shown, and not evaluated by itself") for one in found.examples["First"] for line in one.lines
    )


def test_the_page_needs_no_other_file_and_takes_nothing_for_markup(made: Any) -> None:
    found = shown(made, "center voc07-point", 2)
    odd = found.result.model_copy(update={"method": EVIL, "split": EVIL})
    text = render_page(Sheet(odd, found.examples, (EVIL,)))
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 3
    assert not re.search(r'(src|href)="(?!data:)', text)
    pictures = [Image.open(io.BytesIO(base64.b64decode(data))) for data in re.findall(r'base64,([^"]+)"', text)]
    assert len(pictures) == 2
    assert all(max(one.size) == SIDE and one.format == "JPEG" for one in pictures)


def test_photographs_that_are_missing_are_named_and_boxes_drawn_on_an_empty_canvas(made: Any, tmp_path: Path) -> None:
    places = Places(tmp_path / "runs")
    shutil.copytree(made[0].runs, places.runs)
    copied = (places, made[1])
    gone = [one.image for one in shown(copied, "center voc07-point", 2).examples["Worst"]]
    dataset(copied).image_path(gone[0]).unlink()
    found = shown(copied, "center voc07-point", 2)
    assert any(note.startswith("Photographs that are not in JPEGImages: " + gone[0]) for note in found.notes)
    picture = Image.open(io.BytesIO(found.examples["Worst"][0].pictures[0].jpeg))
    colours = np.asarray(picture).reshape(-1, 3).astype(int)
    for colour in ((208, 208, 208), TRUTH):
        assert (np.abs(colours - colour).max(axis=1) < 60).any()


def test_a_result_whose_predictions_are_not_kept_says_what_to_do(made: Any, tmp_path: Path) -> None:
    places, addresses = made
    kept = find_result(addresses["cam voc07-corloc"], places, places.runs / "none")
    with pytest.raises(
        MissingDataError, match=r"predictions of result .*Run it again: .* show run \w+ ends with the command"
    ):
        sheet(StoredResult(kept.result, tmp_path / "published.json"), Places(tmp_path / "empty"), 2, TINY)
    with pytest.raises(MissingDataError, match="outcomes per image"):
        sheet(StoredResult(kept.result, tmp_path / "published.json"), places, 2, TINY)
    theirs = StoredResult(kept.result.model_copy(update={"method": "mine"}), kept.record)
    with pytest.raises(MissingDataError, match="scored from a file"):
        sheet(theirs, Places(tmp_path / "empty"), 2, TINY)


def test_another_truth_than_the_judged_one_is_refused(made: Any) -> None:
    places, addresses = made
    kept = find_result(addresses["center voc07-point"], places, places.runs / "none")
    with pytest.raises(RequestError, match=r"is not what result .* was evaluated on.*--data-option"):
        sheet(kept, places, 2, {**TINY, "test": 5})


@pytest.mark.parametrize(
    ("columns", "good"),
    [
        ({"hit": [True, False]}, [1, 0]),
        ({"hit": [3, 0]}, [1, 0]),
        ({"energy": [0.25, 0.5]}, [0.25, 0.5]),
        ({"gt_known_loc_error": [True, False]}, [0, 1]),
        ({"true": [4, 0], "predicted": [2, 3], "shared": [1, 0]}, [0.2, 0]),
        ({"hits": [b"1", b"0"]}, [np.nan, np.nan]),
    ],
)
def test_how_good_an_outcome_is(columns: dict[str, list[Any]], good: list[float]) -> None:
    np.testing.assert_allclose(goodness(pa.table({"image": [0, 1], **columns})), good)


def test_cliques_are_drawn_each_in_a_colour_and_that_of_the_most_probable_proposal_again() -> None:
    """A chain of three that overlap, one of the same class far off, and a better placed one of another class."""
    corners = np.array([[0, 0, 40, 40], [4, 0, 44, 40], [8, 0, 48, 40], [60, 60, 90, 90], [0, 0, 40, 40]], float)
    columns = dict(zip(("x1", "y1", "x2", "y2"), corners.T, strict=True))
    columns["probability"] = np.array([0.5, 0.1, 0.1, 0.1, 0.2])
    image, label = np.zeros(5, np.int32), np.array([1, 1, 1, 1, 0], np.int32)
    found = ResolvedPredictions("proposals", image, label, columns, np.ones(1, bool), {})
    objects = Objects(image[:1], label[:1], corners[:1], np.zeros(1, bool))
    size = np.array([[100, 100]], np.int32)
    truth = GroundTruth("toy", "test", ("cat", "dog"), ("1",), size, derive_labels(1, 2, objects), objects)
    outcomes = pa.table({"image": [0], "label": [1], "accuracy": [0.5]})

    def pictures(tau: float) -> list[Picture]:
        run = Run(truth, {"proposals": found}, outcomes, {}, {}, tau)
        return list(example(run, 0, 0.5, np.zeros((100, 100, 3), np.uint8)).pictures[1:])

    every, one = pictures(0.7)
    assert [every.caption, one.caption] == ["2 cliques of dog", "clique of dog: 3 proposals"]
    assert [picture.caption for picture in pictures(0.9)] == ["4 cliques of dog", "clique of dog: 1 proposals"]
    shown = colours_of(every.jpeg).astype(int)
    near, far = shown[:3, 20:100].mean(axis=(0, 1)), shown[191:194, 220:280].mean(axis=(0, 1))
    assert np.abs(near - (128, 0, 0)).max() < 60  # VOC's first colour, and its second
    assert np.abs(far - (0, 128, 0)).max() < 60


def colours_of(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg)))


def test_marks_stand_where_they_belong_and_odd_boxes_are_no_error() -> None:
    pixels = np.zeros((50, 100, 3), np.uint8)
    found = colours_of(encode_picture(pixels, [Mark((50, 10, 90, 40), HIT), Mark((20, 25), MISS)])).astype(int)
    assert found.shape == (SIDE // 2, SIDE, 3)
    assert np.abs(found[80, 64] - MISS).max() < 60
    assert np.abs(found[33:37, 200] - HIT).max(axis=1).min() < 60
    assert found[80, 220].max() < 60
    encode_picture(
        pixels, [Mark((9, 9, 3, 3), OTHER), Mark((-1e30, -1e30, 1e30, 1e30), OTHER), Mark((1e300, 0), OTHER)]
    )


def test_a_map_goes_from_blue_to_red_and_a_mask_has_the_colours_of_voc() -> None:
    pixels = np.zeros((20, 40, 3), np.uint8)
    found = overlay_map(pixels, np.array([[0.0, 1.0]]))
    assert found[10, 0].tolist() == [0, 0, 127]
    assert found[10, -1].tolist() == [127, 0, 0]
    assert overlay_map(pixels, np.full((3, 3), 2.0)).shape == pixels.shape
    masked = overlay_mask(pixels, np.array([[0, 1]], np.uint8))
    assert masked[0, 0].tolist() == [0, 0, 0]
    assert masked[0, -1].tolist() == [64, 0, 0]


def test_the_verb_writes_the_page_and_prints_its_path(here: Any, made: Any, tmp_path: Path) -> None:
    places, addresses = made
    options = [f"--data-option={key}={value}" for key, value in TINY.items()]
    ask = ("show", "run", addresses["center voc07-point"], "--images", 2, "--runs", places.runs, *options)
    answer = here(*ask)
    assert answer.code == 0, answer.err
    path = places.runs / "sheets" / f"{addresses['center voc07-point']}.html"
    assert answer.out.splitlines()[-1] == f"Wrote {path}"
    assert here(*ask, "--out", tmp_path / "s.html", "--json").json()["written"] == str(tmp_path / "s.html")
    assert (tmp_path / "s.html").read_text() == path.read_text()
    assert here("show", "cam", "--images", 2).code == 2
