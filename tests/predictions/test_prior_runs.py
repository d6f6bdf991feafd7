"""Runs that build on other runs: how these are named, what stands for them in an address, what is said otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from proposal_files import save_npz

from bench import registry
from bench.core.files import Places
from bench.data.datasets import open_dataset
from bench.data.proposals import Proposals
from bench.errors import BenchError, MissingDataError, RequestError, UnknownNameError
from bench.execution.pipeline import Request, run
from bench.records.result import Result
from bench.records.store import Store

TINY = {"train": 3, "val": 2, "test": 4, "size": 64, "classes": 4}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """A runs folder with the synthetic set and its proposals: quarters and the whole of every picture."""
    places = Places(tmp_path_factory.mktemp("shared") / "runs")
    dataset = open_dataset("shapes", places, TINY)
    ids = dataset.ground_truth("trainval").ids + dataset.ground_truth("test").ids
    corners = [(0, 0, 32, 32), (32, 0, 64, 32), (0, 32, 32, 64), (0, 0, 64, 64)]
    save_npz(places.runs / "p.npz", Proposals.from_arrays(ids, [np.array(corners, np.float32)] * len(ids)))
    return places


def ran(places: Places, method: str, protocol: str = "voc07-det", **settings: Any) -> Result | BenchError:
    if "proposals" in registry.method(method).Config.model_fields:
        settings["proposals"] = str(places.runs / "p.npz")
    split = {key: settings.pop(key) for key in ("split", "train_split") if key in settings}
    request = Request(method, registry.protocol(protocol), settings=settings, data="shapes", data_options=TINY, **split)
    report = run([request], places, device="cpu", workers=0, threads=1)
    return report.results[0] if report.results else next(iter(report.failed.values()))


@pytest.fixture(scope="module")
def members(shared: Places) -> list[Result]:
    found = [ran(shared, "largest-proposal", min_proposal=size) for size in (0, 20)]
    assert all(isinstance(one, Result) for one in found)
    return found  # type: ignore[return-value]


def test_runs_are_named_by_result_or_predictions_or_how_these_begin(shared: Places, members: list[Result]) -> None:
    store = Store(shared)
    for one in members:
        folder = store.predictions_folder(one.predictions)
        names = (one.address, one.address[:9], one.predictions, one.predictions[:9])
        assert [store.find_predictions(name) for name in names] == [folder] * 4


def test_however_runs_are_named_the_result_is_the_same(shared: Places, members: list[Result]) -> None:
    by_result = ran(shared, "ensemble", runs="+".join(one.address[:9] for one in members))
    by_predictions = ran(shared, "ensemble", runs="+".join(one.predictions for one in members))
    assert isinstance(by_result, Result), by_result
    assert by_result == by_predictions
    assert by_result.config["runs"] == [one.predictions for one in members]
    assert (by_result.seed, by_result.training) == (None, None)
    other = ran(shared, "ensemble", runs=members[0].address)
    assert isinstance(other, Result)
    assert other.predictions != by_result.predictions


def test_a_file_stands_for_itself_by_its_content(shared: Places, members: list[Result], tmp_path: Path) -> None:
    file = Store(shared).predictions_folder(members[0].predictions) / "boxes.parquet"
    copies = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for copy in copies:
        copy.write_bytes(file.read_bytes())
    first, second = (ran(shared, "ensemble", runs=str(copy)) for copy in copies)
    assert isinstance(first, Result), first
    assert first == second
    assert first.config["runs"] == ["a.parquet"]


@pytest.mark.parametrize(
    ("settings", "kind", "says"),
    [
        ({}, RequestError, r"ensemble builds on other runs: give --set runs=ADDRESS\+ADDRESS \(python -m bench list"),
        ({"runs": "nobody"}, UnknownNameError, r"Unknown run 'nobody'\..* \(python -m bench list runs\)"),
        ({"runs": ""}, RequestError, "builds on other runs"),
    ],
)
def test_a_run_that_is_not_there_is_named(
    shared: Places, members: list[Result], settings: dict[str, str], kind: type, says: str
) -> None:
    error = ran(shared, "ensemble", **settings)
    assert isinstance(error, kind), error
    with pytest.raises(kind, match=says):
        raise error


def test_a_kind_that_its_runs_lack_is_asked_for_from_them(shared: Places, members: list[Result]) -> None:
    error = ran(shared, "ensemble", "voc07-cls", runs=members[0].address)
    address = members[0].predictions
    assert str(error) == f"Run {address} has no scores: run it under voc07-cls first, and name that run."


def test_what_one_protocol_lacks_does_not_keep_another_from_its_result(shared: Places, members: list[Result]) -> None:
    names, settings = ("voc07-cls", "voc07-det"), {"runs": members[0].address, "nms_iou": 0.29}
    asked = [
        Request("ensemble", registry.protocol(name), settings=settings, data="shapes", data_options=TINY)
        for name in names
    ]
    report = run(asked, shared, device="cpu", workers=0, threads=1)
    assert [result.protocol for result in report.results] == ["voc07-det"]
    assert list(report.failed) == ["ensemble under voc07-cls, seed 0"]


def test_runs_on_another_split_are_refused(shared: Places, members: list[Result]) -> None:
    error = ran(shared, "ensemble", "voc07-corloc", runs=members[0].address)
    assert isinstance(error, RequestError)
    assert "is on shapes test, without 5 of the 5 images of shapes trainval" in str(error)


def test_a_result_whose_predictions_are_not_kept_says_so(shared: Places, members: list[Result], tmp_path: Path) -> None:
    store = Store(Places(tmp_path))
    store.result_path("abc").parent.mkdir()
    store.result_path("abc").write_text(Store(shared).result_path(members[0].address).read_text())
    with pytest.raises(MissingDataError, match="The predictions of result ab not found"):
        store.find_predictions("ab")


def trained(places: Places, method: str, protocol: str, **settings: Any) -> Result | BenchError:
    small = {"net": "tiny", "weights": "none", "input_size": 64, "epochs": 1, "min_proposal": 0}
    return ran(places, method, protocol, **small, **settings)


def test_a_detector_learns_what_another_run_found_on_the_training_split(shared: Places) -> None:
    found = trained(shared, "wsddn", "voc07-corloc")
    assert isinstance(found, Result), found
    retrained = trained(shared, "fast-rcnn", "voc07-det", pseudo=found.address[:9])
    assert isinstance(retrained, Result), retrained
    assert retrained.config["pseudo"] == found.predictions
    assert retrained.train_split == found.split == "trainval"
    other = trained(shared, "wsddn", "voc07-corloc", lr=0.1)
    assert isinstance(other, Result)
    again = trained(shared, "fast-rcnn", "voc07-det", pseudo=other.address)
    assert isinstance(again, Result)
    assert again.training != retrained.training


def test_a_detector_refuses_objects_of_another_split(shared: Places) -> None:
    error = trained(
        shared, "fast-rcnn", "voc07-det", pseudo=getattr(trained(shared, "wsddn", "voc07-det"), "address", "")
    )
    assert isinstance(error, RequestError)
    assert "is on shapes test, without 5 of the 5 images of shapes trainval" in str(error)
    assert "fast-rcnn builds on other runs: give --set pseudo=ADDRESS (" in str(
        trained(shared, "fast-rcnn", "voc07-det")
    )
