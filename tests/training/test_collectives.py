"""Several processes do what one does: the same gradients, every image once, a training that goes on; over gloo."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from train_cases import CPU, TASK, Photographs, boxes, log, train

from bench import registry
from bench.errors import BenchError, BusyError, LostError, RequestError
from bench.training import checkpoint, predict, process_group
from bench.training.inputs import Images
from bench.training.loop import build

pytestmark = pytest.mark.slow

TOGETHER = [(0, 0, 16, 24), (16, 0, 32, 24), (0, 0, 32, 24), (4, 4, 20, 20)]
TINY = {
    "net": "tiny",
    "weights": "none",
    "input_size": 64,
    "precision": "float32",
    "momentum": 0.0,
    "weight_decay": 0.0,
}
METHODS: dict[str, dict[str, Any]] = {
    "cam": {"dropout": 0.0},
    "acol": {"width": 8, "loss": "softmax"},
    "weldon": {"dropout": 0.0, "loss": "ap", "k_plus": 1, "k_minus": 1},
    "danet": {"width": 8, "kept": 1.0, "compare": "level", "levels": 1},
    "spg": {"width": 8, "mask_width": 8},
    "wsddn": {"min_proposal": 0, "spatial": 0.1, "spatial_top": 2},
    "melm": {"min_proposal": 0},
}
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["torch", "torchvision", "cv2", "pytest", "bench.execution.pipeline", "bench.training.loop", "methods.spg"]
)


def in_processes(size: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `work` returns in each of so many processes, joined as torchrun's are, or the BenchError that it raises."""
    port = str(free_port())
    with ProcessPoolExecutor(size, mp_context=CONTEXT) as pool:
        waiting = [pool.submit(in_process, rank, size, port, work, arguments) for rank in range(size)]
        return [each.result() for each in waiting]


def in_process(rank: int, size: int, port: str, work: Callable[..., Any], arguments: Any) -> Any:
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({"RANK": str(rank), "WORLD_SIZE": str(size), **address})
    torch.set_num_threads(1)
    try:
        with process_group.join_group(CPU):
            return work(*arguments)
    except BenchError as error:
        return error


def free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


def method_of(name: str, **settings: Any) -> Any:
    cls, _ = registry.parse(name, {})
    return build(cls, cls.Config(**{**TINY, **METHODS[name], **settings}), TASK, 0)


def some(folder: Path, count: int) -> Photographs:
    """Images, unlike in how many labels they know."""
    photographs = Photographs(folder, count)
    photographs.labels[:] = np.tile(np.array([[1, -1], [-1, 1], [-1, -1]], np.int8), (count, 1))[:count]
    photographs.labels[3:4, 0] = 0
    return photographs


def gradients(folder: Path, name: str, count: int) -> tuple[dict[str, Any], dict[str, float]]:
    """Of all parameters after one step on `count` images, and the line of the log."""
    method, run = method_of(name, batch_size=count, epochs=1), folder / f"{name}-{count}-{process_group.size()}"
    photographs = some(folder, count)
    train(method, run, photographs, boxes(photographs, TOGETHER))
    found = {key: None if one.grad is None else one.grad.numpy() for key, one in method.named_parameters()}
    return found, log(run)[0] if process_group.is_main() else {}


def all_gradients(folder: Path) -> dict[tuple[str, int], Any]:
    return {(name, count): gradients(folder, name, count) for name in METHODS for count in (5, 2)}


@pytest.fixture(scope="module")
def of_four(tmp_path_factory: pytest.TempPathFactory) -> list[dict[tuple[str, int], Any]]:
    folder = tmp_path_factory.mktemp("four")
    some(folder, 5), some(folder, 2)
    return in_processes(4, all_gradients, folder)


@pytest.mark.parametrize("count", [5, 2])
@pytest.mark.parametrize("name", METHODS)
def test_gradients_of_four_processes_are_those_of_one_with_the_same_batch(
    tmp_path: Path, of_four: list[Any], name: str, count: int
) -> None:
    whole, line = gradients(tmp_path, name, count)
    assert any(gradient is not None and np.abs(gradient).max() > 1e-4 for gradient in whole.values())
    for process in of_four:
        shared, _ = process[name, count]
        assert shared.keys() == whole.keys()
        for key, gradient in whole.items():
            if gradient is None:
                assert shared[key] is None
            else:
                assert np.abs(shared[key] - gradient).max() <= 1e-5 * np.abs(gradient).max() + 1e-9, key
    told = of_four[0][name, count][1]
    assert {key: told[key] for key in told if "second" not in key} == pytest.approx(
        {key: line[key] for key in line if "second" not in key}, rel=1e-5, abs=1e-8
    )


def predicted(folder: Path, name: str) -> tuple[dict[str, Any], list[str]]:
    """Rows of what a method predicts of nine images in parts of two, for who leads; the images that were opened."""
    photographs, predict.PART = Photographs(folder, 9), 2
    split = predict.Split(photographs.ground_truth("test"), Images(photographs, budget=0), boxes(photographs, TOGETHER))
    kinds, run = ["scores", "boxes"], folder / f"{name}-predicted-{process_group.size()}"
    tables, _ = predict.predict(method_of(name), split, kinds, run, device=CPU)
    return {kind: table.to_pydict() for kind, table in tables.items()}, photographs.opened


def both_predicted(folder: Path) -> list[tuple[dict[str, Any], list[str]]]:
    return [predicted(folder, name) for name in ("cam", "wsddn")]


@pytest.mark.parametrize("size", [2, 3, 4])
def test_every_image_is_predicted_in_one_process_and_as_in_one(tmp_path: Path, size: int) -> None:
    Photographs(tmp_path, 9)
    whole, several = both_predicted(tmp_path), in_processes(size, both_predicted, tmp_path)
    for number, (tables, opened) in enumerate(whole):
        each = [process[number] for process in several]
        assert sorted(image for _, images in each for image in images) == sorted(opened)
        assert len(set(opened)) == len(opened) == 9
        assert all(images for _, images in each)
        assert each[0][0] == tables
        assert [found for found, _ in each[1:]] == [{}] * (size - 1)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def lose() -> None:
    raise BusyError("taken over by another")


def begin(folder: Path) -> None:
    """Train until a process is terminated; then until the one that leads loses its claim: each after two epochs."""
    with pytest.raises(KeyboardInterrupt):
        interrupted(folder, "terminated", 2, terminate)
    interrupted(folder, "lost", 0, lose)


def interrupted(folder: Path, run: str, rank: int, happens: Callable[[], None]) -> None:
    """Train; in one process something happens when it checks the second time."""
    checks = iter(range(1, 100))

    def check() -> None:
        if next(checks) == 2 and process_group.rank() == rank:
            happens()

    with process_group.abort_together():
        trained(folder, folder / run, check=check)


def trained(folder: Path, run: Path, **more: Any) -> None:
    method = method_of("cam", batch_size=3, epochs=4, lr=0.1, momentum=0.9)
    train(method, run, Photographs(folder, 5), **more)


@pytest.fixture(scope="module")
def begun_on_four(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    folder = tmp_path_factory.mktemp("begun")
    Photographs(folder, 5)
    return folder, in_processes(4, begin, folder)


@pytest.mark.parametrize(("how", "epochs"), [("terminated", 2), ("lost", 1)])
def test_a_run_begun_on_four_processes_goes_on_in_one(
    tmp_path: Path, begun_on_four: tuple[Path, list[Any]], how: str, epochs: int
) -> None:
    run = begun_on_four[0] / how
    assert [path.name for path in run.glob("checkpoint-*")] == [f"checkpoint-0000{epochs}.pt"]
    trained(run.parent, tmp_path / "whole"), trained(run.parent, run)
    losses = [[line["loss"] for line in log(each)] for each in (run, tmp_path / "whole")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert losses[0][3] < 0.95 * losses[0][1]


def test_one_process_that_fails_ends_all_and_each_says_which(begun_on_four: tuple[Path, list[Any]]) -> None:
    _, (first, *others) = begun_on_four
    assert isinstance(first, LostError)
    assert str(first).startswith("Process 0 of 4 on ")
    assert str(first).endswith("taken over by another")
    assert all(
        isinstance(other, LostError) and "another process of this run has ended" in str(other) for other in others
    )


def unlike(key: str) -> str:
    """What the second process finds is not there, or other than the first's."""

    def find() -> str:
        if key == "absent" and process_group.rank() == 1:
            raise RequestError("labels.csv is not there")
        return key + str(process_group.rank() if key == "other" else 0)

    return process_group.main_first(find, str)


@pytest.mark.parametrize(("key", "says"), [("absent", "labels.csv is not there"), ("other", "other data, weights")])
def test_what_processes_do_not_agree_upon_none_does(key: str, says: str) -> None:
    for error in in_processes(2, unlike, key):
        assert isinstance(error, RequestError)
        assert says in str(error)


def test_what_processes_agree_upon_each_has() -> None:
    assert in_processes(2, unlike, "same") == ["same0", "same0"]


def test_variables_of_processes_that_are_not_there_are_a_mistake_of_the_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(RequestError, match=r"RANK expected.*use torchrun"), process_group.join_group(CPU):
        pass


def test_the_command_line_on_two_nodes_of_two_processes_gives_what_it_gives_in_one(tmp_path: Path) -> None:
    def command(runs: str) -> list[str]:
        small = "train=10,val=5,test=8,size=64,classes=4"
        return [
            *("-m", "bench", "run", "--method", "cam,wsddn", "--protocol", "voc07-cls", "--data", "shapes"),
            *("--data-option", small, "--runs", str(tmp_path / runs), "--device", "cpu", "--threads", "1", "--workers"),
            *("0", "--json", "--set", "epochs=1,batch_size=5,dropout=0"),
        ]

    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nnodes=2",
        "--nproc-per-node=2",
        "--master-addr=127.0.0.1",
    ]
    there = [f"--master-port={free_port()}"]
    nodes = [
        subprocess.Popen([*launch, *there, f"--node-rank={node}", *command("four")], stdout=-1, stderr=-1, text=True)
        for node in range(2)
    ]
    alone = subprocess.run([sys.executable, *command("one")], capture_output=True, text=True, check=False)
    (out, err), (silent, _) = [node.communicate() for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], err
    assert silent == ""
    found, expected = json.loads(out)["results"], json.loads(alone.stdout)["results"]
    assert len(found) == len(expected) == 2
    assert err.count("Training cam: 15/15 images") == 1
    for one, other in zip(found, expected, strict=True):
        assert one["address"] == other["address"]
        assert one["metrics"] == pytest.approx(other["metrics"], abs=1e-6)
        assert (one["provenance"]["processes"], other["provenance"]["processes"]) == (4, 1)
        done = [checkpoint.summary(tmp_path / runs / "trainings" / one["training"]) for runs in ("four", "one")]
        assert [each["provenance"]["processes"] for each in done] == [4, 1]
