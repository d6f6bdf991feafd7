"""A task's child and the signals that a cluster sends: it lets them pass, and stops when it is told to."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from bench import registry
from bench.core.files import Places
from bench.core.progress import SILENT
from bench.execution.pipeline import Report, Request
from slurm import worker
from slurm.plan import Job
from slurm.submission import Means, create, read


def busy(folder: Path) -> str:
    """Work that says when it has begun, and goes on until it may end; told to stop, it says so."""
    try:
        (folder / "begun").touch()
        while not (folder / "go").exists():
            time.sleep(0.05)
    except KeyboardInterrupt:
        (folder / "told").touch()
        os._exit(1)
    return "done"


@pytest.mark.parametrize("told", [False, True])
def test_the_signals_of_a_cluster_pass_by_a_child_and_its_task_can_stop_it(tmp_path: Path, told: bool) -> None:
    context = multiprocessing.get_context("spawn")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with ProcessPoolExecutor(1, mp_context=context, initializer=worker._prepare_child) as pool:
        with worker._hold_signals():
            working = pool.submit(busy, tmp_path)
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
        (child,) = multiprocessing.active_children()
        assert child.pid is not None
        os.kill(child.pid, signal.SIGUSR2)  # while it is still being born
        while not (tmp_path / "begun").exists():
            assert child.is_alive()
            time.sleep(0.05)
        os.kill(child.pid, signal.SIGUSR2)
        if told:
            worker._stop(child)
            assert (tmp_path / "told").exists()
            with pytest.raises(BrokenProcessPool):
                working.result()
        else:
            (tmp_path / "go").touch()
            assert working.result() == "done"


@pytest.mark.parametrize(("stored", "passed"), [("again", ["again", "take"]), ("keep", ["keep", "keep"])])
def test_only_the_first_attempt_deletes_what_is_to_be_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: Any, passed: list[str]
) -> None:
    """The others go on with what the first one made."""
    given: list[str] = []

    def run(*_: object, stored: str, prepared: Callable[[], object], **__: object) -> Report:
        given.append(stored)
        prepared()
        return Report()

    monkeypatch.setattr("bench.execution.pipeline.run", run)
    request = Request("center", registry.protocol("voc07-point"))
    made = create([request], [Job("center", False, (0,))], Places(tmp_path), Means("cpu", 0, 1, 64, stored=stored))
    made.job_folder(0).mkdir(parents=True)
    for _ in range(2):
        worker._report(read(made.folder), 0, SILENT)
    assert given == passed
