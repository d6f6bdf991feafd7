"""A product of runs: what is shared is made once, what is there is not made again, and what fails stops no other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from proposal_files import save_npz

from bench import registry
from bench.core.files import Places, read_json
from bench.core.progress import Step
from bench.data.datasets import open_dataset
from bench.data.proposals import Proposals
from bench.errors import DivergedError, MissingDataError, RequestError, RunError
from bench.execution.pipeline import Report, Request, run
from bench.execution.resolve import DatasetCache, ResolvedRun, resolve_request
from bench.records.store import Store
from methods.nets import build

TINY = {"train": 8, "val": 4, "test": 6, "size": 64, "classes": 4}
TRAIN, PREDICT = "Training cam", "Predicting with cam"


class Heard:
    """A progress that remembers tasks and lines."""

    def __init__(self) -> None:
        self.tasks, self.lines = list[str](), list[str]()

    @contextmanager
    def task(self, title: str, total: int, *, start: int = 0, unit: str = "images") -> Iterator[Step]:
        self.tasks.append(title)
        yield lambda done=1, **figures: None

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic set, drawn once."""
    runs = tmp_path_factory.mktemp("drawn")
    open_dataset("shapes", Places(runs), TINY)
    return runs


@pytest.fixture(autouse=True)
def with_pictures(drawn: Path, places: Places) -> None:
    shutil.copytree(drawn, places.runs)


def asked(method: str = "cam", protocol: str = "voc07-cls", **more: Any) -> Request:
    """A request on shapes; what is no part of a request is a setting."""
    given = {key: more.pop(key) for key in ("seed", "split", "train_split", "tuned_on") if key in more}
    record = registry.protocol(protocol).with_conventions(more.pop("conventions", {}))
    learns = {} if method in ("center", "largest-proposal", "best-proposal", "ensemble") else {"epochs": 1}
    return Request(method, record, settings=learns | more, data="shapes", data_options=TINY, **given)


def ran(places: Places, *requests: Request) -> tuple[Report, list[str]]:
    """What running the requests gave, and the tasks it took."""
    heard = Heard()
    report = run(requests, places, progress=heard, device="cpu", workers=0, threads=1)
    return report, heard.tasks


def proposals_file(places: Places, path: Path, *, without: int = 0) -> str:
    """Four quarters and the whole of every picture but the first ones of trainval."""
    dataset = open_dataset("shapes", places, TINY)
    ids = dataset.ground_truth("trainval").ids + dataset.ground_truth("test").ids
    corners = [(0, 0, 32, 32), (32, 0, 64, 32), (0, 32, 32, 64), (32, 32, 64, 64), (0, 0, 64, 64)]
    boxes = [np.array(corners, np.float32)[: 0 if row < without else 5] for row in range(len(ids))]
    save_npz(path, Proposals.from_arrays(ids, boxes))
    return str(path)


def test_protocols_share_a_training_and_one_pass_of_prediction(places: Places) -> None:
    names = ("voc07-cls", "voc07-point", "voc07-corloc")
    report, tasks = ran(places, *(asked(protocol=name) for name in names))
    assert tasks == [TRAIN, PREDICT, PREDICT]
    assert [result.protocol for result in report.results] == list(names)
    assert len({result.training for result in report.results}) == 1
    classified, pointed, localized = (result.predictions for result in report.results)
    assert classified == pointed != localized


def test_the_same_requests_again_do_nothing_and_give_the_same(places: Places) -> None:
    first, _ = ran(places, asked(), asked("center", "voc07-point"))
    again, tasks = ran(places, asked(), asked("center", "voc07-point"))
    assert tasks == []
    assert again == first
    assert {result.address for result in Store(places).list_results()} == {result.address for result in first.results}


def test_readouts_of_one_network_share_its_training(places: Places, tmp_path: Path) -> None:
    proposals = proposals_file(places, tmp_path / "p.npz")
    readouts = [asked(f"melm:{name}+arl", "voc07-det", proposals=proposals) for name in ("d", "l1", "l2")]
    report, tasks = ran(places, *readouts)
    assert tasks == ["Training melm", *["Predicting with melm"] * 3]
    assert len({result.training for result in report.results}) == 1
    assert len({result.predictions for result in report.results}) == 3
    assert [result.label for result in report.results] == ["melm:d+arl", "melm:l1+arl", "melm:l2+arl"]
    digests = {result.proposals_digest for result in report.results}
    assert len(digests) == 1
    assert None not in digests


@pytest.mark.parametrize(
    ("changes", "tasks"),
    [
        ({"conventions": {"iou_threshold": 0.3}}, []),
        ({"box_threshold": 0.5}, [PREDICT]),
        ({"flip_test": True}, [PREDICT]),
        ({"lr": 0.01}, [TRAIN, PREDICT]),
        ({"seed": 1}, [TRAIN, PREDICT]),
    ],
)
def test_what_changes_decides_what_is_done_again(places: Places, changes: dict[str, Any], tasks: list[str]) -> None:
    [before] = ran(places, asked(protocol="voc07-corloc"))[0].results
    report, found = ran(places, asked(protocol="voc07-corloc", **changes))
    assert found == tasks
    assert report.results[0].address != before.address


def test_epochs_of_0_judge_the_initial_weights(places: Places) -> None:
    report, tasks = ran(places, asked(epochs=0))
    assert tasks == [TRAIN, PREDICT]
    assert report.results[0].images_per_second.keys() == {"prediction"}


def test_a_request_that_fails_stops_no_other(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_a_number(self: Any, images: Any, labels: Any) -> dict[str, torch.Tensor]:
        return {"classification": self(images).scores.sum() * torch.nan}

    monkeypatch.setattr("methods.cam.Cam.loss", not_a_number)
    requests = [asked(), asked(protocol="voc07-point"), asked("center", "voc07-det"), asked("center", "voc07-point")]
    report, tasks = ran(places, *requests)
    assert [(result.method, result.protocol) for result in report.results] == [("center", "voc07-point")]
    assert {name: type(error) for name, error in report.failed.items()} == {
        "cam under voc07-cls, seed 0": DivergedError,
        "cam under voc07-point, seed 0": DivergedError,
        "center under voc07-det, seed 0": RequestError,
    }
    assert tasks == [TRAIN]  # once, for both that share it


def test_what_failed_goes_on_when_it_is_asked_again(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("methods.cam.Cam.probabilities", lambda self, scores: scores * torch.nan)
        report, _ = ran(places, asked())
        assert [type(error) for error in report.failed.values()] == [RunError]
    report, tasks = ran(places, asked())
    assert tasks == [PREDICT]
    assert not report.failed


def test_a_fault_of_ours_stops_no_other_run_either(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise IndexError("of ours")

    monkeypatch.setattr("methods.cam.Cam.loss", broken)
    report, _ = ran(places, asked(), asked("center", "voc07-point"))
    assert [result.method for result in report.results] == ["center"]
    [error] = report.failed.values()
    assert str(error).startswith("IndexError: of ours (test_pipeline.py, line ")
    assert "Traceback (most recent call last)" in str(error)
    with pytest.raises(IndexError, match="of ours"):  # alone, it is raised
        ran(places, asked())


def test_memory_that_does_not_suffice_is_no_traceback(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 TiB.\nDetails")

    monkeypatch.setattr("methods.cam.Cam.loss", too_much)
    report, _ = ran(places, asked())
    [error] = report.failed.values()
    assert str(error).startswith("Not enough memory (CUDA out of memory. Tried to allocate 9 TiB.).")


def test_the_exit_code_is_of_what_failed_and_the_others_are_printed(here: Any, tmp_path: Path, places: Places) -> None:
    options = [part for key, value in TINY.items() for part in ("--data-option", f"{key}={value}")]
    names = "voc07-point,voc07-det"
    answer = here(
        "run", "--method", "center", "--protocol", names, "--data", "shapes", *options, "--runs", places.runs, "--json"
    )
    assert answer.code == 2
    assert [result["protocol"] for result in json.loads(answer.out)["results"]] == ["voc07-point"]
    assert "Error: center under voc07-det, seed 0: center makes points" in answer.err


def test_photographs_that_are_missing_are_counted_and_complete_lists_named(places: Places) -> None:
    dataset = open_dataset("shapes", places, TINY)
    for image in dataset.ground_truth("test").ids[:2]:
        dataset.image_path(image).unlink()
    report, tasks = ran(places, asked(), asked("center", "voc07-point"), asked(split="val"))
    [error] = report.failed.values()
    assert isinstance(error, MissingDataError)
    assert "2 of 6 images of shapes test" in str(error)
    assert "Complete on this disk: " in str(error)
    assert "train, trainval, val (--split, --train-split)." in str(error)
    assert [result.method for result in report.results] == ["center", "cam"]
    assert tasks == [TRAIN, PREDICT]


def test_a_result_on_other_images_than_the_protocols_says_so(places: Places) -> None:
    report, _ = ran(places, asked("center", "voc07-point"), asked("center", "voc07-point", split="val"))
    assert [(result.split, result.partial) for result in report.results] == [("test", False), ("val", True)]


def test_corloc_judges_what_was_trained_on(places: Places) -> None:
    report, _ = ran(
        places,
        asked(protocol="voc07-corloc"),
        asked(protocol="voc07-corloc", train_split="train", split="test"),
        asked(train_split="train"),
    )
    assert [(result.train_split, result.split, result.partial) for result in report.results] == [
        ("trainval", "trainval", False),
        ("train", "train", True),
        ("train", "test", False),
    ]
    assert report.results[1].training == report.results[2].training


def test_what_looks_at_the_truth_says_so_and_depends_on_it(places: Places, tmp_path: Path) -> None:
    proposals = proposals_file(places, tmp_path / "p.npz")
    ceiling, floor = (
        asked(name, "voc07-corloc", proposals=proposals) for name in ("best-proposal", "largest-proposal")
    )
    best, largest = ran(places, ceiling, floor)[0].results
    assert (best.tuned_on, largest.tuned_on) == ("test-oracle", "none")
    assert best.metrics["CorLoc"] > largest.metrics["CorLoc"]
    dataset = open_dataset("shapes", places, TINY)
    truth = dataset.ground_truth("trainval")
    moved = replace(truth, objects=replace(truth.objects, box=truth.objects.box + 1))
    device = torch.device("cpu")
    addresses = []
    for each in (truth, moved):
        datasets = DatasetCache(places)
        datasets._truths[id(datasets.dataset("shapes", TINY)), "trainval"] = each
        runs = [resolve_request(request, datasets, device=device, threads=1) for request in (ceiling, floor)]
        addresses.append([run.predictions.address for run in runs])
    (best_then, floor_then), (best_now, floor_now) = addresses
    assert best_then == best.predictions != best_now
    assert floor_then == largest.predictions == floor_now


def test_kinds_that_are_missing_are_added_and_the_others_left_alone(places: Places) -> None:
    [classified] = ran(places, asked())[0].results
    folder = Store(places).predictions_folder(classified.predictions)
    before = (folder / "scores.parquet").stat()
    report, tasks = ran(places, asked(), asked(protocol="voc07-point"))
    assert tasks == [PREDICT]
    assert report.results[0] == classified
    after = (folder / "scores.parquet").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert {path.name for path in folder.iterdir() if path.suffix == ".parquet"} == {"scores.parquet", "points.parquet"}
    assert not (folder / "parts").exists()


def test_predictions_are_judged_without_the_weights_that_made_them(places: Places) -> None:
    [first] = ran(places, asked(protocol="voc07-corloc"))[0].results
    shutil.rmtree(places.runs / "trainings")
    report, tasks = ran(places, asked(protocol="voc07-corloc", conventions={"iou_compare": ">="}))
    assert tasks == []
    assert report.results[0].predictions == first.predictions


def test_what_was_deleted_is_made_again_the_same(places: Places) -> None:
    [first] = ran(places, asked())[0].results
    for folder in ("trainings", "predictions", "results"):
        shutil.rmtree(places.runs / folder)
    [again] = ran(places, asked())[0].results
    assert (again.address, again.metrics, again.per_class) == (first.address, first.metrics, first.per_class)


def test_a_training_folder_that_is_deleted_under_it_ends_the_run_with_a_word(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    from methods.cam import Cam

    loss = Cam.loss

    def deleting(self: Any, images: Any, labels: Any) -> Any:
        shutil.rmtree(places.runs / "trainings")
        return loss(self, images, labels)

    with monkeypatch.context() as patched:
        patched.setattr(Cam, "loss", deleting)
        report, _ = ran(places, asked(batch_size=12))
        assert "was deleted" in str(*report.failed.values())
        assert not (places.runs / "trainings").exists()
    assert not ran(places, asked(batch_size=12))[0].failed


def test_an_interrupted_run_gives_up_its_claims(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    for where in ("methods.cam.Cam.loss", "methods.cam.Cam.probabilities"):
        with monkeypatch.context() as patched:
            patched.setattr(where, interrupted)
            with pytest.raises(KeyboardInterrupt):
                ran(places, asked())
    claims = [read_json(path) for path in places.runs.glob("*/*/lease/*.json")]
    assert len(claims) == 3
    assert all(claim["released"] for claim in claims)
    assert ran(places, asked())[1] == [PREDICT]


def test_images_without_proposals_teach_nothing_and_are_said(places: Places, tmp_path: Path) -> None:
    heard = Heard()
    request = asked("wsddn", "voc07-corloc", proposals=proposals_file(places, tmp_path / "p.npz", without=3))
    report = run([request], places, progress=heard, device="cpu", workers=0, threads=1)
    assert "Skipped 3 images of trainval without proposals." in heard.lines
    assert report.results[0].images == 12


def test_a_record_says_what_it_took_and_names_no_path(places: Places, tmp_path: Path) -> None:
    proposals = proposals_file(places, tmp_path / "p.npz")
    report, _ = ran(places, asked("wsddn", "voc07-det", proposals=proposals), asked("center", "voc07-point"))
    learned, constant = report.results
    assert learned.seconds.keys() == {"training", "prediction", "scoring"}
    assert learned.images_per_second["training"] > 0
    assert learned.config["proposals"] == "p.npz"
    assert str(tmp_path) not in learned.model_dump_json()
    assert learned.peak_memory_mib
    assert (constant.training, constant.seed, constant.weights, constant.train_split) == (None, None, None, None)
    assert learned.weights == "none"
    assert {"revision", "dirty", "packages", "device"} <= learned.provenance.keys()


def test_what_was_learned_or_predicted_in_an_edited_checkout_stays_marked(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    def use(dirty: bool, *changed: str) -> None:
        found = {"revision": "r", "dirty": dirty, **({"changed": [*changed]} if changed else {})}
        monkeypatch.setattr("bench.core.provenance.read_revision", lambda _: found)

    request = asked(epochs=0)
    use(True, "bench/loop.py")
    [first] = ran(places, request)[0].results
    use(False)
    Store(places).result_path(first.address).unlink()
    [scored] = ran(places, request)[0].results
    shutil.rmtree(Store(places).predictions_folder(first.predictions))
    Store(places).result_path(first.address).unlink()
    [predicted] = ran(places, request)[0].results
    for result in (first, scored, predicted):
        assert (result.is_edited, result.provenance["changed"]) == (True, ["bench/loop.py"])
    shutil.rmtree(places.runs / "trainings")
    shutil.rmtree(Store(places).predictions_folder(first.predictions))
    Store(places).result_path(first.address).unlink()
    [anew] = ran(places, request)[0].results
    assert not anew.is_edited
    assert "changed" not in anew.provenance


def test_what_builds_on_a_run_of_an_edited_checkout_is_marked_too(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"proposals": proposals_file(places, tmp_path / "p.npz"), "net": "tiny"}

    def make(dirty: bool, method: str, protocol: str, **settings: Any) -> Any:
        found = {"revision": "r", "dirty": dirty, **({"changed": ["bench/loop.py"]} if dirty else {})}
        monkeypatch.setattr("bench.core.provenance.read_revision", lambda _: found)
        report, _ = ran(places, asked(method, protocol, **settings))
        assert not report.failed
        return report.results[0]

    for dirty in (True, False):
        seed = int(dirty)
        first = make(dirty, "wsddn", "voc07-corloc", **given, epochs=0, seed=seed)
        learned = make(False, "fast-rcnn", "voc07-det", **given, epochs=0, pseudo=first.address, nms_iou=1.0)
        both = make(False, "ensemble", "voc07-det", runs=learned.address)
        assert [one.is_edited for one in (first, learned, both)] == [dirty] * 3


@pytest.mark.parametrize(
    ("method", "settings", "said"),
    [
        ("cam", {}, ["the net learns"] * 2),
        ("cam", {"freeze_backbone": True}, ["freeze_backbone keeps pretrained weights, but weights=none has none"] * 2),
        ("cam", {"freeze_backbone": True, "weights": "FILE"}, []),
        ("has", {"freeze_backbone": True, "weights": "FILE"}, ["the method alters its images"] * 2),
        ("grad-cam", {"freeze_backbone": True, "weights": "FILE"}, ["grad-cam looks into the net"]),
        (
            "cam",
            {"freeze_backbone": True, "weights": "FILE", "augment": "crop", "color_jitter": "0.4+0.4+0.4+0.1"},
            ["augment=crop, color_jitter=0.4+0.4+0.4+0.1"] * 2,
        ),
        ("center", {}, []),
    ],
)
def test_why_features_are_computed_each_time_is_said_in_a_line(
    method: str, settings: dict[str, Any], said: list[str], places: Places, tmp_path: Path
) -> None:
    torch.save(build("tiny", "none", roi_head="own").state_dict(), tmp_path / "tiny.pth")
    weights = {"weights": str(tmp_path / "tiny.pth")} if "weights" in settings else {}
    heard = Heard()
    report = run([asked(method, "voc07-point", **settings | weights)], places, progress=heard, device="cpu", workers=0)
    assert not report.failed
    found = [line for line in heard.lines if "computed each time" in line]
    assert len(found) == len(said)
    assert all(why in line for why, line in zip(said, found, strict=True))


def test_a_result_has_the_name_that_was_asked_for(places: Places) -> None:
    released = {"inclusive": True, "smooth": True, "erased_by": "each", "map_alignment": "resize"}
    by_hand = asked("acol", epochs=0, **released)
    [first], [second] = (ran(places, one)[0].results for one in (by_hand, asked("acol:released", epochs=0)))
    assert first.address == second.address
    assert (first.label, second.label) == ("acol", "acol:released")


def test_what_tuned_a_run_is_recorded_and_never_taken_back(places: Places) -> None:
    said = ("none", "val-boxes", "none", "test-oracle")
    results = [ran(places, asked("center", "voc07-point", tuned_on=tuned))[0].results[0] for tuned in said]
    assert len({result.address for result in results}) == 1
    assert [result.tuned_on for result in results] == ["none", "val-boxes", "val-boxes", "test-oracle"]
    assert [result.tuned_on for result in Store(places).list_results()] == ["test-oracle"]


def test_a_file_that_a_setting_names_counts_by_its_content_and_is_recorded_by_its_name(
    places: Places, tmp_path: Path
) -> None:
    def job(name: str, content: str) -> ResolvedRun:
        (tmp_path / name).write_text(content)
        request = asked("danet", hierarchy=str(tmp_path / name))
        return resolve_request(request, DatasetCache(places), device=torch.device("cpu"), threads=1)

    addresses = [job(name, content).training.address for name, content in [("a", "x"), ("b", "x"), ("a", "y")]]  # type: ignore[union-attr]
    assert addresses[0] == addresses[1] != addresses[2]
    assert job("a", "x").public_config()["hierarchy"] == "a"


def test_a_protocol_gets_every_kind_that_it_takes(places: Places) -> None:
    report, tasks = ran(places, asked(protocol="cub-loc", train_split="trainval"), asked(protocol="voc07-cls"))
    assert tasks == [TRAIN, PREDICT]
    localized, classified = report.results
    assert set(localized.predictions_digest) == {"boxes", "scores"}
    assert localized.predictions_digest["scores"] == classified.predictions_digest["scores"]
    [center] = ran(places, asked("center", "voc07-point"))[0].results
    assert set(center.predictions_digest) == {"points"}


def test_a_proposal_method_is_judged_by_its_randomness(places: Places, tmp_path: Path) -> None:
    request = asked("wsddn", "voc07-randomness", proposals=proposals_file(places, tmp_path / "p.npz"))
    [result] = ran(places, request)[0].results
    assert set(result.predictions_digest) == {"proposals"}
    assert 0 < result.metrics["localization_accuracy"] < 1
    assert result.counts["pairs_without_proposals"] == 0


def test_maps_and_masks_of_a_run_are_judged_and_kept_as_folders(places: Places) -> None:
    names = ("voc07-seg", "cub-maxbox")
    requests = [asked(protocol="voc07-seg"), asked(protocol="cub-maxbox", split="test", train_split="trainval")]
    report, tasks = ran(places, *requests)
    assert tasks == [TRAIN, PREDICT]
    assert not report.failed
    segmented, boxed = report.results
    assert [segmented.protocol, boxed.protocol] == list(names)
    assert 0 < segmented.metrics["mIoU"] < 1
    assert segmented.predictions == boxed.predictions
    folder = Store(places).predictions_folder(segmented.predictions)
    assert {path.name for path in folder.iterdir() if path.suffix != ".json"} == {"maps", "masks", "lease"}
    assert len(list((folder / "masks").iterdir())) == 6
    assert ran(places, *requests) == (report, [])
    [other] = ran(places, asked(protocol="voc07-seg", mask_threshold=0.9))[0].results
    assert other.training == segmented.training
    assert other.metrics != segmented.metrics


def test_a_split_whose_truth_others_keep_is_predicted_and_not_judged(places: Places) -> None:
    dataset = open_dataset("shapes", places, TINY)
    judged = ran(places, asked(protocol="voc07-det", method="cam"))[0].results[0]
    shutil.rmtree(places.runs / "results")
    annotations = [dataset.folder / "Annotations" / f"{image}.xml" for image in dataset.ground_truth("test").ids]
    for path in annotations:
        path.unlink()
    report, tasks = ran(
        places, asked(protocol="voc07-det", method="cam", box_threshold=0.4), asked("center", "voc07-point")
    )
    assert tasks == [PREDICT]
    assert not report.results
    learned, center = report.failed.values()
    assert "The predictions are stored, but cannot be scored here: python -m bench export " in str(learned)
    assert "--protocol voc07-point" in str(center)
    dataset.image_path(dataset.unscored_ground_truth("test").ids[0]).unlink()
    [error] = ran(places, asked("center", "voc07-point"))[0].failed.values()
    assert isinstance(error, MissingDataError)
    assert "predicted" not in str(error)
    assert judged.images == 6
