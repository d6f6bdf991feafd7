"""Two nodes with two processes each learn and predict what one process does."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from slurm_cluster import DATA, MEANS, Checkout, ask, ended, until
from torch import Tensor, nn

from bench.files import Places
from bench.job import Shelf, look_up
from bench.method import Task
from bench.store import Store
from bench.train import checkpoint
from bench.train.loop import build

ASKED = ("--method", "cam,wsddn", "--protocol", "voc07-cls", *DATA, *MEANS)
ONE_STEP = ("--set", "epochs=1,batch_size=12,dropout=0,precision=float32")


def test_four_processes_on_two_nodes_learn_and_predict_what_one_does(checkout: Checkout, tmp_path: Path) -> None:
    resources = "--resource=nodes=2,processes=2,pack=2"
    assert checkout("submit", "--profile=own.toml", resources, *ASKED, *ONE_STEP).code == 0
    submission = checkout.last
    assert [one.state for one in until(ended, submission)] == ["done"] * 2
    (task,) = {sent.id for sent in submission.sent().values()}
    assert ask("sacct", "-X", "-n", "-P", "-j", task, "-o", "NNodes").strip() == "2"

    ours = checkout("collect", "--json").json()["results"]
    theirs = checkout("run", *ASKED, *ONE_STEP, "--runs", "elsewhere", "--json").json()["results"]
    assert [one["provenance"]["processes"] for one in ours + theirs] == [4, 4, 1, 1]
    assert [one["address"] for one in ours] == [one["address"] for one in theirs]
    here, there = Store(Places(tmp_path / "runs")), Store(Places(tmp_path / "elsewhere"))
    for job, one in zip(submission.jobs, ours, strict=True):
        (request,) = submission.requests_of(job)
        asked = look_up(request, Shelf(submission.places), device=torch.device("cpu"), threads=1)
        method = build(asked.cls, asked.config, Task(asked.dataset.name, asked.dataset.classes), 0)
        first = {name: value.clone() for name, value in method.state_dict().items()}
        shared, alone = (weights(store.training(one["training"]), method) for store in (here, there))
        assert any((alone[name] - first[name]).abs().max() > 1e-4 for name in first)
        for name, before in first.items():
            step = (alone[name] - before).abs().max()
            assert (shared[name] - alone[name]).abs().max() <= 1e-5 * step + 1e-7, name
        tables = [pq.read_table(store.predictions(one["predictions"]) / "scores.parquet") for store in (here, there)]
        shared_rows, alone_rows = (table.to_pydict() for table in tables)
        assert shared_rows.pop("score") == pytest.approx(alone_rows.pop("score"), rel=1e-5, abs=1e-7)
        assert shared_rows == alone_rows


def weights(folder: Path, method: nn.Module) -> dict[str, Tensor]:
    """What a training came to, by parameter."""
    checkpoint.load_weights(folder, method)
    return {name: value.clone() for name, value in method.state_dict().items()}
