"""Threads by default: as many as are free, and those of a training that is there already."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import registry
from bench.core.files import Places
from bench.data.datasets import open_dataset
from bench.execution.pipeline import Request, run
from bench.records.result import Result
from bench.records.store import Store

TINY = {"train": 4, "val": 2, "test": 2, "size": 64, "classes": 3}
CPU = torch.device("cpu")


class Heard:
    """A progress that remembers lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def task(self, *_: Any, **__: Any) -> Any:
        from bench.core.progress import SILENT

        return SILENT.task("", 0)

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(autouse=True)
def _nobody_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 4)


def free(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr("bench.execution.threads.count_free_processors", lambda _: (count, f"only {count} free"))


def ran(places: Places, threads: int | None = None, **settings: Any) -> tuple[Result, list[str], str]:
    """The result of a run, what was said of threads, and those that predicted."""
    heard = Heard()
    chosen = {"net": "tiny", "weights": "none", "epochs": 1, **settings}
    request = Request("cam", registry.protocol("voc07-cls"), settings=chosen, data="shapes", data_options=TINY)
    report = run([request], places, progress=heard, device="cpu", workers=0, threads=threads)  # type: ignore[arg-type]
    for error in report.failed.values():
        raise error
    said = [line for line in heard.lines if "thread" in line]
    return report.results[0], said, report.results[0].provenance["device"].rpartition(", ")[2]


@pytest.fixture
def places(tmp_path: Path) -> Places:
    open_dataset("shapes", Places(tmp_path), TINY)
    return Places(tmp_path)


def test_the_default_is_what_is_free_and_what_is_stored_with_another_number_is_found(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    free(monkeypatch, 2)
    first, said, threads = ran(places)
    assert said == ["Computing with 2 threads: only 2 free (--threads N sets it)."]
    assert threads == "2 threads"
    assert torch.get_num_threads() == before
    free(monkeypatch, 1)
    assert ran(places)[0] == first
    assert ran(places, threads=1)[0].training != first.training
    assert ran(places, threads=2)[0] == first
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert ran(places)[1] == []


def test_an_unfinished_training_goes_on_with_its_threads(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    free(monkeypatch, 3)
    with monkeypatch.context() as patched:
        patched.setattr("methods.cam.Cam.loss", interrupt)
        with pytest.raises(KeyboardInterrupt):
            ran(places)
    free(monkeypatch, 1)
    result, said, threads = ran(places)
    assert said[1:] == ["Going on with 3 threads, by which this training was begun."]
    assert threads == "3 threads"
    assert len(list((places.runs / "trainings").iterdir())) == 1
    again, said, threads = ran(places, flip_test=True)  # only predicted: by any number
    assert (len(said), threads, again.training) == (1, "1 thread", result.training)


def test_predictions_are_found_without_the_weights_that_made_them(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 2)
    first, *_ = ran(places)
    store = Store(replace(places))
    store.training_folder(str(first.training)).rename(places.runs / "elsewhere")
    free(monkeypatch, 1)
    assert ran(places)[0] == first
