"""What cannot end in a number is refused before anything is trained, once, and what can is run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import own_cases
import pytest
import torch

from bench import registry
from bench.core.files import Places
from bench.core.progress import SILENT, Step
from bench.data.datasets import open_dataset
from bench.data.ground_truth import ABSENT
from bench.errors import BenchError, RequestError, RunError
from bench.execution.forecast import forecast_runs
from bench.execution.pipeline import Request, run
from bench.execution.rehearsal import check_run, find_obstacle
from bench.execution.resolve import DatasetCache, ResolvedRun, resolve_request

if TYPE_CHECKING:
    from conftest import Answer

TINY = {"train": 8, "val": 4, "test": 6, "size": 64, "classes": 4}
SMALL: dict[str, Any] = {"net": "tiny", "weights": "none", "epochs": 1, "input_size": 32, "batch_size": 4}
METHOD = '''"""A method of one's own."""

from torch import nn

from bench.method import MapConfig, MapMethod, Maps


class Mine(MapMethod):
    Config = MapConfig

    def __init__(self, config, task):
        super().__init__(config, task)
        self.maps = nn.Conv2d(3, len(task.classes), 1)

    def forward(self, images):
        maps = self.maps(images)
        return Maps(maps.mean((2, 3)), maps)

    def loss(self, images, labels):
        return {"fit": (self(images).scores - labels).square().mean()}
'''


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    places = Places(tmp_path_factory.mktemp("drawn"))
    open_dataset("shapes", places, TINY)
    return places


@pytest.fixture
def write_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Path]]:
    monkeypatch.setattr(registry, "_PLUGINS", {"method": {}, "protocol": {}, "net": {}})

    def write(old: str, new: str) -> Path:
        (tmp_path / "mine.py").write_text(METHOD.replace(old, new))
        registry.use_plugin(tmp_path / "mine.py")
        return tmp_path / "mine.py"

    yield write
    sys.modules.pop("weakloc_plugin_mine", None)


def asked(method: str = "cam", protocol: str = "voc07-cls", **settings: Any) -> Request:
    given = SMALL | settings
    return Request(method, registry.protocol(protocol), settings=given, data="shapes", data_options=TINY)


def resolved(places: Places, *request: Any, **settings: Any) -> ResolvedRun:
    device = torch.device("cpu")
    return resolve_request(asked(*request, **settings), DatasetCache(places), device=device, threads=1)


class Said:
    """Progress that remembers its lines, and what was begun."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.tasks: list[str] = []

    def task(self, title: str, total: int, *, start: int = 0, unit: str = "images") -> AbstractContextManager[Step]:
        self.tasks.append(title)
        return SILENT.task(title, total)

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.mark.parametrize(
    ("method", "settings", "reason"),
    [
        ("cam", {"net": "timm:nope"}, "Unknown net of timm 'nope'"),
        ("cam", {"net": "nope"}, "Unknown net 'nope'"),
        ("wsddn", {"net": "torchvision:nope"}, "Unknown net of torchvision 'nope'"),
        ("danet", {"net": "timm:vit_tiny_patch16_224"}, "danet takes maps of 3 stages"),
        ("spg", {"net": "timm:vit_tiny_patch16_224"}, "spg takes maps of 2 stages"),
        ("cam", {"weights": "imagenet"}, "There are no ImageNet weights of tiny"),
        ("wsddn", {"weights": "imagenet"}, "or take a net that has them: alexnet, "),
        ("cam", {"net": "timm:test_vit4", "weights": "imagenet"}, "timm has no weights of timm:test_vit4"),
        ("grad-cam", {"layer": "backbone.nothing"}, "classifier has no layer 'backbone.nothing'"),
        ("grad-cam", {"layer": "backbone.roi_head"}, "layer=backbone.roi_head gives no feature maps"),
        ("mwp", {"net": "resnet50"}, "mwp has no rule for the sums of resnet50"),
        ("cam", {"warmup_epochs": 2, "epochs": 1}, "the whole training has 3: make it shorter"),
    ],
)
def test_what_cannot_be_trained_or_predicted_is_known_before(
    places: Places, method: str, settings: dict[str, Any], reason: str
) -> None:
    assert reason in str(find_obstacle(resolved(places, method, **settings)))


@pytest.mark.parametrize("method", ["cam", "spn", "danet", "gradient", "deconv", "lrp", "c-mwp", "wsddn"])
def test_what_works_meets_no_obstacle(places: Places, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does anything compute to find out."""
    from bench.execution import rehearsal

    devices = []
    attempt = rehearsal._try_method
    monkeypatch.setattr(rehearsal, "_try_method", lambda *given: (devices.append(given[-1]), attempt(*given)))
    check_run(resolved(places, method))
    assert devices == ["meta"]


def test_weights_of_a_file_have_to_fit(places: Places, tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", **{"trunk.0.weight": np.zeros((16, 3, 3, 3), np.float32)})
    found = find_obstacle(resolved(places, weights=str(tmp_path / "w.npz")))
    assert "its weights do not fit the net (missing: trunk.1.weight" in str(found)


def test_something_has_to_be_learned(places: Places) -> None:
    one = resolved(places)
    empty = replace(one.train, labels=np.full_like(one.train.labels, ABSENT))
    with pytest.raises(RequestError, match="none of 12 images of shapes trainval has a label"):
        check_run(replace(one, train=empty))


@pytest.mark.parametrize("protocol", ["voc07-cls", "voc07-point"])
def test_images_without_any_label_give_no_number(places: Places, protocol: str) -> None:
    one = resolved(places, "cam", protocol)
    empty = replace(one.test, labels=np.full_like(one.test.labels, ABSENT))
    assert "needs labels, which none of 6 images of shapes test has" in str(
        one.bound.find_missing_truth(one.dataset, empty)
    )
    assert one.bound.find_missing_truth(one.dataset, one.test) is None


def test_a_stride_that_a_net_has_in_any_case_is_no_other_net(places: Places) -> None:
    plain, same, other = (resolved(places, net=f"timm:resnet18{at}").predictions for at in ("", "@32", "@16"))
    assert plain == same != other


def test_an_equal_run_is_tried_once(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.execution import rehearsal

    tried: list[ResolvedRun] = []
    monkeypatch.setattr(rehearsal, "check_run", tried.append)
    cache, device = DatasetCache(places), torch.device("cpu")
    for seed in (0, 1):
        one = resolve_request(replace(asked(), seed=seed), cache, device=device, threads=1)
        assert find_obstacle(one) is None
    assert len(tried) == 1


def test_what_can_run_runs_and_the_rest_is_said_once_at_the_start(tmp_path: Path) -> None:
    places = Places(tmp_path)
    bad = [replace(asked("danet", net="timm:vit_tiny_patch16_224"), seed=seed) for seed in (0, 1)]
    requests, said = [bad[0], asked("center", "voc07-point"), bad[1]], Said()
    requests[1] = replace(requests[1], settings={})
    planned = forecast_runs(requests, DatasetCache(places), (), device="cpu", threads=1)
    assert [bool(one.error) for one in planned] == [True, False, True]
    report = run(requests, places, progress=said, device="cpu", workers=0, threads=1)
    assert [one.method for one in report.results] == ["center"]
    assert report.refused == set(report.failed) == {str(one) for one in bad}
    (line,) = [line for line in said.lines if line.startswith("Error")]
    assert line.startswith("Error: danet under voc07-cls, seed 0; danet under voc07-cls, seed 1: danet takes maps of 3")
    assert said.tasks == []
    assert planned[0].error == str(report.failed[str(bad[0])])
    assert not (tmp_path / "trainings").exists()


def test_an_obstacle_stops_nothing_that_is_stored(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = run([asked()], places, device="cpu", workers=0, threads=1).results

    def refuse(_: ResolvedRun) -> BenchError:
        return RequestError("The weights are gone.")

    for module in ("pipeline", "forecast"):
        monkeypatch.setattr(f"bench.execution.{module}.find_obstacle", refuse)
    report = run([asked()], places, device="cpu", workers=0, threads=1)
    assert report.results == [first]
    (again,) = run([asked()], places, device="cpu", workers=0, threads=1, stored="again").failed.values()
    assert "The weights are gone" in str(again)
    (planned,) = forecast_runs([asked()], DatasetCache(places), (), device="cpu", threads=1)
    assert planned.is_scored


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("nn.Conv2d(3, len", "nn.Conv3d(3, 'a', len", "mine fails before it is trained: TypeError: "),
        ("self.maps(images)", "self.mpas(images)", "mine fails before it is trained: AttributeError: "),
    ],
)
def test_code_of_ones_own_that_fails_is_named_with_its_line(
    places: Places, write_plugin: Callable[[str, str], Path], old: str, new: str, what: str
) -> None:
    write_plugin(old, new)
    line = METHOD[: METHOD.index(old)].count("\n") + 1
    found = str(find_obstacle(resolved(places, "mine")))
    assert what in found
    assert f"(mine.py, line {line}). Correct it: python -m bench check" in found


def test_code_of_ones_own_that_fails_later_gives_no_traceback(
    places: Places, write_plugin: Callable[[str, str], Path]
) -> None:
    file = write_plugin(".square().mean()}", ".square().mean(), 'more': nothing}")
    report = run([asked("mine"), asked()], places, device="cpu", workers=0, threads=1)
    (error,) = report.failed.values()
    assert isinstance(error, RunError)
    assert "mine failed: NameError: name 'nothing' is not defined (mine.py, line 20). Correct it" in str(error)
    assert f"python -m bench check --method mine --plugin {file} tests it" in str(error)
    assert len(report.results) == 1


def test_a_method_that_looks_at_numbers_is_tried_with_numbers(
    places: Places, write_plugin: Callable[[str, str], Path]
) -> None:
    write_plugin(
        "        self.maps = nn", "        self.flat = float(nn.Linear(1, 1).bias) == 0\n        self.maps = nn"
    )
    assert find_obstacle(resolved(places, "mine")) is None


def test_labels_alone_are_refused_before_training(here: Callable[..., Answer], tmp_path: Path) -> None:
    own_cases.write_folders(tmp_path / "labels", boxes=False)
    assert here("data", "init", "labels", "--out", "labels.toml").code == 0
    ask = ("run", "--method", "cam", "--protocol", "det", "--data", "labels.toml")
    for answer in (here(*ask, "--dry-run"), here(*ask)):
        assert answer.code == 2
        assert answer.err.count("det needs boxes, which 4 of 4 images of labels test lack. Add boxes") == 1
        assert "--protocol cls, and python -m bench predict RUN" in answer.err
    assert not (tmp_path / "runs" / "trainings").exists()
