"""Labels teach: on `shapes`, true image labels give at least three times what shuffled ones do, and those chance.

Judged by classification, which every method here can do, and which the smallest net learns within a minute. What is
left of a class's average precision when labels say nothing is its share of the images.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import registry
from bench.core.files import Places
from bench.data.ground_truth import GroundTruth
from bench.execution.resolve import DatasetCache, Request, resolve_request
from bench.method import Task
from bench.predictions.table import About, read, resolve, write
from bench.scoring.score import score
from bench.training.batches import make_batch_source
from bench.training.inputs import Images
from bench.training.loop import build, fit
from bench.training.predict import Split, predict

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> DatasetCache:
    """One synthetic set, and its proposals, for all of them."""
    return DatasetCache(Places(tmp_path_factory.mktemp("learning") / "runs"))


def shuffled(truth: GroundTruth) -> GroundTruth:
    """The same images with one another's labels."""
    return replace(truth, labels=np.random.default_rng(0).permutation(truth.labels))


def classification(shelf: DatasetCache, method: str, epochs: int, folder: Path, *, shuffle: bool) -> float:
    """Mean average precision on the test split after training, from true labels or shuffled ones."""
    protocol = registry.protocol("voc07-cls").with_conventions({"ap": "area"})
    request = Request(method, protocol, settings={"epochs": epochs}, data="shapes")
    job = resolve_request(request, shelf, device=CPU, threads=1)
    model = build(job.cls, job.config, Task("shapes", job.dataset.classes), 0)
    images = Images(job.dataset)
    labels = shuffled(job.train) if shuffle else job.train
    fit(model, make_batch_source(job.config, images, labels, job.proposals(job.train))[0], folder, seed=0, device=CPU)
    tables, _ = predict(model, Split(job.test, images, job.proposals(job.test)), ["scores"], folder, device=CPU)
    write(folder / "scores.parquet", "scores", tables["scores"], About(method, ids=job.test.ids))
    found = resolve(read(folder / "scores.parquet", "scores"), job.test)
    precision = score(job.bound, job.test, {"scores": found}, replicates=0).metrics["mAP"]
    assert precision is not None
    return precision


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("method", "epochs"), [("cam", 12), ("melm", 8)])
def test_true_labels_teach_and_shuffled_ones_do_not(
    method: str, epochs: int, shelf: DatasetCache, tmp_path: Path
) -> None:
    truth = shelf.ground_truth(shelf.dataset("shapes", {}), "test")
    chance = float((truth.labels > 0).mean())
    nothing = classification(shelf, method, epochs, tmp_path / "shuffled", shuffle=True)
    something = classification(shelf, method, epochs, tmp_path / "true", shuffle=False)
    assert nothing == pytest.approx(chance, abs=0.1)
    assert something >= 3 * nothing
