"""`run --dry-run`: what would be made, read and downloaded, and how long that took before; nothing is made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from bench import registry
from bench.core.files import Places
from bench.data.datasets import open_dataset
from bench.execution.forecast import RunForecast, forecast_runs
from bench.execution.pipeline import Request, run
from bench.execution.resolve import DatasetCache
from bench.records.result import Result

if TYPE_CHECKING:
    from conftest import Answer

TINY = {"train": 8, "val": 4, "test": 6, "size": 64, "classes": 4}


def asked(method: str = "cam", protocol: str = "voc07-cls", *, seed: int = 0, **settings: Any) -> Request:
    learns = {} if method == "center" else {"net": "tiny", "weights": "none", "epochs": 2, "input_size": 32}
    record = registry.protocol(protocol)
    return Request(method, record, seed=seed, settings=learns | settings, data="shapes", data_options=TINY)


def forecast(places: Places, *requests: Request, known: Any = (), **more: Any) -> list[RunForecast]:
    return forecast_runs(requests, DatasetCache(places), known, device="cpu", threads=1, **more)


def ran(places: Places, *requests: Request) -> list[Result]:
    report = run(requests, places, device="cpu", workers=0, threads=1)
    assert not report.failed
    return report.results


@pytest.fixture
def places(tmp_path: Path) -> Places:
    open_dataset("shapes", Places(tmp_path / "runs"), TINY)
    return Places(tmp_path / "runs")


def test_what_is_stored_shared_and_to_do(places: Places) -> None:
    requests = [asked(), asked(protocol="voc07-point"), asked(seed=1), asked("center", "voc07-point")]
    first, second, third, center = forecast(places, *requests)
    assert [path.name for path in places.runs.iterdir()] == ["cache"]
    assert (first.training, first.predictions, first.images) == ("to do", "to do", {"training": 24, "prediction": 6})
    assert (second.training, second.predictions) == ("shared", "shared")
    assert (third.training, third.images["training"]) == ("to do", 24)
    assert (center.training, center.predictions, center.seconds) == (None, "to do", 0)
    results = ran(places, asked(), asked("center", "voc07-point"))
    first, second, third, center = forecast(places, *requests, known=results)
    assert first == RunForecast(first.run, "stored", "stored", is_scored=True)
    assert (second.training, second.predictions, second.images) == ("stored", "to do", {"prediction": 6})
    assert center.is_scored
    rates = results[0].images_per_second
    assert third.seconds == pytest.approx(24 / rates["training"] + 6 / rates["prediction"])
    assert third.memory_mib == results[0].peak_memory_mib
    assert third.like == f"{results[0].address}, {results[0].provenance['device']}"
    again, *_ = forecast(places, requests[0], stored="again")
    assert (again.training, again.predictions, again.seconds) == ("to do", "to do", None)


def test_only_runs_like_it_tell_how_long_it_takes(places: Places) -> None:
    known = ran(places, asked(epochs=1))
    for other in (asked(input_size=64), asked("gmp"), asked(net="squeezenet")):
        assert forecast(places, other, known=known)[0].seconds is None
    slow = known[0].model_copy(update={"images_per_second": {"training": 1.0, "prediction": 2.0}})
    elsewhere = slow.model_copy(update={"provenance": {"device": "abacus"}, "created": "2999"})
    assert forecast(places, asked(), known=[elsewhere, slow])[0].seconds == 24 + 3
    (far,) = forecast(places, asked(), known=[elsewhere])
    assert str(far.like).endswith(", abacus")


def test_a_begun_training_and_what_would_fail_are_said(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("methods.cam.Cam.loss", interrupt)
        with pytest.raises(KeyboardInterrupt):
            ran(places, asked())
    assert forecast(places, asked())[0].training == "begun"
    refused, missing = forecast(places, asked("center"), asked(weights="nowhere.pth"))
    assert "center makes points" in refused.error
    assert "nowhere.pth" in missing.error
    monkeypatch.setattr("bench.execution.forecast.find_edited", lambda *_: ["methods.cam"])
    assert "was edited since: methods.cam. Add --again" in forecast(places, asked())[0].error


def test_proposals_that_are_not_there_are_counted_and_not_computed(places: Places) -> None:
    (found,) = forecast(places, asked("wsddn", "voc07-det"))
    assert (found.proposals, found.training) == (18, "to do")
    assert not (places.cache / "proposals").exists()
    ran(places, asked("wsddn", "voc07-det", epochs=0))
    assert forecast(places, asked("wsddn", "voc07-det"))[0].proposals == 0


def test_weights_that_are_not_there_are_named(places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    request = asked(net="squeezenet", weights="imagenet")
    assert forecast(places, request)[0].download == "https://download.pytorch.org/models/squeezenet1_0-b66bff10.pth"
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / "squeezenet1_0-b66bff10.pth").touch()
    assert forecast(places, request)[0].download == ""
    assert forecast(places, asked(net="squeezenet"))[0].download == ""


def test_the_command_line_prints_a_line_a_run_and_does_nothing(here: Callable[..., Answer], places: Places) -> None:
    data = ",".join(f"{key}={value}" for key, value in TINY.items())
    command = (
        "run",
        "--method",
        "center,cam",
        "--protocol",
        "voc07-point,voc07-cls",
        "--data",
        "shapes",
        "--device",
        "cpu",
    )
    chosen = ("--data-option", data, "--set", "net=tiny,weights=none,epochs=2", "--threads", "1", "--dry-run")
    answer = here(*command, *chosen)
    lines = answer.out.splitlines()
    assert answer.code == 2  # center has no class scores
    assert lines[0].split() == ["run", "training", "predictions", "time", "memory", "as", "in"]
    assert lines[1].startswith("center under voc07-point, seed 0  none               to do (6 images)")
    assert ("to do (24 images)" in lines[2], "to do (6 images)" in lines[2]) == (True, True)
    assert lines[-1] == "2 of 3 runs to do, about 0:00:00, and 1 of which no record tells."
    assert "Error: center under voc07-cls, seed 0: center makes points" in answer.err
    document = json.loads(here(*command, *chosen, "--json").out)
    assert [bool(one["error"]) for one in document["runs"]] == [False, True, False, False]
    assert not any((places.runs / name).exists() for name in ("trainings", "predictions", "results"))
    refused = here(*command, *chosen, "--again", "--keep")
    assert (refused.code, "--again makes anew what --keep takes" in refused.err) == (2, True)
