"""Trials of a search as jobs: found again by their requests, whatever became of them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tune_cases import write_tunable

from bench import registry
from bench.core.files import Places
from bench.execution.dataset_cache import DatasetCache
from bench.records.store import Store
from bench.tracks.track import read_track
from bench.tracks.tune import SearchPlan, plan_search, run_trials
from slurm import status, trials
from slurm.profile import read_profile
from slurm.submission import find

MEANS: dict[str, Any] = {"device": "cpu", "workers": 0, "threads": 1, "cache": 64, "feature_cache": True}


@pytest.fixture
def plan(tmp_path: Path, places: Places) -> SearchPlan:
    track = read_track(str(write_tunable(tmp_path)))
    return plan_search(track, "cam", by="labels", seed=0, datasets=DatasetCache(places))


def submit(plan: SearchPlan, places: Places, numbers: range) -> str:
    requests = [plan.make_request(number) for number in numbers]
    return trials.submit_trials(requests, DatasetCache(places), "local", read_profile("local", {}), MEANS)


def test_trials_are_found_by_what_became_of_their_jobs(
    plan: SearchPlan, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "send", lambda *_: None)
    (ran,) = run_trials(plan, 1, datasets=DatasetCache(places), device="cpu", workers=0, threads=1)
    assert ran.result is not None
    submission = find(submit(plan, places, range(4)), places)
    submission.end(0, results=[ran.result.address], failed={})
    submission.end(1, failed={submission.name_request(1): "The loss is not finite."})
    submission.end(2, failed={"": "Cancelled."})
    running = {3: status.JobStatus(3, "running")}
    states = status.statuses(submission)
    monkeypatch.setattr(trials, "statuses", lambda _: [running.get(one.number, one) for one in states])
    found = trials.find_trials(plan, 5, places)
    assert found.ended[0] == ran
    assert (found.ended[1].error, found.ended[1].score) == ("The loss is not finite.", None)
    assert (found.lost, found.waiting, found.list_missing(5)) == ({2: "Cancelled."}, {3}, [4])
    Store(places).result_path(ran.result.address).unlink()
    assert trials.find_trials(plan, 5, places).list_missing(5) == [0, 4]


def test_trials_of_another_search_are_not_taken_for_its_own(
    plan: SearchPlan, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "send", lambda *_: None)
    submit(plan, places, range(2))
    assert sorted(trials.find_trials(plan, 2, places).lost) == [0, 1]  # nobody took them
    for other in (replace(plan, seed=1), replace(plan, template=replace(plan.template, split="test"))):
        found = trials.find_trials(other, 2, places)
        assert 1 not in found.lost


@pytest.mark.slow
def test_a_search_on_this_machine_as_a_cluster_ends_as_it_does_here(
    bench: Callable[..., Any], tmp_path: Path, places: Places
) -> None:
    checkout = tmp_path / "checkout"  # a copy, which nobody edits
    for folder in ("bench", "methods", "protocols", "slurm"):
        shutil.copytree(
            registry.ROOT / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__", "tunable.toml")
        )
    track = write_tunable(checkout / "bench" / "tracks")
    ask = ("tune", "--track", "tunable", "--method", "cam", "--trials", "3", "--device", "cpu", "--workers", "0")
    environment = {"PYTHONPATH": str(checkout)}
    submitted = bench(*ask, "--cluster", "local", **environment)
    assert submitted.code == 0, submitted.err
    assert "3 trials submitted" in submitted.err
    assert "cam: 0 of 3 trials ended" in submitted.err
    submission = find(None, places)
    begin = time.monotonic()
    while {one.state for one in status.statuses(submission)} != {"done"}:
        assert time.monotonic() - begin < 240, status.statuses(submission)
        time.sleep(0.2)
    ended = bench(*ask, "--cluster", "local", "--json", **environment).json()["searches"][0]
    assert read_track(str(track)).entry("cam").search is not None
    written = track.read_text()
    here = bench(*ask, "--json", **environment).json()["searches"][0]
    assert here == ended
    assert track.read_text() == written
    assert len(list((places.runs / "submissions").glob("*/submission.json"))) == 1
