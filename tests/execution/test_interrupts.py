"""Ctrl-C during a training: a checkpoint after the step, and on from there to the same weights."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import registry
from bench.core.files import Places
from bench.data.datasets import open_dataset
from bench.execution.pipeline import Request, run
from bench.training.device import REPEAT_S, catch_interrupts
from methods.cam import Cam

TINY = {"train": 8, "val": 4, "test": 2, "size": 64, "classes": 3}
STEPS = 12


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The weights of an undisturbed training of two epochs of twelve steps."""
    return trained(Places(tmp_path_factory.mktemp("whole")))


def trained(places: Places) -> dict[str, Any]:
    open_dataset("shapes", places, TINY)
    settings = {"net": "tiny", "weights": "none", "epochs": 2, "batch_size": 1, "input_size": 32, "lr": 0.01}
    request = Request("cam", registry.protocol("voc07-cls"), settings=settings, data="shapes", data_options=TINY)
    report = run([request], places, device="cpu", workers=1, threads=1)
    assert not report.failed
    (file,) = places.runs.glob("trainings/*/weights.pt")
    return {name: value.tolist() for name, value in torch.load(file, weights_only=True).items()}


@pytest.fixture(autouse=True)
def _hear_interrupts() -> Iterator[None]:
    """SIGINT as a terminal sends it: a job in a shell's background is born with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_at_a_random_step_it_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, Any], number: signal.Signals
) -> None:
    at, seen, loss = random.randint(1, 2 * STEPS - 1), 0, Cam.loss

    def interrupting(self: Any, images: Any, labels: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == at:
            os.kill(os.getpid(), number)
        return loss(self, images, labels)

    monkeypatch.setattr(Cam, "loss", interrupting)
    with pytest.raises(KeyboardInterrupt):
        trained(Places(tmp_path))
    assert seen == at, "it did not end after its step"
    (file,) = tmp_path.glob("trainings/*/checkpoint-*.pt")
    history = torch.load(file, weights_only=True)["history"]
    done = STEPS * (len(history) - 1) + history[-1].get("step", STEPS)
    assert done == at
    assert trained(Places(tmp_path)) == whole
    assert seen == 2 * STEPS


def test_a_signal_soon_after_is_the_same_request_and_a_later_one_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    reached = []

    def send() -> None:
        with catch_interrupts() as stopped:
            assert not stopped()
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            assert stopped()
            clock[0] = REPEAT_S
            os.kill(os.getpid(), signal.SIGINT)
            reached.append("soon")
            clock[0] = REPEAT_S + 0.1
            os.kill(os.getpid(), signal.SIGINT)
            reached.append("later")

    with pytest.raises(KeyboardInterrupt):
        send()
    assert reached == ["soon"]


def test_what_was_handled_or_ignored_before_is_so_again() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with catch_interrupts() as stopped:
            os.kill(os.getpid(), signal.SIGINT)
            assert not stopped()
            assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before)
