"""Claims: one holder at a time, whoever asks and however a holder ended."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from bench.core.lease import Holder, Lease, claim, has_links
from bench.errors import BusyError, RunError
from bench.records.store import Store

HOLDING = """
import sys, time
from pathlib import Path
from bench.core.lease import claim
with claim(Path(sys.argv[1]), unless=lambda: False):
    print("held", flush=True)
    time.sleep(600)
"""

COUNTING = """
import sys
from pathlib import Path
from bench.core.lease import claim
folder, done, tally = (Path(each) for each in sys.argv[1:])
print("ready", flush=True)
sys.stdin.readline()
with claim(folder, unless=done.exists, poll=0.01) as lease:
    if lease is not None:
        with tally.open("a") as file:
            file.write("worked\\n")
        lease.check()
        done.touch()
"""


def never() -> bool:
    return False


class Heard:
    """A progress that remembers what was said, and then does something."""

    def __init__(self, then: Callable[[], object]) -> None:
        self.lines, self.then = list[str](), then

    def say(self, text: str) -> None:
        self.lines.append(text)
        self.then()

    def task(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "7f51" / "lease"


@pytest.fixture
def holder(folder: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Start a process that holds the folder."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", HOLDING, str(folder)], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def held_by(folder: Path, holder: Holder, *, number: int = 1, age: float = 0) -> Path:
    """A claim as another process would have left it, its last sign of life `age` seconds ago."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number}.json"
    path.write_text(json.dumps(asdict(holder)))
    os.utime(path, (time.time() - age,) * 2)
    return path


def elsewhere(**changes: Any) -> Holder:
    return replace(Holder("another.host", 7, "123", None, "their token"), **changes)


def claimed_within(folder: Path, seconds: float) -> bool:
    """Whether the folder can be claimed before `seconds` are over."""
    end = time.monotonic() + seconds
    with claim(folder, unless=lambda: time.monotonic() > end, poll=0.02) as lease:
        return lease is not None


def is_free(folder: Path) -> bool:
    return claimed_within(folder, 30)


def is_held(folder: Path) -> bool:
    return not claimed_within(folder, 0.1)


def wait_until(true: Callable[[], bool]) -> bool:
    end = time.monotonic() + 30
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return true()


def test_what_is_done_is_not_claimed(folder: Path) -> None:
    with claim(folder, unless=lambda: True) as lease:
        assert lease is None
    assert not folder.exists()


def test_a_claim_says_who_holds_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    with claim(folder, unless=never) as lease:
        assert lease is not None
        assert json.loads(lease.path.read_text())["pid"] == os.getpid()
        assert str(lease.holder).endswith(", job 4711")
        assert not lease.holder.is_dead


def test_a_claim_is_given_up_when_the_work_ends_well_or_not(folder: Path) -> None:
    with claim(folder, unless=never):
        assert is_held(folder)
    with pytest.raises(KeyboardInterrupt), claim(folder, unless=never):
        raise KeyboardInterrupt
    assert is_free(folder)
    assert not list(folder.glob(".*"))


def test_who_waits_says_for_whom_once_and_goes_on_when_the_work_is_done(folder: Path, tmp_path: Path) -> None:
    done = tmp_path / "done"
    heard = Heard(then=lambda: threading.Timer(0.2, done.touch).start())
    held_by(folder, elsewhere())
    with claim(folder, unless=done.exists, progress=heard, poll=0.02) as lease:
        assert lease is None
    assert heard.lines == ["Waiting for process 7 on another.host, which is working on 7f51."]


def test_work_that_was_finished_between_looking_and_claiming_is_not_done_again(folder: Path) -> None:
    looks = iter([False, True])
    with claim(folder, unless=lambda: next(looks)) as lease:
        assert lease is None
    assert is_free(folder)


def test_of_many_threads_one_holds_at_a_time(folder: Path) -> None:
    inside, most, worked = [0], [0], [0]
    gate = threading.Barrier(16)

    def work(_: int) -> None:
        gate.wait()
        with claim(folder, unless=never, poll=0.001):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.002)
            worked[0] += 1
            inside[0] -= 1

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    assert (most, worked) == ([1], [16])


def test_of_many_processes_one_does_the_work(folder: Path, tmp_path: Path) -> None:
    done, tally = tmp_path / "done", tmp_path / "tally"
    command = [sys.executable, "-c", COUNTING, str(folder), str(done), str(tally)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes: list[subprocess.Popen[str]] = [subprocess.Popen(command, **pipes) for _ in range(8)]  # type: ignore[call-overload]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0] * 8
    assert tally.read_text() == "worked\n"


def test_of_many_that_find_a_stale_claim_one_takes_it_over(folder: Path) -> None:
    held_by(folder, elsewhere(), age=1000)
    gate = threading.Barrier(12)
    end = threading.Event()

    def take(_: int) -> Lease | None:
        gate.wait()
        with claim(folder, unless=end.is_set, poll=0.001) as lease:
            if lease is not None:
                time.sleep(0.3)
                lease.check()
                end.set()
            return lease

    with ThreadPoolExecutor(12) as pool:
        winners = [lease for lease in pool.map(take, range(12)) if lease is not None]
    assert [lease.path.name for lease in winners] == ["2.json"]


def test_a_claim_of_a_killed_process_is_taken_over_at_once(folder: Path, holder: Any) -> None:
    process = holder()
    assert is_held(folder)
    process.kill()
    process.wait()
    assert is_free(folder)


def test_a_killed_process_that_nobody_has_reaped_is_dead_too(folder: Path, holder: Any) -> None:
    process = holder()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_free(folder)


def test_a_process_that_has_the_number_of_a_dead_one_does_not_keep_its_claim(folder: Path) -> None:
    with claim(folder, unless=never) as lease:
        assert lease is not None
        mine = lease.holder
    held_by(folder, replace(mine, started="0", token="before the reboot"), number=5)
    assert is_free(folder)


@pytest.mark.parametrize("where", [{"host": "another.host"}, {"space": "pid:[another container]"}])
def test_of_processes_elsewhere_only_the_heartbeat_tells(folder: Path, where: dict[str, str]) -> None:
    with claim(folder, unless=never) as lease:
        assert lease is not None
        theirs = replace(lease.holder, pid=99_999_999, token="their token", **where)
    path = held_by(folder, theirs, number=5, age=60)
    assert is_held(folder)
    os.utime(path, (time.time() - 121,) * 2)
    assert is_free(folder)


def test_a_holder_shows_that_it_lives(folder: Path) -> None:
    with claim(folder, unless=never, patience=0.4) as lease:
        assert lease is not None
        os.utime(lease.path, (0, 0))
        assert wait_until(lambda: lease.path.stat().st_mtime > 0)


def test_a_heartbeat_that_could_not_be_written_is_not_the_last(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    utime, failures = os.utime, [OSError(5, "Input/output error")] * 2

    def failing(*arguments: Any) -> None:
        if failures:
            raise failures.pop()
        utime(*arguments)

    monkeypatch.setattr(os, "utime", failing)
    with claim(folder, unless=never, patience=0.4) as lease:
        assert lease is not None
        utime(lease.path, (0, 0))
        assert wait_until(lambda: lease.path.stat().st_mtime > 0)
        assert not failures


def test_who_was_taken_over_may_not_publish(folder: Path) -> None:
    with claim(folder, unless=never) as lease:
        assert lease is not None
        lease.check()
        held_by(folder, elsewhere(), number=2)
        with pytest.raises(BusyError, match=r"taken over by another process .* Run the same command again"):
            lease.check()
    assert is_held(folder)


@pytest.mark.parametrize(("taken_over", "error"), [(True, BusyError), (False, FileNotFoundError)])
def test_a_file_that_vanishes_means_a_takeover_only_where_there_was_one(
    folder: Path, taken_over: bool, error: type[Exception]
) -> None:
    def publish() -> None:
        with claim(folder, unless=never):
            if taken_over:
                held_by(folder, elsewhere(), number=2)
            (folder.parent / ".weights.pt.part").rename(folder.parent / "weights.pt")

    with pytest.raises(error):
        publish()


def test_who_lost_the_folder_may_not_publish(folder: Path) -> None:
    with claim(folder, unless=never) as lease:
        assert lease is not None
        shutil.rmtree(folder.parent)
        with pytest.raises(BusyError, match="was deleted"):
            lease.check()
        held_by(folder, elsewhere())
        with pytest.raises(BusyError):
            lease.check()
    assert is_held(folder)


def test_a_claim_that_never_reached_the_disk_whole_is_nobodys(folder: Path) -> None:
    held_by(folder, elsewhere()).write_bytes(b"")
    assert is_free(folder)


def test_a_store_claims_with_its_own_patience(places: Any) -> None:
    store = Store(places, patience=10)
    work = store.training_folder("7f51")
    held_by(work / "lease", elsewhere(), age=11)
    with store.claim(work, unless=never) as lease:
        assert lease is not None
        assert lease.path == work / "lease" / "2.json"


def test_a_file_system_without_hard_links_is_called_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_links(tmp_path)

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    assert not has_links(tmp_path)
    with (
        pytest.raises(RunError, match=r"has no hard links, .* give --runs DIR"),
        claim(tmp_path / "lease", unless=lambda: False),
    ):
        pass
    assert not list(tmp_path.rglob("*.part"))
