"""Curves of trainings in progress: each epoch once, and gone when the training is done."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.core.files import Places, write_json, write_text
from bench.tracking.live_curves import EXPERIMENT, follow

pytestmark = pytest.mark.slow


def begun(places: Places, address: str, epochs: int) -> Path:
    """A training that has come so far."""
    folder = places.runs / "trainings" / address
    write_json(folder / "config.json", {"method": "cam", "seed": 3})
    lines = [json.dumps({"epoch": n, "loss": 1 / n}) + "\n" for n in range(1, epochs + 1)]
    write_text(folder / "log.jsonl", "".join(lines))
    return folder


def curve(places: Places) -> dict[str, list[tuple[int, float]]]:
    """The curves that MLflow shows, by the runs' names."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{places.runs / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    return {
        run.info.run_name: sorted(
            (point.step, point.value) for point in client.get_metric_history(run.info.run_id, "train/loss")
        )
        for run in runs
    }


def test_a_curve_grows_by_its_new_epochs_and_goes_with_the_end_of_its_training(places: Places) -> None:
    folder = begun(places, "one", 2)
    assert follow(places) == ["one"]
    begun(places, "one", 3)
    assert follow(places) == follow(places) == ["one"]
    assert curve(places) == {"cam seed 3": [(1, 1.0), (2, 0.5), (3, 1 / 3)]}
    write_json(folder / "done.json", {})
    assert follow(places) == []
    assert curve(places) == {}


def test_a_training_that_began_again_from_an_earlier_epoch_adds_none_twice(places: Places) -> None:
    begun(places, "one", 3)
    follow(places)
    begun(places, "one", 1)
    follow(places)
    begun(places, "one", 4)
    follow(places)
    assert [step for step, _ in curve(places)["cam seed 3"]] == [1, 2, 3, 4]


def test_watching_goes_on_until_it_is_interrupted(places: Places) -> None:
    begun(places, "one", 1)
    command = [sys.executable, "-m", "bench", "sync", "--watch", "--every", "1", "--runs", places.runs]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # what a shell began in the background ignores it
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heard) as watching:
        assert watching.stderr is not None
        said = iter(watching.stderr.readline, "")
        assert any("1 trainings in progress" in line for line in said)
        write_json(places.runs / "trainings" / "one" / "done.json", {})
        assert any("0 trainings in progress" in line for line in said)
        watching.send_signal(signal.SIGINT)
        assert watching.wait(60) in (0, 130)


def test_watching_prints_no_document(here: Callable[..., Any], places: Places) -> None:
    assert here("sync", "--watch", "--json", "--runs", places.runs).code == 2
