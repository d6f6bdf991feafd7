"""`report --watch` writes the site anew as runs finish and trainings go on; `--open` shows it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from record_cases import RECORD

from bench import registry
from bench.cli import report
from bench.core.files import write_json, write_text
from bench.core.lease import claim
from bench.records.result import Result, write_result

pytestmark = pytest.mark.usefixtures("made_up_addresses")


def finish(runs: Path, name: str) -> None:
    """Write a record, as a run that finishes does."""
    bound = registry.bind(registry.protocol("voc07-point"))
    fields = {
        **RECORD,
        "address": name * 20,
        "protocol": "voc07-point",
        "family": bound.record.family,
        "conventions": bound.conventions.model_dump(mode="json"),
        "method": "center",
        "predictions": name,
        "created": "2025-01-01",
        "metrics": {"accuracy": 0.7},
        "higher_is_better": {"accuracy": True},
    }
    write_result(runs / "results" / f"{name * 20}.json", Result(**fields))


def write_epochs(folder: Path, count: int) -> None:
    epochs = [{"epoch": epoch, "loss": 1 / epoch} for epoch in range(1, count + 1)]
    write_text(folder / "log.jsonl", "".join(f"{json.dumps(one)}\n" for one in epochs))


def test_a_site_is_written_again_as_runs_finish(here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, page = tmp_path / "runs", tmp_path / "site" / "index.html"
    training = runs / "trainings" / "a"
    pages: list[str] = []

    def go_on() -> Iterator[Callable[[], object]]:
        write_epochs(training, 2)
        yield lambda: finish(runs, "b")
        yield lambda: write_epochs(training, 3)
        yield lambda: (training / "done.json").touch()
        yield lambda: None
        raise KeyboardInterrupt

    steps = go_on()

    def sleep(_seconds: float) -> None:
        pages.append(page.read_text())
        next(steps)()

    monkeypatch.setattr(report.time, "sleep", sleep)
    write_json(training / "config.json", {"method": "cam", "seed": 1, "config": {"epochs": 20}})
    with claim(training / "lease", unless=lambda: False):
        answer = here("report", "--out", "site", "--watch")
    assert (answer.code, answer.err) == (0, "")
    assert [line.partition("html")[2] for line in answer.out.splitlines()] == [
        ", 1 training in progress",
        ", 1 training in progress",
        ", 1 training in progress",
        "",
    ]
    assert "0 of 20 epochs" in pages[0]
    assert "2 of 20 epochs, loss 0.5" in pages[1]
    assert '"points":[[1.0,1.0],[2.0,0.5]]' in pages[1].replace(", ", ",").replace(": ", ":")
    assert "3 of 20 epochs" in pages[2]
    assert "Running now" not in pages[3]
    assert pages[3] == pages[4]
    assert (tmp_path / "site" / "run" / f"{'b' * 20}.html").is_file()


def test_watching_goes_on_after_a_build_that_fails(here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, mine = tmp_path / "runs", tmp_path / "site" / "mine.txt"

    def go_on() -> Iterator[Callable[[], object]]:
        yield lambda: (mine.write_text("mine"), finish(runs, "a"))
        yield lambda: (mine.unlink(), finish(runs, "b"))
        raise KeyboardInterrupt

    steps = go_on()
    monkeypatch.setattr(report.time, "sleep", lambda _seconds: next(steps)())
    answer = here("report", "--out", "site", "--watch")
    assert answer.code == 0
    assert answer.err == "error: site contains mine.txt, which `report` did not write: give another folder.\n"
    assert answer.out.count("Wrote ") == 2
    assert (tmp_path / "site" / "run" / f"{'b' * 20}.html").is_file()


def test_the_first_page_is_opened(here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: not opened.append(url) and len(opened) == 1)
    assert here("report", "--out", "site", "--open").err == ""
    assert opened == [(tmp_path / "site" / "index.html").as_uri()]
    assert here("report", "--out", "site", "--open").err == "note: no browser was found: open site/index.html\n"


def test_a_site_that_is_watched_is_no_document(here) -> None:
    answer = here("report", "--out", "site", "--watch", "--json")
    assert (answer.code, answer.out) == (2, "")
    assert "--watch writes again and again: leave out --json" in answer.err


def test_pictures_asked_for_that_nothing_here_can_make_are_said(here, tmp_path: Path) -> None:
    answer = here("report", "--out", tmp_path / "site", "--images", "2", "--errors", "--curves")
    assert answer.code == 0
    for what in ("images", "errors", "curves"):
        assert f"note: no {what}: no result has them and what they are made of in" in answer.err
