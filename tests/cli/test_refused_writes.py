"""A full disk, a limit on the size of files, a folder that may not be written: what is said, and the run after it."""

from __future__ import annotations

import errno
import json
import re
import resource
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from kills import check_refusals, read_state, run_child
from PIL import Image
from tune_cases import write_tunable

from bench import registry
from bench.cli.main import invoke
from bench.site import build
from bench.site.folder import SiteFile

SAYS = {
    errno.ENOSPC: r"No space left on device\. The disk is full \([\d.]+ \w+ free in /.*\): make room",
    errno.EACCES: r"Permission denied\. Not allowed: change the permissions, or give another folder",
    errno.EFBIG: r"File too large\. A file may not be that large here \(ulimit -f\): raise the limit",
}
PUBLISHED = "voc07-corloc.cam.6335e8042b5c27534a1e"
SMALL = ("--data", "shapes", "--data-option", "train=4,val=2,test=2,size=64,classes=2")
MEANS = ("--device", "cpu", "--workers", "0", "--threads", "1")


def call(*arguments: object) -> Callable[[], None]:
    def act() -> None:
        if code := invoke([str(argument) for argument in arguments]):
            raise SystemExit(code)

    return act


def keep_numbers(name: str, content: bytes) -> bytes:
    """Keep of a run's files what is to be the same each time."""
    if name.startswith("runs/results") and name.endswith(".json"):
        record = json.loads(content)
        return json.dumps([record[key] for key in ("address", "metrics", "intervals", "per_class")]).encode()
    return content if name.endswith(("weights.pt", "parquet")) and "/cache/" not in name else b""


def reset(root: Path) -> None:
    """Put back what was there before the start."""
    shutil.rmtree(root)
    shutil.copytree(root.with_name(f"{root.name}-before"), root)


def read_numbers(root: Path) -> dict[str, bytes]:
    return {name: content for name, content in read_state(root, keep_numbers).items() if content}


def write_photographs(folder: Path) -> None:
    for number in range(4):
        path = folder / f"class{number % 2}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (number, 0, 0)).save(path)


def publish(folder: Path) -> None:
    """Copy a published result."""
    (folder / "measured").mkdir(parents=True)
    for file in (registry.ROOT / "results" / "measured").glob(f"{PUBLISHED}.*"):
        shutil.copy(file, folder / "measured")


def check(said: list[str], refusal: int) -> None:
    """Most were refused, and say which file, why and what to do; what needs no more writes succeeds."""
    refused = [text for text in said if not text.startswith("0 ")]
    assert refused
    for text in refused:
        assert re.search(rf"Error: /.*: {SAYS[refusal]}", text), text
        assert "Traceback" not in text


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def start(action: Callable[[], None], root: Path) -> tuple[int, dict[str, bytes]]:
    """Do something undisturbed; return how many operations it had and what it left, and put all back."""
    before = root.with_name(f"{root.name}-before")
    shutil.copytree(root, before)
    action()  # here, so that the children find everything imported
    reset(root)
    code, count = run_child(action, root)
    assert code == 0
    return count, read_numbers(root)


@pytest.mark.slow
def test_a_run(root: Path) -> None:
    settings = ("--set", "net=tiny,weights=none,epochs=1,batch_size=2,input_size=64")
    place = ("--runs", root / "runs")
    assert invoke([*map(str, ("data", "shapes", *SMALL[2:], *place))]) == 0
    train = call("run", "--method", "cam", "--protocol", "voc07-point", *SMALL, *settings, *MEANS, *place)
    count, expected = start(train, root)

    def compare() -> None:
        assert read_numbers(root) == expected

    for refusal, points in ((errno.ENOSPC, (2, count // 2, count - 5)), (errno.EACCES, (count // 3,))):
        check(check_refusals(train, root, points, refusal, compare), refusal)
    reset(root)
    log = root.with_name("log")
    code, _ = run_child(lambda: limit_files(train), root, log=log)
    check([f"{code} {log.read_text()}"], errno.EFBIG)
    assert run_child(train, root)[0] == 0
    compare()


def limit_files(action: Callable[[], None]) -> None:
    """Do something where no file may have more than 30 kB, which no weights fit in."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    action()


@pytest.mark.parametrize("refusal", [errno.ENOSPC, errno.EACCES])
def test_a_site_baselines_and_a_description(root: Path, refusal: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [SiteFile(path, path, partial(str, "text")) for path in ("index.html", "run/b.html")]
    monkeypatch.setattr(build, "list_files", lambda _: pages)
    (root / "none").mkdir()
    write_photographs(root / "photographs")
    publish(root / "results")
    places = ("--runs", root / "none", "--results", root / "results")
    verbs = (
        call("report", "--out", root / "site", *places),
        call("gate", "--accept", "why", "--allow-dirty", *places),
        call("data", "init", root / "photographs", "--out", root / "mine.toml", "--runs", root / "runs"),
    )
    for verb in verbs:
        count, _ = start(verb, root)
        reset(root)
        check(check_refusals(verb, root, range(1, count, max(1, count // 4)), refusal), refusal)
        shutil.rmtree(root.with_name("root-before"))


@pytest.mark.slow
def test_a_search(root: Path) -> None:
    track = write_tunable(root)
    place = ("--trials", "2", "--runs", root / "runs")
    tune = call("tune", "--track", track, "--method", "cam", *MEANS[:4], *place)
    count, _ = start(tune, root)
    chosen = track.read_bytes()
    said = check_refusals(tune, root, (2, count // 2, count - 1), errno.ENOSPC)
    check(said, errno.ENOSPC)
    assert track.read_bytes() == chosen
