"""Two nodes with two processes each learn and predict what one process does."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from slurm_cluster import DATA, MEANS, Checkout, ask, ended, until, wait_for
from torch import Tensor, nn

from bench.core.files import Places
from bench.execution.resolve import DatasetCache, resolve_request
from bench.method import Task
from bench.records.store import Store
from bench.training import checkpoint
from bench.training.loop import build

pytestmark = pytest.mark.slow

ASKED = ("--method", "cam,wsddn", "--protocol", "voc07-cls", *DATA, *MEANS)
ONE_STEP = ("--set", "epochs=1,batch_size=12,dropout=0,precision=float32")

METHOD = '''"""Learns as CAM does; in its second epoch says who it is, and waits until it may go on."""
import os
import time
from pathlib import Path

from methods.cam import Cam

class Waits(Cam):
    calls = 0

    def loss(self, images, labels):
        self.calls += 1
        if self.calls == 2:
            Path("process." + os.environ.get("RANK", "0")).write_text(str(os.getpid()))
            while not Path("go").exists():
                time.sleep(0.1)
        return super().loss(images, labels)
'''


def test_four_processes_on_two_nodes_learn_and_predict_what_one_does(checkout: Checkout, tmp_path: Path) -> None:
    resources = "--resource=nodes=2,processes=2,pack=2"
    assert checkout("submit", "--profile=own.toml", resources, *ASKED, *ONE_STEP).code == 0
    submission = checkout.last
    assert [one.state for one in until(ended, submission)] == ["done"] * 2
    (task,) = {sent.id for sent in submission.list_sent().values()}
    assert ask("sacct", "-X", "-n", "-P", "-j", task, "-o", "NNodes").strip() == "2"

    ours = checkout("collect", "--json").json()["results"]
    theirs = checkout("run", *ASKED, *ONE_STEP, "--runs", "elsewhere", "--json").json()["results"]
    assert [one["provenance"]["processes"] for one in ours + theirs] == [4, 4, 1, 1]
    assert [one["address"] for one in ours] == [one["address"] for one in theirs]
    here, there = Store(Places(tmp_path / "runs")), Store(Places(tmp_path / "elsewhere"))
    for job, one in zip(submission.jobs, ours, strict=True):
        (request,) = submission.list_requests(job)
        asked = resolve_request(request, DatasetCache(submission.places), device=torch.device("cpu"), threads=1)
        method = build(asked.cls, asked.config, Task(asked.dataset.name, asked.dataset.classes), 0)
        first = {name: value.clone() for name, value in method.state_dict().items()}
        shared, alone = (weights(store.training_folder(one["training"]), method) for store in (here, there))
        assert any((alone[name] - first[name]).abs().max() > 1e-4 for name in first)
        for name, before in first.items():
            step = (alone[name] - before).abs().max()
            assert (shared[name] - alone[name]).abs().max() <= 1e-5 * step + 1e-7, name
        tables = [
            pq.read_table(store.predictions_folder(one["predictions"]) / "scores.parquet") for store in (here, there)
        ]
        shared_rows, alone_rows = (table.to_pydict() for table in tables)
        assert shared_rows.pop("score") == pytest.approx(alone_rows.pop("score"), rel=1e-5, abs=1e-7)
        assert shared_rows == alone_rows


def test_what_four_began_goes_on_in_one_and_the_process_that_died_is_named(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "waits.py").write_text(METHOD)
    settings = "epochs=3,batch_size=12,dropout=0,precision=float32"
    asked = ("--plugin=waits.py", "--method=waits", "--protocol=voc07-cls", "--set", settings, *DATA, *MEANS)
    assert checkout("submit", "--profile=own.toml", "--resource=nodes=2,processes=2", *asked).code == 0
    processes = [tmp_path / f"process.{rank}" for rank in range(4)]
    wait_for(processes)
    os.kill(int(processes[3].read_text()), signal.SIGKILL)
    (tmp_path / "go").touch()
    (killed,) = until(ended, checkout.last)
    assert killed.reason == "Its process was killed (out of memory?)."
    assert checkout("resubmit", "--resource=nodes=1,processes=1").code == 0
    assert [one.state for one in until(ended, checkout.last)] == ["done"]

    (ours,) = checkout("collect", "--json").json()["results"]
    (theirs,) = checkout("run", *asked, "--runs", "elsewhere", "--json").json()["results"]
    assert ours["provenance"]["processes"] == 1
    assert losses(tmp_path / "runs", ours["training"]) == pytest.approx(
        losses(tmp_path / "elsewhere", theirs["training"]), rel=1e-5
    )


def losses(runs: Path, training: str) -> list[float]:
    """Of each epoch."""
    lines = (Store(Places(runs)).training_folder(training) / "log.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def weights(folder: Path, method: nn.Module) -> dict[str, Tensor]:
    """What a training came to, by parameter."""
    checkpoint.load_weights(folder, method)
    return {name: value.clone() for name, value in method.state_dict().items()}
