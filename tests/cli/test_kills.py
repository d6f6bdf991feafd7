"""Every verb that writes more than one file, killed before each of its file operations: the same again mends it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from kills import KILLED, check_kills, check_refusals, read_state, run_child
from tune_cases import write_tunable

from bench import registry
from bench.analysis import baselines
from bench.cli.main import invoke
from bench.core.files import Places
from bench.records.collection import StoredResult
from bench.records.names import compute_address
from bench.records.replicates import replicates_path
from bench.records.result import list_records, read_result, write_result
from bench.site import build
from bench.site.folder import SiteFile

MEASURED = registry.ROOT / "results" / "measured"
CHOSEN = ("voc07-corloc.cam.6335e8042b5c27534a1e", "voc07-corloc.danet.9f428e9b82ab3b2b81ad")


def call(*arguments: object) -> Callable[[], None]:
    """An action: the command line, which must succeed."""

    def act() -> None:
        if code := invoke([str(argument) for argument in arguments]):
            raise SystemExit(code)

    return act


def check_messages(said: list[str]) -> None:
    """Each says which file could not be written, why and what to do."""
    failed = [text for text in said if not text.startswith("0 ")]  # the last operations write nothing
    assert len(failed) > len(said) / 2
    for text in failed:
        rule = r"3 .*Error: /.*: No space left on device\. The disk is full \([\d.]+ \w+ free in /.*\): make room"
        assert re.match(rule, text, re.DOTALL), text
        assert "Traceback" not in text


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with two results in its runs folder."""
    folder = tmp_path / "root"
    for name in CHOSEN:
        record = MEASURED / f"{name}.json"
        result = read_result(record)
        there = folder / "runs" / "results" / f"{result.address}.json"
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(record, there)
        shutil.copy(replicates_path(record), replicates_path(there))
        shutil.copy(record.with_suffix(".parquet"), there.with_suffix(".parquet"))
        log = folder / "runs" / "trainings" / str(result.training) / "log.jsonl"
        log.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(record.with_suffix(".log.jsonl"), log)
    return folder


def put_former_baselines(folder: Path, runs: Path) -> None:
    """Accept results of the same things as those of a runs folder, but of other predictions."""
    formers = []
    for record in list_records(runs / "results"):
        result = read_result(record)
        address = compute_address("former", result.protocol, result.digest, result.truth_digest)
        former = result.model_copy(update={"predictions": "former", "address": address, "method": result.method})
        path = runs.parent / "former" / f"{result.method}.json"
        write_result(path, former)
        shutil.copy(replicates_path(record), replicates_path(path))
        formers.append(StoredResult(former, path))
    baselines.accept(formers[:1], folder, "first", Places(runs))


def without_times(name: str, content: bytes) -> bytes:
    """Leave out of the ledger when it was, and the checkout; and which records were checked before."""
    if "/checked-records-" in name:
        return b""
    return re.sub(rb'"(when|revision)": "[^"]*"', b"", content) if name.endswith(baselines.LEDGER) else content


def test_publish(root: Path) -> None:
    address = CHOSEN[0].rpartition(".")[2]
    publish = call("publish", address, "--runs", root / "runs", "--into", root / "into")
    count = check_kills(publish, root)
    assert count > 10
    check_messages(check_refusals(publish, root, range(1, count + 1)))


def test_accepting_baselines(root: Path) -> None:
    folder = root / "results" / "baselines"
    put_former_baselines(folder, root / "runs")
    places = ("--runs", root / "runs", "--results", root / "results")

    def check() -> None:
        assert len(baselines.read(folder, Places(root / "runs"))) in (1, 2)  # never two of one thing

    assert check_kills(call("gate", "--accept", "second", *places), root, without_times, check) > 10
    lines = [json.loads(line) for line in (folder / baselines.LEDGER).read_text().splitlines()]
    assert [line["reason"] for line in lines] == ["first", "second", "second"]
    assert {each.result.address for each in baselines.read(folder, Places(root / "runs"))} == {
        name.rpartition(".")[2] for name in CHOSEN
    }


def list_texts(pages: dict[str, str]) -> list[SiteFile]:
    return [SiteFile(path, text, partial(str, text)) for path, text in pages.items()]


def test_the_site_is_the_old_one_or_the_new_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site, pages = root / "site", {"index.html": "old", "run/a.html": "old"}
    monkeypatch.setattr(build, "list_files", lambda _: list_texts(pages))
    build.write([], site)
    old = read_state(site)
    pages |= {"index.html": "new", "run/b.html": "new"}

    def check() -> None:
        aside = list(root.glob(".site.*.before"))
        there = read_state(site if site.exists() else aside[0])
        assert there == old or there["index.html"] == b"new"

    assert check_kills(lambda: build.write([], site), root, check=check) > 10


def test_a_site_that_was_moved_aside_comes_back(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "list_files", lambda _: list_texts({"index.html": "page"}))
    build.write([], root / "site")
    renames = [at for at in range(1, 40) if run_child(lambda: build.write([], root / "site"), root, at)[0] == KILLED]
    assert renames
    for at in renames:
        run_child(lambda: build.write([], root / "site"), root, at)
        monkeypatch.setattr(build, "list_files", lambda _: list_texts({"a/../../x": "b", "\0": ""}))
        assert run_child(lambda: build.write([], root / "site"), root)[0] != 0
        assert (root / "site" / "index.html").read_text() == "page"
        monkeypatch.setattr(build, "list_files", lambda _: list_texts({"index.html": "page"}))


@pytest.mark.slow
def test_scoring_a_file(root: Path) -> None:
    data = ("--data", "shapes", "--data-option", "train=2,val=2,test=4,size=64", "--runs", root / "runs")
    assert invoke(["run", "--method", "center", "--protocol", "voc07-point", *map(str, data)]) == 0
    (file,) = (root / "runs" / "predictions").glob("*/points.parquet")
    shutil.copy(file, root / "points.parquet")

    def clean(name: str, content: bytes) -> bytes:
        if not name.startswith("runs/results") or not name.endswith(".json"):
            return content
        return json.dumps(json.loads(content) | {"created": "", "provenance": {}}).encode()

    score = call("score", "--predictions", root / "points.parquet", "--protocol", "voc07-point", *data)
    count = check_kills(score, root, clean)
    assert count > 8
    check_messages(check_refusals(score, root, range(1, count + 1)))


@pytest.mark.slow
def test_describing_a_folder(root: Path) -> None:
    from PIL import Image

    for number in range(20):
        path = root / "photographs" / f"class{number % 2}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (number, 0, 0)).save(path)
    options = ("--out", root / "mine.toml", "--runs", root / "runs")
    assert check_kills(call("data", "init", root / "photographs", *options), root) > 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_with_its_feature_cache(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from methods.nets import build

    weights = root / "tiny.pth"
    torch.save(build("tiny", "none").state_dict(), weights)
    data = ("--data", "shapes", "--data-option", "train=4,val=2,test=2,size=64,classes=2", "--runs", root / "runs")
    settings = f"net=tiny,weights={weights},epochs=1,batch_size=2,input_size=64,freeze_backbone=true"
    means = ("--device", "cpu", "--workers", "0", "--threads", "1", "--set", settings)

    def clean(name: str, content: bytes) -> bytes:
        """Leave out holders, times, and the checkout."""
        if name.startswith("runs/results") and name.endswith(".json"):
            record = json.loads(content)
            return json.dumps([record[key] for key in ("metrics", "intervals", "per_class", "config")]).encode()
        known = ("/lease/", "/cache/truth/", "log.jsonl", "done.json", "scores.json", "code.json")
        return b"" if any(each in name for each in known) else content

    committed = {"revision": "c" * 40, "dirty": False}
    monkeypatch.setattr("bench.core.provenance.read_revision", lambda _: committed)  # it starts nine processes a run
    assert invoke(["data", "shapes", *map(str, data[2:])]) == 0
    train = call("run", "--method", "cam", "--protocol", "voc07-cls", *means, *data)
    assert check_kills(train, root, clean) > 30


@pytest.mark.slow
def test_the_end_of_a_search(root: Path) -> None:
    track = write_tunable(root)
    means = ("--device", "cpu", "--workers", "0", "--trials", "2", "--runs", root / "runs")
    search = ("tune", "--track", track, "--method", "cam", *means)
    assert invoke([*map(str, search), "--dry-run"]) == 0
    assert check_kills(call(*search), root) > 2


@pytest.mark.slow
def test_mirroring_into_mlflow(root: Path) -> None:
    from bench.tracking.mirror import open_store, sync

    runs = Places(root / "runs")
    with open_store(runs):
        pass

    def check() -> None:
        assert set(sync(runs).failed) == set()
        assert len(sync(runs).already) == len(CHOSEN)

    before = root.with_name("root-before")
    shutil.copytree(root, before)
    code, count = run_child(partial(sync, runs), root)
    assert (code, count > 5) == (0, True)
    for at in range(1, count + 1):
        shutil.rmtree(root)
        shutil.copytree(before, root)
        assert run_child(partial(sync, runs), root, at)[0] in (0, KILLED)  # MLflow does not do the same each time
        check()
