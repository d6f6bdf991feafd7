"""What a training leaves on disk: whole or not there, the last alone, and nothing of it unpickled."""

from __future__ import annotations

import errno
import os
import pickle
from math import nan
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn, optim

from bench.core.files import file_digest
from bench.errors import BadFileError
from bench.training import checkpoint


@pytest.fixture
def model() -> nn.Linear:
    return nn.Linear(2, 1)


@pytest.fixture
def optimiser(model: nn.Linear) -> optim.SGD:
    optimiser = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    return optimiser


class Touching:
    """Unpickled, it would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def bytes_of(value: Any, path: Path) -> bytes:
    torch.save(value, path)
    return path.read_bytes()


def test_a_checkpoint_brings_back_model_optimiser_and_history(tmp_path: Path, model: Any, optimiser: Any) -> None:
    history = [{"epoch": 1, "loss": 0.1 + 0.2}]
    checkpoint.save(tmp_path, model, optimiser, history)
    other = nn.Linear(2, 1)
    fresh = optim.SGD(other.parameters(), lr=5.0, momentum=0.9)
    assert checkpoint.resume(tmp_path, other, fresh) == history
    assert other.weight.tolist() == model.weight.tolist()
    assert fresh.param_groups[0]["lr"] == 0.1
    assert [s["momentum_buffer"].tolist() for s in fresh.state.values()] == [[[1.0, 1.0]], [1.0]]


def test_without_a_checkpoint_there_is_no_history(tmp_path: Path, model: Any, optimiser: Any) -> None:
    assert checkpoint.resume(tmp_path / "not there", model, optimiser) == []


def test_the_last_checkpoint_alone_is_kept(tmp_path: Path, model: Any, optimiser: Any) -> None:
    for epochs in (1, 2, 3):
        checkpoint.save(tmp_path, model, optimiser, [{"epoch": float(epoch)} for epoch in range(epochs)])
    assert [path.name for path in tmp_path.glob("*.pt")] == ["checkpoint-00003.pt"]
    checkpoint.finish(tmp_path, model, [{"epoch": 1.0}], images=7)
    assert [path.name for path in tmp_path.glob("*.pt")] == ["weights.pt"]
    weights = file_digest(tmp_path / "weights.pt")
    assert checkpoint.summary(tmp_path) == {"epochs": 1, "images": 7, "weights": weights}


def test_a_checkpoint_that_could_not_be_written_leaves_the_one_before(
    tmp_path: Path, model: Any, optimiser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(tmp_path, model, optimiser, [{"epoch": 1.0}])

    def half(value: Any, file: Any) -> None:
        file.write(b"PK half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(tmp_path, model, optimiser, [{"epoch": 1.0}, {"epoch": 2.0}])
    with pytest.raises(OSError, match="No space left"):
        checkpoint.finish(tmp_path, model, [{"epoch": 1.0}])
    assert not checkpoint.done_path(tmp_path).exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-00001.pt", "log.jsonl"]


def test_going_on_removes_what_a_killed_process_left_half_written(tmp_path: Path, model: Any, optimiser: Any) -> None:
    (tmp_path / ".checkpoint-00001.pt.123.abc.part").write_bytes(b"PK half of it")
    assert checkpoint.resume(tmp_path, model, optimiser) == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("broken", ["empty", "text", "zeros", "truncated", "list", "of another model", "no optimiser"])
def test_a_file_that_is_no_checkpoint_of_ours_is_refused(
    tmp_path: Path, model: Any, optimiser: Any, broken: str
) -> None:
    state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "history": []}
    scratch = tmp_path / "scratch"
    contents = {
        "empty": b"",
        "text": b"not a checkpoint",
        "zeros": bytes(1000),
        "truncated": bytes_of(state, scratch)[:-300],
        "list": bytes_of([1, 2], scratch),
        "of another model": bytes_of({**state, "model": nn.Linear(3, 1).state_dict()}, scratch),
        "no optimiser": bytes_of({**state, "optimiser": 3}, scratch),
    }
    (tmp_path / "checkpoint-00001.pt").write_bytes(contents[broken])
    with pytest.raises(BadFileError, match=r"checkpoint-00001.pt: not a checkpoint of ours .*Delete .* to train again"):
        checkpoint.resume(tmp_path, model, optimiser)


@pytest.mark.parametrize("form", ["zip", "pickle"])
def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path, model: Any, form: str) -> None:
    trap = Touching(tmp_path / "executed")
    path = tmp_path / "weights.pt"
    path.write_bytes(bytes_of({"weight": trap}, path) if form == "zip" else pickle.dumps(trap, protocol=2))
    with pytest.raises(BadFileError):
        checkpoint.load_weights(tmp_path, model)
    assert not (tmp_path / "executed").exists()


def test_weights_that_are_not_there_are_missed_by_name(tmp_path: Path, model: Any) -> None:
    with pytest.raises(BadFileError, match=r"weights.pt: .*FileNotFoundError"):
        checkpoint.load_weights(tmp_path, model)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda weight: weight.mul_(2), "its weights were changed"),
        (lambda weight: weight.fill_(nan), "is not a number"),
    ],
)
def test_a_checkpoint_of_other_weights_is_refused(
    tmp_path: Path, model: Any, optimiser: Any, change: Any, rule: str
) -> None:
    checkpoint.save(tmp_path, model, optimiser, [{"epoch": 1.0}])
    (path,) = tmp_path.glob("checkpoint-*.pt")
    state = torch.load(path, weights_only=True)
    change(state["model"]["weight"])
    if "number" in rule:
        del state["digest"]
    torch.save(state, path)
    with pytest.raises(BadFileError, match=f"{rule}.*Delete .* to train again"):
        checkpoint.resume(tmp_path, model, optimiser)


def test_weights_of_another_training_are_refused(tmp_path: Path, model: Any) -> None:
    checkpoint.finish(tmp_path / "one", model, [{"epoch": 1.0}])
    torch.nn.init.zeros_(model.weight)
    checkpoint.finish(tmp_path / "other", model, [{"epoch": 1.0}])
    (tmp_path / "other" / "weights.pt").replace(tmp_path / "one" / "weights.pt")
    with pytest.raises(BadFileError, match="not the weights that this training ended with"):
        checkpoint.load_weights(tmp_path / "one", model)


def test_a_file_system_that_is_full_is_named_with_the_file(tmp_path: Path) -> None:
    from resource import RLIMIT_FSIZE, getrlimit, setrlimit
    from signal import SIG_IGN, SIGXFSZ, signal

    before, handler = getrlimit(RLIMIT_FSIZE), signal(SIGXFSZ, SIG_IGN)
    try:
        setrlimit(RLIMIT_FSIZE, (20_000, before[1]))
        with pytest.raises(OSError, match="too large") as caught:
            checkpoint._save(tmp_path / "a.pt", {"a": torch.zeros(100_000)})
    finally:
        setrlimit(RLIMIT_FSIZE, before)
        signal(SIGXFSZ, handler)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(tmp_path / "a.pt"))
    assert list(tmp_path.iterdir()) == []
