"""Sixteen jobs that end together, mirrored to each kind of store: every metric is there, once."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from bench.core.files import Places
from bench.records.names import compute_address
from bench.tracking.mirror import ADDRESS, sync

pytestmark = pytest.mark.slow

JOBS, EPOCHS = 16, 5
JOB = """
import json, sys, time
from pathlib import Path
import pyarrow as pa
from bench.core.files import Places, write_text
from bench.records.names import compute_address
from bench.records.result import Result
from bench.records.store import Store
runs, number, epochs = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
lines = [json.dumps({"epoch": epoch, "loss": number + 1 / epoch}) + "\\n" for epoch in range(1, epochs + 1)]
write_text(runs / "trainings" / f"t{number}" / "log.jsonl", "".join(lines))
(runs / f"ready{number}").touch()
while not (runs / "go").exists():
    time.sleep(0.01)
result = Result(
    address=compute_address(f"p{number}", "voc07-det", "d", "t"),
    protocol="voc07-det", family="detection", digest="d", conventions={}, truth_digest="t",
    ids_digest="i", dataset="shapes", split="test", images=2, partial=False, method="melm", seed=number,
    predictions=f"p{number}", training=f"t{number}", config={"lr": 0.1}, metrics={"mAP_11pt": number / 16},
    higher_is_better={"mAP_11pt": True}, intervals={"mAP_11pt": (0.0, 1.0)}, seconds={"training": 1.0},
)
Store(Places(runs)).record(result, pa.table({"image": ["000001"]}))
"""


def until(there: Callable[[], bool], seconds: float = 300) -> None:
    begin = time.monotonic()
    while not there():
        assert time.monotonic() - begin < seconds
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(uri: str) -> bool:
    with suppress(OSError):
        urllib.request.urlopen(f"{uri}/health", timeout=1).close()
        return True
    return False


@contextmanager
def sqlite(folder: Path) -> Iterator[str]:
    yield f"sqlite:///{folder / 'mlflow.db'}"


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """`mlflow server` on a port of its own."""
    port = free_port()
    kept = ("--backend-store-uri", f"sqlite:///{folder / 'served.db'}", "--artifacts-destination", folder / "artifacts")
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    log = (folder / "server.log").open("w")
    alone = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # no eight processes of jobs
    with log, subprocess.Popen([*command, *kept], env=alone, stdout=log, stderr=log, start_new_session=True) as serving:
        try:
            until(lambda: answers(f"http://127.0.0.1:{port}"))
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(serving.pid, 15)


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """Debian's PostgreSQL in a folder; it refuses to run as root, and is then its own user's."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        pytest.skip("no PostgreSQL: apt install postgresql")
    kept, port = folder / "postgresql", free_port()
    kept.mkdir()
    as_user: Sequence[str] = ()
    if os.getuid() == 0:
        as_user = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")
        shutil.chown(kept, "postgres", "postgres")
        for parent in [folder, *folder.parents[: len(folder.parents) - 2]]:
            parent.chmod(parent.stat().st_mode | 0o011)  # so that this user gets there

    def run(program: str, *arguments: object) -> None:
        command = [*as_user, programs[-1].with_name(program), "-D", kept, *map(str, arguments)]
        subprocess.run(command, check=True, cwd=kept, stdout=subprocess.DEVNULL, timeout=120)

    run("initdb", "--auth=trust", "--username=me", "--no-sync")
    told = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories='' -c fsync=off"
    run("pg_ctl", "-w", "-l", kept / "log", "-o", told, "start")
    try:
        yield f"postgresql+psycopg://me@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-m", "immediate", "stop")


@pytest.mark.parametrize("store", [sqlite, server, postgresql])
def test_sixteen_jobs_that_end_together_are_there_once(store: Any, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    with store(tmp_path) as uri, ExitStack() as stack:
        commands = [[sys.executable, "-c", JOB, runs, str(number), str(EPOCHS)] for number in range(JOBS)]
        jobs = [stack.enter_context(subprocess.Popen(command)) for command in commands]
        until(lambda: len(list(runs.glob("ready*"))) == JOBS)
        (runs / "go").touch()
        added: list[str] = []
        while any(job.poll() is None for job in jobs) or len(added) < JOBS:
            report = sync(Places(runs), uri)
            assert report.failed == {}
            added += report.added
        assert [job.wait() for job in jobs] == [0] * JOBS
        addresses = {compute_address(f"p{number}", "voc07-det", "d", "t"): number for number in range(JOBS)}
        assert sorted(added) == sorted(addresses)
        assert mirrored(uri) == {address: expected(number) for address, number in addresses.items()}


def expected(number: int) -> dict[str, list[tuple[int, float]]]:
    """Every point of every metric of a job."""
    figures = {"mAP_11pt": number / 16, "mAP_11pt/low": 0.0, "mAP_11pt/high": 1.0, "seconds/training": 1.0}
    losses = [(epoch, number + 1 / epoch) for epoch in range(1, EPOCHS + 1)]
    return {**{name: [(0, value)] for name, value in figures.items()}, "train/loss": losses}


def mirrored(uri: str) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Every point of every metric that a store holds of each result; a result that is there twice breaks it."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for run in client.search_runs([one.experiment_id for one in client.search_experiments()]):
        assert run.data.tags[ADDRESS] not in found
        points = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
        found[run.data.tags[ADDRESS]] = {
            name: sorted((point.step, point.value) for point in history) for name, history in points.items()
        }
    return found
