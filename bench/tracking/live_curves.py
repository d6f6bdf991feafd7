"""Live curves: trainings in progress as separate MLflow runs, which are deleted when the training is done.

`mirror` mirrors finished results, each with the whole curve of its training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.files import Places, read_object
from bench.tracking.mirror import BATCH, curves, experiment, open_store, pages

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow import MlflowClient

EXPERIMENT = "trainings in progress"
TRAINING = "weakloc.in_progress"
"""The tag that holds a training's address."""


def follow(places: Places, uri: str | None = None) -> list[str]:
    """Update the curves of trainings in progress, and delete those of finished ones; return the former's addresses.

    `uri` as for `sync`. Raises RunError for a store that cannot be used, BadFileError for a damaged log.
    """
    logs = {path.parent.name: path for path in (places.runs.resolve() / "trainings").glob("*/log.jsonl")}
    running = {name: log for name, log in logs.items() if not (log.parent / "done.json").exists()}
    if not logs:
        return []
    with open_store(places, uri) as client:
        into = experiment(client, EXPERIMENT, places.runs.resolve())
        there = {run.data.tags[TRAINING]: run for run in pages(client.search_runs, [into], f"tags.`{TRAINING}` != ''")}
        for name in there.keys() & logs.keys() - running.keys():
            client.delete_run(there[name].info.run_id)
        for name, log in running.items():
            epochs = int(there[name].data.metrics.get("epochs", 0)) if name in there else 0
            run = there[name].info.run_id if name in there else _begin_run(client, into, log.parent)
            _add(client, run, log, epochs)
    return sorted(running)


def _begin_run(client: MlflowClient, into: str, training: Path) -> str:
    key = read_object(training / "config.json", "method", "seed")
    name = f"{key['method']} seed {key['seed']}"
    return str(client.create_run(into, tags={TRAINING: training.name}, run_name=name).info.run_id)


def _add(client: MlflowClient, run: str, log: Path, epochs: int) -> None:
    """Add the epochs after the first `epochs`, already there; after a resume, the log may end before them."""
    import time

    from mlflow.entities import Metric

    now, points = round(time.time() * 1000), curves(log)
    new = [Metric(name, value, now, epoch) for name, value, epoch in points if epoch > epochs]
    last = max((epoch for *_, epoch in points), default=0)
    for start in range(0, len(new), BATCH):
        client.log_batch(run, metrics=new[start : start + BATCH])
    if last > epochs:
        client.log_metric(run, "epochs", last, now, last)
