"""Edited code never gives an old number in silence: a method, what it imports, and a net; of others, and ours."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from bench import registry
from bench.core.files import Places, read_json, write_json
from bench.core.source_code import digest_source
from bench.data.datasets import open_dataset
from bench.errors import BadFileError, RequestError
from bench.execution.pipeline import Request, run
from bench.execution.resolve import DatasetCache, ResolvedRun, resolve_request
from bench.records.result import Result, read_result
from bench.records.store import Store
from methods.nets import NETS, locate_net
from methods.nets.libraries import LIBRARIES

if TYPE_CHECKING:
    from conftest import Answer

TINY = {"train": 8, "val": 4, "test": 6, "size": 64, "classes": 4}
POINTS = '''"""Points where its helper says."""

import pyarrow as pa

from bench.method import Predictor


class Points(Predictor):
    kinds = ("points",)

    def predict(self, truth, proposals):
        from aim_beside import SHARE

        rows = [(image, label, 1.0, SHARE * width, 0.5 * height)
                for image, (width, height) in zip(truth.ids, truth.size) for label in truth.classes]
        return {"points": pa.table(dict(zip(("image", "label", "score", "x", "y"), map(list, zip(*rows)))))}
'''
NET = '''"""A net."""

from torch import nn

from methods.nets import describe_net
from width_beside import WIDTH

NET = describe_net(lambda: nn.Sequential(nn.Conv2d(3, WIDTH, 3, stride=8, padding=1), nn.ReLU()))
'''


@pytest.fixture(autouse=True)
def _no_plugins_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_PLUGINS", {"method": {}, "protocol": {}, "net": {}})
    monkeypatch.setattr(registry, "_LOADED", {})
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = {*sys.modules}
    yield
    for name in {*sys.modules} - before:
        if name.startswith("weakloc_plugin") or name.endswith("_beside"):
            del sys.modules[name]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("drawn")
    open_dataset("shapes", Places(runs), TINY)
    return runs


@pytest.fixture
def places(drawn: Path, tmp_path: Path) -> Places:
    return Places(Path(shutil.copytree(drawn, tmp_path / "runs")))


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    (tmp_path / "aim.py").write_text(POINTS)
    (tmp_path / "aim_beside.py").write_text("SHARE = 0.5\n")
    return tmp_path / "aim.py"


def asked(method: str, protocol: str = "voc07-point", **settings: Any) -> Request:
    return Request(method, registry.protocol(protocol), settings=settings, data="shapes", data_options=TINY)


def ran(places: Places, request: Request, **more: Any) -> Result:
    """The result of a run; raises its error."""
    report = run([request], places, device="cpu", workers=0, threads=1, **more)
    for error in report.failed.values():
        raise error
    return report.results[0]


def resolved(places: Places, request: Request) -> ResolvedRun:
    return resolve_request(request, DatasetCache(places), device=torch.device("cpu"), threads=1)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("aim.py", "0.5 * height", "0.0 * height"), ("aim_beside.py", "0.5", "0.0")],
    ids=["method", "helper"],
)
def test_an_edited_plugin_gives_its_new_number_at_once(
    places: Places, plugin: Path, name: str, old: str, new: str
) -> None:
    """The edits have the length of what they replace, and come in the same second and process."""
    registry.use_plugin(plugin)
    first = ran(places, asked("aim"))
    file = plugin.with_name(name)
    original = file.read_text()
    file.write_text(original.replace(old, new))
    registry.use_plugin(plugin)
    edited = ran(places, asked("aim"))
    assert edited.address != first.address
    assert edited.metrics != first.metrics
    file.write_text(original + "\n# a remark\n")
    registry.use_plugin(plugin)
    again = ran(places, asked("aim"))
    assert (again.address, again.created) == (first.address, first.created)


def test_an_edited_plugin_net_trains_anew_and_what_it_imports_counts(places: Places, tmp_path: Path) -> None:
    (tmp_path / "wide.py").write_text(NET)
    (tmp_path / "width_beside.py").write_text("WIDTH = 4\n")
    settings = {"net": "wide", "weights": "none", "epochs": 0}
    addresses = []
    for edit in ("WIDTH = 4\n", "WIDTH = 6  # wider\n", "WIDTH = 4  # as before\n"):
        (tmp_path / "width_beside.py").write_text(edit)
        registry.use_plugin(tmp_path / "wide.py")
        result = ran(places, asked("cam", **settings))
        addresses.append((result.training, result.predictions))
        assert result.provenance["net"] == registry.read_net_code("wide").own
    assert addresses[0] == addresses[2]
    assert not {*addresses[0]} & {*addresses[1]}


@pytest.mark.parametrize("name", ["timm:resnet18", "torchvision:resnet18"])
def test_the_version_of_a_library_counts(places: Places, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    addresses = []
    for version in ("1.0", "1.1", "1.0+cpu"):
        monkeypatch.setattr("importlib.metadata.version", lambda _, version=version: version)
        addresses.append(resolved(places, asked("cam", net=name, weights="none")).predictions.address)
    assert addresses[0] == addresses[2] != addresses[1]


def test_a_net_of_a_library_that_is_not_installed_is_refused(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "LIBRARIES", ("no_such_library",))
    with pytest.raises(RequestError, match="need the package no_such_library: pip install no_such_library"):
        _ = resolved(places, asked("cam", net="no_such_library:net", weights="none")).training


def test_every_net_is_found_in_the_module_that_defines_it() -> None:
    for name, net in NETS.items():
        values = [*vars(sys.modules[locate_net(name)]).values()]
        inside = [value for one in values if isinstance(one, dict) for value in one.values()]
        assert any(value is net for value in values + inside), name
        assert locate_net(name) in registry.read_net_code(name).shipped
    assert {*registry.LIBRARIES} == {*LIBRARIES}
    used = registry.read_net_code("vgg16").shipped.keys()
    assert used >= {"methods.nets.vgg16", "methods.nets.backbone", "methods.nets.weights"}
    assert not used & {"methods.nets.alexnet", "methods.nets.libraries", "methods.nets"}


def test_ours_are_in_no_address(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    before = resolved(places, asked("cam")).predictions
    edit(monkeypatch, "cam.py")
    assert resolved(places, asked("cam")).predictions == before
    assert not {"code", "net"} & before.describe().keys()


def edit(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Begin a process anew, before which modules of ours with these names were edited."""
    monkeypatch.setattr(registry, "_LOADED", {})
    monkeypatch.setattr(registry, "digest_source", lambda path: "edited" if path.name in names else digest_source(path))


@pytest.mark.parametrize(
    ("name", "module"),
    [("cam.py", "methods.cam"), ("map_method.py", "methods.layers.map_method"), ("tiny.py", "methods.nets.tiny")],
    ids=["method", "helper", "net"],
)
def test_an_edited_module_of_ours_is_refused_until_somebody_chooses(
    places: Places, monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    request = asked("cam", net="tiny", weights="none", epochs=1)
    first = ran(places, request)
    assert ran(places, request) == first
    edit(monkeypatch, name)
    with pytest.raises(RequestError, match=rf"cam under voc07-point, seed 0 was edited since: {module}\. Add --again"):
        ran(places, request)
    record = Store(places).result_path(first.address)
    record.rename(places.runs / "record.json")
    with pytest.raises(RequestError, match=module):  # what it was scored from is still there
        ran(places, request)
    (places.runs / "record.json").rename(record)
    kept = ran(places, request, stored="keep")
    assert kept.metrics == first.metrics
    assert kept.notes[-1] == f"kept (--keep) from before its code was edited: {module}"
    assert ran(places, request) == kept
    other = ran(places, asked("cam", "voc07-cls", net="tiny", weights="none", epochs=1))
    assert other.notes[-1] == kept.notes[-1]  # scored from what was kept
    anew = ran(places, request, stored="again")
    assert (anew.address, anew.notes) == (first.address, first.notes)
    assert anew.created >= first.created
    assert ran(places, request) == anew


def test_every_record_of_the_same_predictions_names_the_edited_modules(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = [asked("cam", protocol, net="tiny", weights="none", epochs=0) for protocol in ("voc07-point", "voc07-cls")]
    first = [ran(places, request) for request in ask]
    edit(monkeypatch, "cam.py")
    report = run(ask, places, device="cpu", workers=0, threads=1, stored="keep")
    assert {one.notes[-1] for one in report.results} == {"kept (--keep) from before its code was edited: methods.cam"}
    edit(monkeypatch)
    for request in ask:
        with pytest.raises(RequestError, match=r"edited since: methods\.cam\. Add"):
            ran(places, request)
    again = ran(places, ask[0], stored="again")
    assert again.metrics == first[0].metrics
    with pytest.raises(RequestError, match=r"methods \(its predictions were made anew since\)\. Add"):
        ran(places, ask[1])
    shutil.rmtree(places.runs / "predictions")
    shutil.rmtree(places.runs / "trainings")
    with pytest.raises(RequestError, match=r"methods \(the files that would tell which are gone\)\. Add"):
        ran(places, ask[1])


@pytest.mark.parametrize("name", ["gmp.py", "vgg16.py", "libraries.py"])
def test_what_a_run_does_not_use_may_be_edited(places: Places, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    request = asked("cam", net="tiny", weights="none", epochs=0)
    first = ran(places, request)
    edit(monkeypatch, name)
    assert ran(places, request) == first


def test_an_unfinished_training_is_not_continued_by_other_code(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    request = asked("cam", net="tiny", weights="none", epochs=1)
    with monkeypatch.context() as patched:
        patched.setattr("methods.cam.Cam.loss", interrupt)
        with pytest.raises(KeyboardInterrupt):
            ran(places, request)
    edit(monkeypatch, "cam.py")
    with pytest.raises(RequestError, match=r"methods\.cam"):
        ran(places, request)
    assert ran(places, request, stored="again").metrics


def test_what_is_older_than_digests_is_taken(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    request = asked("cam", net="tiny", weights="none", epochs=0)
    path = Store(places).result_path(ran(places, request).address)
    for file in places.runs.glob("*/*/code.json"):
        file.unlink()
    record = read_json(path)
    del record["provenance"]["code"]
    write_json(path, record)
    edit(monkeypatch, "cam.py")
    assert ran(places, request) == read_result(path)


def test_an_edit_under_a_process_that_has_loaded_the_file_is_said(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Heard:
        lines: list[str] = []

        def say(self, text: str) -> None:
            self.lines.append(text)

    request = asked("center")
    first = ran(places, request)
    loaded = registry._LOADED
    edit(monkeypatch, "center.py")
    monkeypatch.setattr(registry, "_LOADED", loaded)
    heard: Any = Heard()
    assert run([request], places, progress=heard, device="cpu", threads=1).results == [first]
    center = registry.ROOT / "methods" / "center.py"
    assert heard.lines[-1] == f"note: this process loaded these files before they were edited: {center}."


def test_a_helper_that_python_takes_from_elsewhere_is_refused(plugin: Path, tmp_path: Path) -> None:
    plugin.write_text(
        POINTS.replace("from aim_beside import SHARE", "SHARE = 0").replace("import py", "import json.tool\nimport py")
    )
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "tool.py").write_text("")
    registry.use_plugin(plugin)
    with pytest.raises(BadFileError, match=r"its json.tool is not .*tool\.py, but .*: rename one of them"):
        registry.method("aim")


@pytest.mark.slow
def test_the_command_line_in_a_copy_whose_method_is_edited(bench: Callable[..., Answer], tmp_path: Path) -> None:
    for folder in ("bench", "methods", "protocols", "slurm"):
        shutil.copytree(registry.ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    options = ",".join(f"{key}={value}" for key, value in TINY.items())
    command = ("run", "--method", "center", "--protocol", "voc07-point", "--data", "shapes", "--data-option", options)

    def metric(*more: str) -> float:
        (result,) = json.loads(bench(*command, "--json", *more).out)["results"]
        return float(result["metrics"]["accuracy"])

    first = metric()
    method = tmp_path / "methods" / "center.py"
    method.write_text(method.read_text().replace("x, y = truth.size[row].T / 2", "x, y = truth.size[row].T / 64"))
    refused = bench(*command)
    assert (refused.code, refused.out) == (2, "")
    assert "was edited since: methods.center. Add --again" in refused.err
    assert metric("--keep") == first
    assert metric("--again") != first
