"""The processes of a task meet where all of them look, and nowhere twice."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from slurm import ranks

NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
Met = tuple[str, ...]


@pytest.fixture
def met(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Met]:
    """`met(3, job=1, life=0)`: what torch is told, by NAMES, in one of four processes on two nodes."""

    def told(rank: int, *, job: int = 0, life: int = 0, size: int = 4) -> Met:
        for name in NAMES:
            monkeypatch.setenv(name, "")
        task = {"JOB_ID": 77, "NTASKS": size, "PROCID": rank, "LOCALID": rank % 2, "JOB_NUM_NODES": 2}
        for name, value in {**task, "JOB_NODELIST": "n[3-4]", "RESTART_COUNT": life}.items():
            monkeypatch.setenv(f"SLURM_{name}", str(value))
        monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
        ranks.meet(job)
        return tuple(os.environ[name] for name in NAMES)

    return told


def test_each_process_has_its_number_and_all_meet_at_the_first_node(met: Callable[..., Met]) -> None:
    ours, theirs = met(0), met(3)
    assert (ours[:4], theirs[:4]) == (("0", "0", "4", "2"), ("3", "1", "4", "2"))
    assert ours[4:] == theirs[4:]
    assert (ours[4], int(ours[5]) in ranks.PORTS) == ("n3", True)


def test_each_job_and_each_life_has_a_port_of_its_own(met: Callable[..., Met]) -> None:
    assert len({met(0, job=job, life=life)[5] for job in range(3) for life in range(3)}) == 9


def test_one_process_meets_nobody(met: Callable[..., Met]) -> None:
    assert set(met(0, size=1)) == {""}
