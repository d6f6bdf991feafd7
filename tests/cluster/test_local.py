"""A submission on this machine, for real: jobs of a copied checkout, in processes that outlive the command."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import registry
from bench.core.files import Places
from bench.execution.pipeline import run
from bench.execution.resolve import Request
from slurm import status
from slurm.status import JobStatus
from slurm.submission import Submission, find

pytestmark = pytest.mark.slow

TINY = {"train": 8, "val": 4, "test": 6, "size": 64, "classes": 4}
DATA = ("--data", "shapes", "--data-option", ",".join(f"{key}={value}" for key, value in TINY.items()))
BREAKS = '''"""Breaks while there is a file that says how."""
import os
import time
from pathlib import Path
from typing import Any

from methods.center import Center

class Breaks(Center):
    def predict(self, truth, proposals):
        how = Path("how").read_text()
        if how == "raise":
            raise ValueError("on purpose")
        if how == "die":
            os._exit(9)
        if how == "sleep":
            time.sleep(600)
        return super().predict(truth, proposals)
'''


@pytest.fixture
def submit(tmp_path: Path, bench: Callable[..., Any]) -> Iterator[Callable[..., Submission]]:
    """`submit("cam")`: a submission from a copy of the code, which nobody edits; `breaks` is a plugin."""
    for folder in ("bench", "methods", "protocols", "slurm", "results/papers"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(registry.ROOT / folder, tmp_path / "checkout" / folder, ignore=ignored)
    (tmp_path / "breaks.py").write_text(BREAKS)
    places = Places(tmp_path / "runs")

    def sent(*arguments: str) -> Submission:
        means = ("--threads", "1", "--workers", "0", "--device", "cpu")
        means += () if "--table" in arguments else ("--protocol", "voc07-point")
        verb = ("--plugin", "breaks.py", "submit", "--cluster", "local", *means, *DATA, *arguments)
        answer = bench(*verb, PYTHONPATH=str(tmp_path / "checkout"))
        assert answer.code == 0, answer.err
        return find(None, places)

    yield sent
    for folder in (places.runs / "submissions").glob("*"):
        status.cancel(find(folder.name, places))


def settled(submission: Submission, *, ended: bool = True, seconds: float = 240) -> list[JobStatus]:
    """How its jobs are as soon as all ended; or one runs and says how far it is."""
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        found = status.statuses(submission)
        states = {one.state for one in found}
        if (ended and states <= {"done", "failed", "cancelled"}) or (not ended and "running" in states):
            return found
        time.sleep(0.2)
    raise TimeoutError(found)


def test_one_failed_job_stops_no_other_and_resubmit_finishes_it(
    submit: Callable[..., Submission], bench: Callable[..., Any], tmp_path: Path, places: Places
) -> None:
    (tmp_path / "how").write_text("raise")
    (tmp_path / "own.toml").write_text("parallel = 1\n[methods.breaks]\ncpus = 2\n")
    submission = submit("--method", "breaks,center,cam", "--set", "epochs=1", "--profile", "own.toml")
    broken, center, cam = settled(submission)
    assert broken.state == "failed"
    assert "breaks failed: ValueError: on purpose (breaks.py, line 13). Correct it" in broken.reason
    assert 'raise ValueError("on purpose")' in bench("logs").out  # the traceback
    assert (center.state, cam.state) == ("done", "done")
    (tmp_path / "how").write_text("work")
    answer = bench("resubmit", PYTHONPATH=str(tmp_path / "checkout"))
    assert "1 job resubmitted" in answer.out
    assert [one.state for one in settled(submission)] == ["done"] * 3
    collected = bench("collect", "--json").json()["results"]
    requests = [
        Request(name, registry.protocol("voc07-point"), settings=settings, data="shapes", data_options=TINY)
        for name, settings in (("center", {}), ("cam", {"epochs": 1}))
    ]
    here = run(requests, Places(tmp_path / "elsewhere"), device="cpu", workers=0, threads=1).results
    assert [one["metrics"] for one in collected[1:]] == [one.metrics for one in here]
    assert collected[0]["metrics"] == collected[1]["metrics"]


def test_a_killed_process_is_told_and_the_next_job_of_its_task_goes_on(
    submit: Callable[..., Submission], bench: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "how").write_text("die")
    broken, center = settled(submission := submit("--method", "breaks,center"))
    assert (broken.state, broken.reason) == ("failed", "Its process was killed (out of memory?).")
    assert f"{submission.folder.name}  " in (listed := bench("list", "submissions").out)
    assert "1 done, 1 failed" in listed
    assert bench("logs").out.startswith("job 0 breaks")
    assert center.state == "done"


def test_cancel_ends_what_runs_and_what_waits(
    submit: Callable[..., Submission], bench: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "how").write_text("sleep")
    submission = submit("--method", "breaks,center")
    assert [one.state for one in settled(submission, ended=False)] == ["running", "waiting"]
    assert "2 jobs cancelled" in bench("cancel").out
    assert [one.reason for one in status.statuses(submission)] == ["Cancelled.", "Cancelled."]
    assert [one.state for one in settled(submission)] == ["cancelled", "cancelled"]


def test_a_papers_table_fills_as_its_jobs_end(submit: Callable[..., Submission], bench: Callable[..., Any]) -> None:
    asked = ("--table", "spn-2", "--rows", "Center,CAM", "--set", "net=tiny,weights=none,epochs=1,input_size=64")
    submission = submit(*asked)
    assert [job.state for job in settled(submission)] == ["done", "done"]
    assert "spn-2: 8 of 8 cells measured" in bench("status").out
    collected = bench("collect")
    assert "8 of 8 cells measured" in collected.err
    shown = bench("table", "spn-2", "--data", "shapes").out
    assert shown == collected.out
    lines = [line.split() for line in shown.splitlines() if line.startswith("not comparable: c")]
    assert [line[2] for line in lines] == ["center", "cam"]
