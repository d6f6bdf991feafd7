"""`predict`: on photographs of a split it says what `run` said; on others it needs no dataset."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import bench as weakloc
from bench import registry
from bench.core.files import Places
from bench.core.lease import claim
from bench.data.datasets import open_dataset
from bench.data.proposals import Proposals
from bench.errors import BadFileError, UnknownNameError
from bench.execution.pipeline import Request, run
from bench.execution.trained import load_model
from bench.predictions.formats import read_any
from bench.predictions.table import resolve
from bench.records.store import Store

if TYPE_CHECKING:
    from conftest import Answer

SMALL: dict[str, Any] = {"train": 4, "val": 2, "test": 5, "size": 64, "classes": 3}
TINY: dict[str, Any] = {"net": "tiny", "weights": "none", "epochs": 1, "precision": "float32"}


class Made:
    """Runs of a map method, of an attribution and of a proposal method; three photographs of the test split."""

    def __init__(self, folder: Path) -> None:
        self.places = Places(folder / "runs")
        dataset = open_dataset("shapes", self.places, SMALL)
        draw, ids = np.random.default_rng(0), [f"{number:06}" for number in range(1, 20)]
        corners = np.array([[0, 0, 40, 40], [8, 8, 64, 60], [20, 4, 50, 64]])
        boxes = [np.clip(corners - draw.integers(0, 3, (3, 1)), 0, 64) for _ in ids]
        found = Proposals.from_arrays(ids, boxes)
        self.proposals = folder / "proposals.npz"
        np.savez(self.proposals, ids=np.array(found.ids), offsets=found.offsets, boxes=found.boxes)
        of_maps, of_boxes = TINY | {"input_size": 64}, TINY | {"input_size": 96, "proposals": str(self.proposals)}
        asked: list[tuple[str, str, dict[str, Any]]] = [
            ("cam", "voc07-cls", of_maps),
            ("cam", "voc07-point", of_maps),
            ("cam", "maxbox", of_maps | {"map_alignment": "resize"}),
            ("grad-cam", "voc07-point", of_maps),
            ("wsddn", "voc07-cls", of_boxes),
            ("wsddn", "voc07-det", of_boxes),
        ]
        more: dict[str, Any] = {"data": "shapes", "data_options": SMALL, "train_split": "trainval"}
        requests = [
            Request(name, registry.protocol(protocol), settings=settings, split="test", **more)
            for name, protocol, settings in asked
        ]
        report = run(requests, self.places, device="cpu", workers=0)
        assert not report.failed
        self.results = {f"{one.method} {one.protocol}": one for one in report.results}
        self.images = [dataset.image_path(name) for name in dataset.ground_truth("test").ids[1:4]]

    def rows(self, run: str, kind: str) -> list[dict[str, Any]]:
        """What the run predicted of the three photographs."""
        folder = Store(self.places).predictions_folder(self.results[run].predictions)
        names = {path.stem for path in self.images}
        return [row for row in pq.read_table(folder / f"{kind}.parquet").to_pylist() if row["image"] in names]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("predict"))


@pytest.mark.parametrize(
    ("run", "kinds"), [("cam voc07-point", ("points", "scores")), ("wsddn voc07-det", ("boxes", "scores"))]
)
def test_it_says_of_three_photographs_what_run_said(
    run: str, kinds: tuple[str, ...], made: Made, here: Callable[..., Answer], tmp_path: Path
) -> None:
    more = ["--proposals", made.proposals] if run.startswith("wsddn") else []
    asked = ("predict", made.results[run].address[:9], *made.images, "--runs", made.places.runs, "--device", "cpu")
    answer = here(*asked, *more, "--out", "out", "--json")
    document = answer.json()
    assert document == json.loads(Path("out/predictions.json").read_text())
    assert (document["method"], len(document["classes"])) == (run.split()[0], 3)
    assert [image["image"] for image in document["images"]] == [path.stem for path in made.images]
    for kind in kinds:
        expected, found = made.rows(run, kind), pq.read_table(f"out/{kind}.parquet").to_pylist()
        assert len(expected) >= 3
        for one, other in zip(expected, found, strict=True):
            assert one["score"] == pytest.approx(other["score"], abs=1e-6)  # a batch of another size, in its last bit
            assert {**one, "score": 0} == {**other, "score": 0}
    for image in document["images"]:
        with Image.open(f"out/pictures/{image['image']}.jpg") as picture:
            assert picture.height == 320
            assert picture.width in ([320] if more else [640, 960, 1280])
        assert list(image["scores"].values()) == sorted(image["scores"].values(), reverse=True)


def test_maps_are_those_of_run(made: Made) -> None:
    result = made.results["cam maxbox"]
    truth = open_dataset("shapes", made.places, SMALL).ground_truth("test")
    kept = resolve(read_any(Store(made.places).predictions_folder(result.predictions) / "maps", truth, ["maps"]), truth)
    names = [(truth.ids[image], truth.classes[label]) for image, label in zip(kept.image, kept.label, strict=True)]
    expected = dict(zip(names, kept.arrays(), strict=True))
    predicted = weakloc.load_model(result.address, runs=made.places.runs, device="cpu").predict(made.images)
    assert len(predicted.maps) == 9
    for key, found in predicted.maps.items():
        assert np.allclose(found, expected[key], atol=1e-5)


def test_an_attribution_explains_every_class_where_nobody_says_which_are_there(made: Made) -> None:
    result = made.results["grad-cam voc07-point"]
    assert result.config["map_classes"] == "present"
    predicted = weakloc.load_model(result, runs=made.places.runs, device="cpu").predict(made.images)
    points = {(row["image"], row["label"]): row for row in predicted.tables["points"].to_pylist()}
    assert len(points) == 9
    for row in made.rows("grad-cam voc07-point", "points"):
        found = points[row["image"], row["label"]]
        assert (found["x"], found["y"]) == (row["x"], row["y"])


def test_any_photograph_will_do_and_the_text_says_what_is_seen(
    made: Made, here: Callable[..., Answer], tmp_path: Path
) -> None:
    (tmp_path / "mine" / "deep").mkdir(parents=True)
    draw = np.random.default_rng(0)
    rotated = Image.Exif()
    rotated[0x0112] = 6
    Image.fromarray(draw.integers(0, 256, (40, 70, 3), dtype=np.uint8)).save(tmp_path / "mine/Zoë 1.jpg", exif=rotated)
    Image.fromarray(draw.integers(0, 256, (30, 20), dtype=np.uint8)).save(tmp_path / "mine/deep/grey.PNG")
    (tmp_path / "mine" / "notes.txt").write_text("no photograph")
    Image.new("RGB", (6, 4)).save(tmp_path / "mine/deep/b.gif")
    Image.new("RGB", (6, 4)).save(tmp_path / "mine/no.suffix", "PNG")
    asked = ("predict", made.results["cam voc07-point"].predictions, "mine", "--runs", made.places.runs)
    answer = here(*asked, "--device", "cpu", "--out", "out")
    assert answer.code == 0, answer.err
    assert [line for line in answer.out.splitlines() if not line.startswith("  ")] == ["Zoë 1", "deep/grey"]
    assert answer.out.count(": point ") == 6
    assert "note: 1 photograph has an EXIF rotation, which viewers apply" in answer.err
    left_out = "note: 1 file left out (.gif; only JPEG and PNG are read): deep/b.gif. Convert them to JPEG or PNG."
    assert left_out in answer.err
    assert "left out (a JPEG or PNG by content, not by name): no.suffix. Name them .jpg, .jpeg" in answer.err
    model = weakloc.load_model(made.results["cam voc07-point"], runs=made.places.runs, device="cpu")
    assert f"note: {model.predict(tmp_path / 'mine').notes[0]}" == left_out
    with Image.open(tmp_path / "out/pictures/deep/grey.jpg") as picture:
        assert picture.height == 320
    assert pq.read_table(tmp_path / "out/scores.parquet").num_rows == 6


def test_a_model_in_python_is_a_module_with_frames_and_pictures(made: Made) -> None:
    import torch

    model = weakloc.load_model(made.results["cam voc07-point"], runs=made.places.runs, device="cpu")
    assert isinstance(model.method, torch.nn.Module)
    assert not model.method.training
    assert model.classes == open_dataset("shapes", made.places, SMALL).classes
    predicted = model.predict(str(made.images[0]))
    assert predicted.to_frame("points")["label"].tolist() == list(model.classes)
    assert predicted.to_frame().columns.tolist() == ["image", "label", "score", "x1", "y1", "x2", "y2"]
    assert Image.open(io.BytesIO(predicted.draw(made.images[0].stem))).format == "JPEG"
    with pytest.raises(UnknownNameError, match="kind of prediction of cam 'masks'"):
        predicted.to_frame("masks")


def test_classes_come_from_the_dataset_where_no_result_is_left(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.places.runs, tmp_path / "runs", ignore=shutil.ignore_patterns("results", "cache"))
    places, address = Places(tmp_path / "runs"), made.results["cam voc07-point"].predictions
    asked: list[str] = []

    def find(name: str) -> tuple[str, ...]:
        asked.append(name)
        return ("a", "b", "c")

    assert load_model(address, places, find_classes=find, device="cpu").classes == ("a", "b", "c")
    assert asked == ["shapes"]
    with pytest.raises(BadFileError, match="not a checkpoint of ours"):
        load_model(address, places, find_classes=lambda name: ("a", "b"), device="cpu")


def test_code_that_was_edited_since_is_named(made: Made, here: Callable[..., Answer], tmp_path: Path) -> None:
    shutil.copytree(made.places.runs, tmp_path / "runs", ignore=shutil.ignore_patterns("cache"))
    result = made.results["cam voc07-point"]
    code = tmp_path / "runs" / "trainings" / str(result.training) / "code.json"
    known = json.loads(code.read_text())
    assert "methods.cam" in known["modules"]
    known["modules"]["methods.cam"] = "another"
    code.write_text(json.dumps(known))
    answer = here("predict", result.address, made.images[0], "--runs", tmp_path / "runs", "--device", "cpu")
    assert "note: the code of this run was edited since, so predictions may differ: methods.cam\n" in answer.err
    assert weakloc.load_model(result, runs=made.places.runs, device="cpu").notes == ()


def no_weights(made: Made, folder: Path) -> tuple[Places, str]:
    shutil.copytree(made.places.runs, folder / "runs", ignore=shutil.ignore_patterns("trainings", "cache"))
    return Places(folder / "runs"), made.results["cam voc07-point"].address


def test_what_has_no_model_says_so(made: Made, here: Callable[..., Answer], tmp_path: Path) -> None:
    places, address = no_weights(made, tmp_path)
    untrained = run(
        [Request("center", registry.protocol("voc07-point"), data="shapes", data_options=SMALL)], places, device="cpu"
    ).results[0]
    image = made.images[0]
    (tmp_path / "empty").mkdir()
    wsddn = made.results["wsddn voc07-det"]
    for runs, name, paths, message in (
        (places, address, [image], "The weights of training "),
        (places, untrained.address, [image], "is of center, which learns nothing: there is no model to load."),
        (places, "zzz", [image], "Unknown run 'zzz'."),
        (made.places, address, [tmp_path / "none.jpg"], "Photograph not found"),
        (made.places, address, [tmp_path / "empty"], "No photograph (.jpg, .jpeg, .png) in"),
        (made.places, wsddn.address, [image], "This run used proposals.npz: give --proposals"),
    ):
        answer = here("predict", name, *paths, "--runs", runs.runs, "--device", "cpu")
        assert (answer.code, answer.out) == (2, ""), answer
        assert message in answer.err


def test_a_second_prediction_replaces_the_first_even_after_a_kill(
    made: Made, here: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("predict", made.results["cam maxbox"].address, "--runs", made.places.runs, "--device", "cpu")
    with monkeypatch.context() as patch:
        patch.setattr("bench.verbs.prediction.AT_ONCE", 1)
        assert here(*asked, *made.images, "--out", "out").code == 0
    assert len([*Path("out/maps").iterdir()]) == 3
    Path("out/.unfinished/pictures").mkdir(parents=True)  # as a process that was killed leaves it
    Path("out/.unfinished/pictures/old.jpg").touch()
    Path("out/predictions.json").unlink()
    assert here(*asked, made.images[0], "--out", "out").code == 0
    names = {path.relative_to("out").as_posix() for path in Path("out").rglob("*") if path.is_file()}
    tables = {"predictions.json", "boxes.parquet", "points.parquet", "scores.parquet"}
    assert names == {*tables, "maps/000000.parquet", f"pictures/{made.images[0].stem}.jpg"}
    before = Path("out/predictions.json").read_text()
    (tmp_path / "broken.jpg").write_bytes(b"none")
    assert here(*asked, "broken.jpg", "--out", "out").code == 2
    assert Path("out/predictions.json").read_text() == before
    assert here(*asked, "broken.jpg", "--out", "fresh").code == 2
    assert not Path("fresh").exists()


def test_a_folder_that_another_process_writes_into_is_refused(
    made: Made, here: Callable[..., Answer], tmp_path: Path
) -> None:
    asked = ("predict", made.results["cam maxbox"].address, "--runs", made.places.runs, "--device", "cpu")
    with claim(Path("out/.unfinished/lease"), unless=lambda: False):
        answer = here(*asked, made.images[0], "--out", "out")
        assert answer.code == 3
        assert f"--out out: process {os.getpid()} on " in answer.err
        assert "is writing there. Wait for it, or give another folder." in answer.err
        assert [path.name for path in Path("out").iterdir()] == [".unfinished"]
    assert here(*asked, made.images[0], "--out", "out").code == 0
    assert not Path("out/.unfinished").exists()


def test_all_photographs_that_cannot_be_read_are_named(made: Made, here: Callable[..., Answer], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    shutil.copy(made.images[0], tmp_path / "mine")
    for name in ("cut", "short"):
        whole = made.images[1].read_bytes()
        (tmp_path / "mine" / f"{name}{made.images[1].suffix}").write_bytes(whole[: len(whole) // 2])
    address = made.results["cam voc07-point"].address
    answer = here("predict", address, "mine", "--runs", made.places.runs, "--device", "cpu", "--out", "out")
    assert (answer.code, answer.out) == (2, "")
    assert "2 of 3 photographs cannot be read: mine/cut." in answer.err
    model = weakloc.load_model(address, runs=made.places.runs, device="cpu")
    with pytest.raises(BadFileError, match="2 of 3 photographs cannot be read: "):
        model.predict(tmp_path / "mine")


@pytest.mark.parametrize("with_document", [False, True])
def test_a_folder_with_files_of_others_is_refused(
    with_document: bool, made: Made, here: Callable[..., Answer], tmp_path: Path
) -> None:
    (tmp_path / "out" / "pictures").mkdir(parents=True)
    mine = tmp_path / "out" / ("maps" if with_document else "pictures") / "mine.jpg"
    mine.parent.mkdir(exist_ok=True)
    mine.touch()
    if with_document:
        (tmp_path / "out" / "predictions.json").write_text('{"run": "a", "method": "b", "images": []}')
    asked = ("predict", made.results["cam voc07-point"].address, made.images[0], "--runs", made.places.runs)
    answer = here(*asked, "--device", "cpu", "--out", "out")
    assert answer.code == 2
    assert f"--out out: predict did not write {mine.parent.name}/mine.jpg. Give a new or empty folder." in answer.err
    assert mine.exists()
    assert "predict did not write this file" in here(*asked, "--device", "cpu", "--out", mine).err


def test_a_photograph_is_never_replaced_by_its_picture(made: Made, here: Callable[..., Answer], tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    shutil.copy(made.images[0], tmp_path / "pictures" / "mine.jpg")
    before = (tmp_path / "pictures" / "mine.jpg").read_bytes()
    address = made.results["cam voc07-point"].address
    answer = here("predict", address, "pictures", "--runs", made.places.runs, "--device", "cpu", "--out", ".")
    assert answer.code == 2
    assert "--out .: the photograph pictures/mine.jpg lies in it. Give another folder." in answer.err
    assert (tmp_path / "pictures" / "mine.jpg").read_bytes() == before
