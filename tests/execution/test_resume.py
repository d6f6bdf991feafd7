"""Runs that are killed, and runs that meet: real processes, real signals, one store.

Where many processes are needed they are forked from one that has imported torch already: they live as long as their
work takes, not as long as imports do.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from bench.cli.main import main
from bench.core.files import Places, read_json
from bench.data.datasets import open_dataset
from bench.predictions.table import read, resolve
from bench.records.result import Result
from bench.records.store import Store
from bench.training.checkpoint import done_path
from methods.nets import build

pytestmark = pytest.mark.slow

TINY = {"train": 20, "val": 10, "test": 8, "size": 64, "classes": 4}
IMPORTED_BEFORE = [
    *(
        "pytest",
        "torch",
        "torchvision",
        "cv2",
        "bench.cli.run",
        "bench.execution.pipeline",
        "bench.data.shapes",
        "bench.training.loop",
    ),
    *("bench.training.predict", "methods.cam", "protocols.scoring.classification", "protocols.scoring.pointing"),
]
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(IMPORTED_BEFORE)


def command(runs: Path, *settings: str, protocol: str = "voc07-cls,voc07-point", seed: int = 0) -> list[str]:
    """`run` of a method that draws (dropout, mirror images) and remembers (momentum): five epochs of 30 steps."""
    options = [f"{key}={value}" for key, value in TINY.items()]
    return [
        *("run", "--method", "cam", "--protocol", protocol, "--seed", str(seed), "--runs", str(runs), "--json"),
        *("--set", ",".join(["epochs=5", "batch_size=1", "lr=0.01", *settings])),
        *("--data", "shapes", "--data-option", ",".join(options)),
        *("--device", "cpu", "--threads", "1", "--workers", "1"),
    ]


def speak(arguments: Sequence[str], log: Path) -> None:
    """The command line in a process of its own; what it says goes to a file."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    main(arguments)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., BaseProcess]]:
    """Start a command in a forked process; its number names the file that it speaks to."""
    started: list[BaseProcess] = []

    def begin(arguments: Sequence[str]) -> BaseProcess:
        process = CONTEXT.Process(target=speak, args=(arguments, tmp_path / f"{len(started)}.log"))
        started.append(process)
        process.start()
        return process

    yield begin
    for process in started:
        process.kill()
        process.join()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder that has the pictures."""
    runs = tmp_path_factory.mktemp("drawn") / "runs"
    open_dataset("shapes", Places(runs), TINY)
    return runs


@pytest.fixture
def runs(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "runs"))


@pytest.fixture(scope="module")
def uninterrupted(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    """What the command gives when nothing disturbs it."""
    runs = Path(shutil.copytree(drawn, tmp_path_factory.mktemp("whole") / "runs"))
    process = subprocess.run([sys.executable, "-m", "bench", *command(runs)], check=True, capture_output=True)
    assert len(json.loads(process.stdout)["results"]) == 2
    return Store(Places(runs)).list_results()


def numbers(results: Sequence[Result]) -> dict[str, Any]:
    """All that was measured, to the last bit, by address."""
    return {result.address: (result.metrics, result.per_class, result.intervals) for result in results}


def wait_for(there: Callable[[], Any], process: subprocess.Popen[bytes]) -> None:
    while not there():
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.002)


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Settings that freeze a net with weights of its own, at a size at which its features take some time."""
    torch.manual_seed(0)
    weights = tmp_path_factory.mktemp("frozen") / "tiny.pth"
    torch.save(build("tiny", "none", roi_head="own").state_dict(), weights)
    return f"weights={weights}", "freeze_backbone=true", "net=tiny", "input_size=256", "epochs=2"


def weights_of(runs: Path) -> list[dict[str, Any]]:
    """All weights of all trainings, to the last bit."""
    files = sorted(runs.glob("trainings/*/weights.pt"))
    return [{name: value.tolist() for name, value in torch.load(file, weights_only=True).items()} for file in files]


def test_killed_while_it_fills_the_feature_cache_it_goes_on_to_the_same_numbers(
    drawn: Path, runs: Path, tmp_path: Path, start: Callable[..., BaseProcess], frozen: tuple[str, ...]
) -> None:
    live = Path(shutil.copytree(drawn, tmp_path / "live"))
    assert ended([start([*command(live, *frozen), "--no-feature-cache"])]) == [0], said(tmp_path, "")
    process = subprocess.Popen([sys.executable, "-m", "bench", *command(runs, *frozen)], stderr=subprocess.DEVNULL)
    wait_for(lambda: any(runs.glob("cache/features/*/*output*.npy")), process)
    process.kill()
    process.wait()
    assert not any(runs.glob("trainings/*/done.json"))
    assert ended([start(command(runs, *frozen))]) == [0], said(tmp_path, "")
    assert weights_of(runs) == weights_of(live)
    assert numbers(Store(Places(runs)).list_results()) == numbers(Store(Places(live)).list_results())


def test_processes_that_share_the_feature_cache_while_it_is_deleted_compute_what_they_compute_alone(
    drawn: Path, runs: Path, tmp_path: Path, start: Callable[..., BaseProcess], frozen: tuple[str, ...]
) -> None:
    live, seeds = Path(shutil.copytree(drawn, tmp_path / "live")), (0, 1, 2)
    for seed in seeds:
        process = start([*command(live, *frozen, seed=seed), "--no-feature-cache"])
        assert ended([process]) == [0], said(tmp_path, "")
    processes = [start(command(runs, *frozen, seed=seed)) for seed in seeds]
    while any(process.exitcode is None for process in processes):
        if any(runs.glob("cache/features/*/*geometry*.npy")):
            shutil.rmtree(runs / "cache" / "features", ignore_errors=True)
        time.sleep(0.2)
    assert ended(processes) == [0, 0, 0], said(tmp_path, "")
    assert weights_of(runs) == weights_of(live)
    assert numbers(Store(Places(runs)).list_results()) == numbers(Store(Places(live)).list_results())


def refuse_half_written(runs: Path) -> None:
    """Every file that counts can be read, and what says that something is complete is right."""
    for path in [path for kind in ("trainings", "predictions", "results") for path in (runs / kind).rglob("[!.]*")]:
        READERS[path.suffix](path)
    for mark in runs.glob("trainings/*/done.json"):
        assert (mark.parent / "weights.pt").exists()
        assert len((mark.parent / "log.jsonl").read_text().splitlines()) == 5
    for table in runs.glob("predictions/*/*.parquet"):
        assert table.with_suffix(".json").exists()
        assert resolve(read(table), open_dataset("shapes", Places(runs), TINY).ground_truth("test")).covered.all()
    for record in runs.glob("results/*.json"):
        assert record.with_suffix(".parquet").exists()


READERS: dict[str, Callable[[Path], Any]] = {
    "": lambda path: path.is_dir(),
    ".json": read_json,
    ".jsonl": lambda path: [json.loads(line) for line in path.read_text().splitlines()],
    ".parquet": pq.read_table,
    ".pt": lambda path: torch.load(path, weights_only=True),
}


def test_killed_in_the_middle_of_an_epoch_it_goes_on_to_the_same_numbers(
    runs: Path, bench: Any, uninterrupted: list[Result]
) -> None:
    process = subprocess.Popen([sys.executable, "-m", "bench", *command(runs)], stderr=subprocess.DEVNULL)
    training = runs / "trainings" / str(uninterrupted[0].training)
    wait_for((training / "checkpoint-00002.pt").exists, process)
    seconds = [json.loads(line)["seconds"] for line in (training / "log.jsonl").read_text().splitlines()]
    time.sleep(min(seconds) / 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not done_path(training).exists()
    assert not read_json(training / "lease" / "1.json")["released"]
    refuse_half_written(runs)

    answer = bench(*command(runs))
    assert len(answer.json()["results"]) == 2
    assert "Waiting" not in answer.err
    assert numbers(Store(Places(runs)).list_results()) == numbers(uninterrupted)
    assert read_json(training / "lease" / "2.json")["released"]
    refuse_half_written(runs)


OTHERWISE = (
    *("optimizer=adamw", "schedule=cosine", "warmup_steps=10", "ema=0.9", "label_smoothing=0.1"),
    *("augment=resized-crop", "color_jitter=0.4+0.4+0.4+0.1", "randaugment=2+9", "epochs=3"),
)
"""Another optimiser, schedule and pipeline than the papers', all of which draw or remember."""


def test_adamw_with_a_cosine_on_random_views_is_killed_and_goes_on_to_the_same_weights(
    drawn: Path, runs: Path, tmp_path: Path, bench: Any
) -> None:
    whole = Path(shutil.copytree(drawn, tmp_path / "whole"))
    bench(*command(whole, *OTHERWISE, protocol="voc07-cls"))
    killed = command(runs, *OTHERWISE, protocol="voc07-cls")
    process = subprocess.Popen([sys.executable, "-m", "bench", *killed], stderr=subprocess.DEVNULL)
    wait_for(lambda: any(runs.glob("trainings/*/checkpoint-00001.pt")), process)
    process.kill()
    process.wait()
    assert not any(runs.glob("trainings/*/done.json"))
    bench(*killed)
    assert weights_of(runs) == weights_of(whole) != []
    [result], [same] = (Store(Places(folder)).list_results() for folder in (runs, whole))
    assert numbers([result]) == numbers([same])
    assert {key: result.config[key] for key in ("optimizer", "schedule", "randaugment", "crop_area")} == {
        "optimizer": "adamw",
        "schedule": "cosine",
        "randaugment": [2, 9],
        "crop_area": [0.08, 1.0],
    }
    assert result.transforms == (
        "RandomResizedCrop(64, scale=(0.08, 1.0), ratio=(0.75, 1.3333333333333333))",
        "RandomHorizontalFlip(p=0.5)",
        "ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)",
        "RandAugment(num_ops=2, magnitude=9)",
    )


@pytest.mark.timeout(1800)
def test_killed_twenty_times_at_random_points_nothing_is_lost_or_half_written(
    runs: Path, start: Callable[..., BaseProcess], uninterrupted: list[Result]
) -> None:
    def finish() -> float:
        begin, process = time.monotonic(), start(command(runs))
        process.join()
        assert process.exitcode == 0
        return time.monotonic() - begin

    def begin_anew() -> None:
        assert numbers(Store(Places(runs)).list_results()) == numbers(uninterrupted)
        for kind in ("trainings", "predictions", "results"):
            shutil.rmtree(runs / kind)

    finish()  # it forks the server too, which takes time
    begin_anew()
    seconds = finish()
    begin_anew()
    rng, kills, went_on = random.Random(0), 0, 0
    while kills < 20 or went_on < 3:
        before = {path.name for path in runs.glob("trainings/*/checkpoint-*")}
        process = start(command(runs))
        process.join(rng.uniform(0, seconds * (1 + kills / 20)))  # longer and longer, on a machine that got slower
        if process.exitcode is None:
            process.kill()
            process.join()
            kills += 1
            went_on += bool(before)
            refuse_half_written(runs)
        else:
            assert process.exitcode == 0
            begin_anew()
    finish()
    refuse_half_written(runs)
    begin_anew()


def said(folder: Path, text: str) -> list[str]:
    """The lines with a text in what all processes said."""
    return [line for log in folder.glob("*.log") for line in log.read_text().splitlines() if text in line]


def ended(processes: Sequence[BaseProcess]) -> list[int | None]:
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def test_two_identical_commands_together_train_once(
    runs: Path, tmp_path: Path, start: Callable[..., BaseProcess], uninterrupted: list[Result]
) -> None:
    assert ended([start(command(runs)) for _ in range(2)]) == [0, 0], said(tmp_path, "")
    assert numbers(Store(Places(runs)).list_results()) == numbers(uninterrupted)
    assert len(said(tmp_path, "Training cam: 150/150 images")) == 1
    assert len(said(tmp_path, "Predicting with cam: 8/8 images")) == 1
    assert len(said(tmp_path, "Waiting for process")) >= 1
    refuse_half_written(runs)


def test_eight_different_commands_together_train_once_an_address(
    runs: Path, tmp_path: Path, start: Callable[..., BaseProcess]
) -> None:
    commands = [
        command(runs, f"flip_test={flip}", protocol=protocol, seed=seed)
        for seed in (0, 1)
        for protocol in ("voc07-cls", "voc07-point")
        for flip in ("false", "true")
    ]
    assert ended([start(each) for each in commands]) == [0] * 8, said(tmp_path, "")
    assert len(said(tmp_path, "Training cam: 150/150 images")) == 2
    assert [len(list(runs.glob(each))) for each in ("trainings/*", "trainings/*/done.json")] == [2, 2]
    assert len(list(runs.glob("predictions/*"))) == 4
    results = Store(Places(runs)).list_results()
    assert len({result.training for result in results}) == 2
    assert len({(result.protocol, result.seed, result.config["flip_test"]) for result in results}) == len(results) == 8
    refuse_half_written(runs)
