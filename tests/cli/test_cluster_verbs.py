"""The cluster's verbs as their users meet them on a machine without SLURM."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import registry

Here = Callable[..., Any]

PRODUCT = ("--method", "center,cam", "--protocol", "voc07-point,voc07-corloc", "--seed", "0,1", "--data", "shapes")
TINY = ("--data-option", "train=8,val=4,test=6,size=64,classes=4")

PLAN = """\
6 runs: 3 jobs (2 train) in 3 tasks of 2 arrays

array  task  job  runs
0      0     0    center under voc07-point, seed 0; center under voc07-point, seed 1
1      0     1    cam under voc07-point, seed 0; cam under voc07-corloc, seed 0
1      1     2    cam under voc07-point, seed 1; cam under voc07-corloc, seed 1
"""

SCRIPT = """\
#!/bin/bash

# Parameters
#SBATCH --account=vision
#SBATCH --array=0-1%2
#SBATCH --cpus-per-task=8
#SBATCH --error=ATTEMPT/%A_%a_0_log.err
#SBATCH --exclusive
#SBATCH --gpus-per-node=1
#SBATCH --job-name=weakloc-DRY-RUN
#SBATCH --mem=32G
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output=ATTEMPT/%A_%a_0_log.out
#SBATCH --signal=USR2@90
#SBATCH --time=120
#SBATCH --wckey=submitit

# setup
export PYTHONSAFEPATH=1 PYTHONPATH=ROOT${PYTHONPATH:+:$PYTHONPATH}

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output ATTEMPT/%A_%a_%t_log.out --error ATTEMPT/%A_%a_%t_log.err \
PYTHON -u -m submitit.core._submit ATTEMPT
"""


@pytest.fixture(autouse=True)
def without_slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def test_a_dry_run_prints_the_plan_and_the_script_and_submits_nothing(here: Here, tmp_path: Path) -> None:
    asked = ("--profile", "gpu", "--resource", "time=2:00:00,account=vision", "--resource", "sbatch=--exclusive")
    answer = here("submit", "--dry-run", *asked, *PRODUCT, *TINY)
    said = {
        str(tmp_path / "runs/submissions/DRY-RUN/attempts/1"): "ATTEMPT",
        sys.executable: "PYTHON",  # before ROOT: it may lie in there
        str(registry.ROOT): "ROOT",
    }
    out = answer.out
    for found, name in said.items():
        out = out.replace(found, name)
    assert out.startswith(PLAN)
    assert SCRIPT in out
    assert answer.code == 2  # center has no boxes for CorLoc: said, and left out
    assert "center under voc07-corloc, seed 0; center under voc07-corloc, seed 1: center makes points" in answer.err
    assert not (tmp_path / "runs" / "submissions").exists()


def test_without_sbatch_a_submit_says_what_is_missing_and_what_to_do(here: Here) -> None:
    answer = here("submit", "--profile", "gpu", *PRODUCT, *TINY)
    assert answer.code == 2
    assert "No sbatch and no srun" in answer.err
    assert "--dry-run" in answer.err


def test_submit_says_how_to_follow_its_jobs(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slurm.jobs.send", lambda *_: None)
    ask = ("submit", "--cluster", "local", "--method", "center", "--protocol", "voc07-point", "--data", "shapes", *TINY)
    assert "Follow the jobs with python -m bench status, collect" in here(*ask).err
    assert "python -m bench status --runs 'my runs', collect" in here(*ask, "--runs", "my runs").err


@pytest.mark.parametrize("verb", ["status", "logs", "collect", "cancel", "resubmit"])
def test_with_nothing_submitted_every_verb_says_so(here: Here, verb: str) -> None:
    answer = here(verb)
    assert (answer.code, answer.out) == (2, "")
    assert "Nothing was submitted into runs" in answer.err
