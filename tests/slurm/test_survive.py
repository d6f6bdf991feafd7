"""Each job of a matrix meets another end: what can go on does, with the numbers that it would have had."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from slurm_cluster import DATA, MEANS, SCRIPT, Checkout, ask, ended, until, wait_for

from bench.core.lease import find_holder
from slurm.attempts import read_attempts
from slurm.status import JobStatus
from slurm.submission import Submission

pytestmark = pytest.mark.slow

NAMES = ("preempted", "warned", "cut", "killed", "raising", "crashed")
AGAIN = {"preempted": "Preempted.", "warned": "Out of time.", "crashed": "Its node failed."}
FAILED = {
    "cut": "Out of time.",
    "killed": "Its process was killed (out of memory?).",
    "raising": "ValueError: on purpose",
}
MATRIX = ("--protocol", "voc07-point,voc07-corloc", "--set", "epochs=3,batch_size=16")
METHOD = '''"""Learns as CAM does; waits in its second epoch until it may go on, and breaks there if it is told to."""
import time
from pathlib import Path

from methods.cam import Cam

class Waits(Cam):
    calls = 0

    def loss(self, images, labels):
        self.calls += 1
        if self.calls == 2:
            Path("{name}.waits").touch()
            while not Path("{name}.go").exists():
                time.sleep(0.1)
            if Path("{name}.raises").exists():
                raise ValueError("on purpose")
        return super().loss(images, labels)
'''
PROFILES = """
[methods.preempted]
cpus = 8
sbatch = "--nodelist=n1"
[methods.warned]
sbatch = "--nodelist=n3"
[methods.cut]
sbatch = ["--nodelist=n3", "--signal=CONT@1"]
[methods.killed]
sbatch = "--nodelist=n4"
[methods.raising]
sbatch = "--nodelist=n4"
[methods.crashed]
cpus = 8
"""
"""`cut` is not warned; `crashed` gets the node that is left, whole, and later any."""


@pytest.fixture
def nodes(cluster: Path) -> Iterator[Path]:
    """The cluster; nodes that a test crashed are up again after it."""
    yield cluster
    ask(SCRIPT, "up", cluster)


def test_whatever_ends_a_job_is_named_and_the_numbers_are_those_of_an_undisturbed_run(
    checkout: Checkout, nodes: Path, tmp_path: Path
) -> None:
    write_methods(tmp_path)
    asked = [f"--plugin={name}.py" for name in NAMES]
    asked += ["--method", ",".join(NAMES), *MATRIX, *DATA, *MEANS]
    assert checkout("submit", "--profile", "own.toml", *asked).code == 0
    submission = checkout.last
    wait_for([tmp_path / f"{name}.waits" for name in NAMES])
    disturb(submission, nodes, tmp_path)
    until(lambda found: all_met_their_end(found, tmp_path), submission)
    found = until(ended, submission)
    assert {name: one.restarts for name, one in zip(NAMES, found, strict=True) if one.restarts} == {
        name: (why,) for name, why in AGAIN.items()
    }
    failed = {name: one.reason for name, one in zip(NAMES, found, strict=True) if one.state == "failed"}
    assert failed.keys() == FAILED.keys()
    assert all(why in failed[name] for name, why in FAILED.items()), failed
    (tmp_path / "raising.raises").unlink()
    assert len(checkout("resubmit", "--json").json()["resubmitted"]) == len(FAILED)
    assert {one.state for one in until(ended, submission)} == {"done"}

    assert checkout("collect").out == checkout("run", *asked, "--runs", "elsewhere").out
    assert len(list((tmp_path / "runs" / "results").glob("*.json"))) == 12
    logs = list((tmp_path / "runs" / "trainings").glob("*/log.jsonl"))
    epochs = [[json.loads(line)["epoch"] for line in log.read_text().splitlines()] for log in logs]
    assert epochs == [[1, 2, 3]] * 6


def all_met_their_end(found: list[JobStatus], folder: Path) -> bool:
    """Whether every job was begun again, or has failed; who did may go on, so that nobody waits for its node."""
    for name, one in zip(NAMES, found, strict=True):
        if one.restarts or one.state == "failed":
            (folder / f"{name}.go").touch()
    return all((folder / f"{name}.go").exists() for name in NAMES)


def write_methods(folder: Path) -> None:
    """A method for each end, and in the profile where its job runs."""
    for name in NAMES:
        (folder / f"{name}.py").write_text(METHOD.format(name=name))
    (folder / "raising.raises").touch()
    with (folder / "own.toml").open("a") as profile:
        profile.write(PROFILES)


def disturb(submission: Submission, nodes: Path, folder: Path) -> None:
    """What happens to each."""
    tasks = {NAMES[number]: sent.id for number, sent in submission.list_sent().items()}
    ask("sbatch", "--partition=urgent", "--nodelist=n1", "--cpus-per-task=8", "--output=/dev/null", "--wrap=true")
    ask(SCRIPT, "crash", nodes, ask("squeue", "-h", "-j", tasks["crashed"], "-o", "%N").strip())
    end_in(100, tasks["warned"])  # it is told 90 seconds before
    end_in(5, tasks["cut"])
    holder = find_holder(submission.job_folder(NAMES.index("killed")) / "lease")
    assert holder is not None
    os.kill(holder.pid, signal.SIGKILL)
    (folder / "raising.go").touch()
    until(lambda _: read_attempts(submission.job_folder(NAMES.index("warned")))[0].end != "", submission)
    ask("scontrol", "update", f"JobId={tasks['warned']}", "TimeLimit=10")  # its next life has its time again


def end_in(seconds: float, task: str) -> None:
    """Let the time of a task end so much later than now."""
    end = datetime.now() + timedelta(seconds=seconds)
    ask("scontrol", "update", f"JobId={task}", f"EndTime={end:%Y-%m-%dT%H:%M:%S}")
