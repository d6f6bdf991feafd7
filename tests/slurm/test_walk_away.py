"""Submit and walk away: the terminal is killed, and the table is complete later."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from slurm_cluster import DATA, MEANS, Checkout, ended, until

pytestmark = pytest.mark.slow

MATRIX = ("--method", "cam,gmp,lse", "--protocol", "voc07-point,voc07-corloc", "--seed", "0,1", "--set", "epochs=1")


def test_the_terminal_may_be_killed_and_the_table_is_that_of_one_process(checkout: Checkout, tmp_path: Path) -> None:
    submit_and_lose_the_terminal(checkout, tmp_path, "--profile=own.toml", "--resource=pack=3", *MATRIX, *DATA, *MEANS)
    assert [one.state for one in until(ended, checkout.last)] == ["done"] * 6
    collected = checkout("collect")
    here = checkout("run", *MATRIX, *DATA, *MEANS, "--runs", "elsewhere")
    assert collected.out == here.out
    assert collected.out.count("\n  result ") == 12


def submit_and_lose_the_terminal(checkout: Checkout, folder: Path, *arguments: str) -> None:
    """`submit` from a shell on a terminal of its own, all of whose processes are killed as soon as it has answered."""
    ours, theirs = pty.openpty()
    command = f"{sys.executable} -m bench submit --runs runs {' '.join(arguments)} && sleep 600"
    environment = {**os.environ, "PYTHONPATH": str(checkout.folder)}
    shell = subprocess.Popen(
        ["bash", "-c", command],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
    os.close(theirs)
    said = b""
    with suppress(OSError):  # the shell ended, and so did its terminal
        while b"You can close this terminal" not in said:
            said += os.read(ours, 4096)
    os.killpg(shell.pid, signal.SIGHUP)
    os.killpg(shell.pid, signal.SIGKILL)
    os.close(ours)
    assert shell.wait() < 0, said.decode()
