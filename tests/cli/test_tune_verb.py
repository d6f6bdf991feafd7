"""`tune` as its users meet it: the trials' table, the file that it writes, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tune_cases import TUNABLE, write_tunable

from bench.errors import DivergedError, RequestError
from bench.execution import pipeline
from bench.tracks.track import read_track
from bench.tracks.tune import Trial
from slurm.trials import SubmittedTrials

Here = Callable[..., Any]
ASK = ("--track", "tunable.toml", "--trials", "3", "--device", "cpu", "--workers", "0")


def test_a_search_prints_its_trials_and_writes_the_winner_and_the_same_command_repeats_it(
    here: Here, tmp_path: Path
) -> None:
    path = write_tunable(tmp_path)
    answer = here("tune", *ASK, "--method", "cam")
    assert answer.code == 0, answer.err
    head, columns, *rows = answer.out.splitlines()
    assert head == "cam, by labels, seed 0"
    assert columns.split() == ["trial", "dropout", "lr", "weight_decay", "mAP", "seconds"]
    assert [row.split()[0] for row in rows] == ["0", "1", "2"]
    (marked,) = [row for row in rows if "*" in row]
    assert (
        "cam: 3 trials trained on train:1-2of3, scored on train:3of3 by mAP of voc07-cls; drawn: dropout 0.0|0.25|0.5, "
        "lr 0.001...0.3 (log), weight_decay 1e-05...0.01 (log)"
    ) in answer.err
    assert "Trials: 3/3 trials" in answer.err
    entry = read_track(str(path)).entry("cam")
    assert entry.search is not None
    assert entry.search.trial == int(marked.split()[0])
    assert f"Wrote dropout={entry.settings['dropout']}" in answer.err
    written = path.read_text()
    assert here("tune", *ASK, "--method", "cam").out == answer.out
    assert path.read_text() == written


def test_several_methods_are_one_document_and_a_dry_run_writes_nothing(here: Here, tmp_path: Path) -> None:
    path = write_tunable(tmp_path)
    asked = ("--method", "gradient,deconv", "--by", "boxes", "--seed", "4", "--trials", "2", "--dry-run", "--json")
    document = here("tune", *ASK, *asked).json()
    assert document["track"] == "tunable"
    first, second = document["searches"]
    assert (first["method"], second["method"]) == ("gradient", "deconv")
    assert (first["by"], first["seed"], first["metric"]) == ("boxes", 4, "accuracy")
    assert [trial["number"] for trial in first["trials"]] == [0, 1]
    best = max(first["trials"], key=lambda trial: trial["score"])
    assert first["winner"] == best["number"]
    assert best["interval"][0] <= best["score"] <= best["interval"][1]
    assert path.read_text() == TUNABLE


def test_trials_are_in_no_table_and_no_gate_unless_asked_for(here: Here, tmp_path: Path) -> None:
    write_tunable(tmp_path)
    asked = ("--method", "cam,gradient", "--by", "boxes", "--trials", "1", "--dry-run", "--json")
    searches = here("tune", *ASK, *asked).json()["searches"]
    (own,) = here("run", "--track", "tunable.toml", "--method", "center", "--device", "cpu", "--json").json()["results"]
    trials = {trial["result"] for search in searches for trial in search["trials"]}
    assert len(trials) == 2

    def list_shown(*asked: str) -> set[str]:
        tables = here("table", *asked, "--json").json()["tables"]
        return {address for table in tables for row in table["rows"] for address in row["more"]["results"].split()}

    assert list_shown("--data", "shapes") == {own["address"]}
    assert list_shown("--data", "shapes", "--trials") == {own["address"], *trials}
    answer = here("table", "voc07-corloc", "--data", "shapes")
    left_out = "Left out: 1 trial of tune, evaluated on another part of the split that they were trained on"
    assert f"{left_out}; --trials shows them." in answer.err
    assert "cam" not in answer.out
    assert "not comparable: gradient" not in here("table", "spn-2", "--data", "shapes").out
    assert "not comparable: gradient" in here("table", "spn-2", "--data", "shapes", "--trials").out
    assert f"{own['address']}" in (runs := here("list", "runs").out)
    assert all(address in runs for address in trials)
    here("gate", "--accept", "these")
    gated = here("gate", "--json").json()["checks"]
    assert {check["address"] for check in gated} == {own["address"]}
    (trial,) = here("gate", searches[0]["trials"][0]["result"], "--json").json()["checks"]
    assert trial["status"] == "no baseline"
    assert "cam has only trials of tune" in here("compare", "cam", "center").err
    assert "have no metric in common" in here("compare", *trials, "--anyway").err  # found by address
    assert "of its own data and splits" in here("table", "--track", "tunable.toml", "--trials").err
    here("report", "--out", "site")
    pages = {path.stem for path in (tmp_path / "site" / "run").iterdir()}
    assert own["address"] in pages
    assert pages.isdisjoint(trials)


def test_all_is_all_that_can_be_tuned(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tunable(tmp_path)
    monkeypatch.setattr("bench.tracks.tune.run_trials", lambda plan, count, **_: iter([Trial(0, plan.draw(0))]))
    answer = here("tune", *ASK, "--method", "deconv,all", "--json")
    assert answer.code == 3  # these trials have no score
    methods = [search["method"] for search in json.loads(answer.out)["searches"]]
    assert methods == ["deconv", "cam", "weldon:a+b", "gradient"]


def test_where_every_trial_fails_the_reasons_are_shown_and_nothing_is_written(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tunable(tmp_path)

    def fit(*_: Any) -> None:
        raise DivergedError("The loss is not finite.")

    monkeypatch.setattr(pipeline, "_fit", fit)
    answer = here("tune", *ASK, "--method", "cam")
    assert answer.code == 3
    assert answer.out.count("failed: The loss is not finite.") == 3
    assert "cam: no trial has a score" in answer.err
    assert path.read_text() == TUNABLE


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (("--method", "center"), "center of track tunable has nothing to tune by labels"),
        (("--method", "camm"), "Did you mean: cam"),
        (("--method", "cam", "--threads", "2"), "--threads 2: track tunable computes with 1 thread"),
        (("--method", "cam", "--cluster", "slurm"), "--cluster slurm needs a --profile"),
        (("--method", "cam", "--weights", "w.npz"), "reads no weights from a file"),
    ],
)
def test_what_cannot_be_is_refused(here: Here, tmp_path: Path, asked: tuple[str, ...], says: str) -> None:
    write_tunable(tmp_path)
    answer = here("tune", *ASK, *asked)
    assert (answer.code, answer.out) == (2, "")
    assert says in answer.err


def test_several_processes_are_refused(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tunable(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "tune runs in one process" in here("tune", *ASK, "--method", "cam").err


@pytest.mark.parametrize(
    ("found", "says", "sent"),
    [
        (SubmittedTrials(), "3 trials submitted: name\ncam: 0 of 3 trials ended. Follow the jobs with", 3),
        (SubmittedTrials(waiting={0, 1}), "1 trial submitted: name\ncam: 0 of 3 trials ended. Follow the jobs with", 1),
        (
            SubmittedTrials(waiting={0, 1}, lost={2: "Out of memory."}),
            "cam: 0 of 3 trials ended. The job of trial 2 failed: Out of memory. Send such jobs again",
            0,
        ),
    ],
)
def test_on_a_cluster_only_what_is_missing_is_submitted(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: SubmittedTrials, says: str, sent: int
) -> None:
    path, submitted = write_tunable(tmp_path), []
    monkeypatch.setattr("slurm.trials.find_trials", lambda *_: found)
    monkeypatch.setattr("slurm.trials.submit_trials", lambda requests, *_: submitted.extend(requests) or "name")
    answer = here("tune", *ASK, "--method", "cam", "--cluster", "local")
    assert (answer.code, answer.out, len(submitted)) == (0, "", sent)
    assert says in answer.err
    assert path.read_text() == TUNABLE


def test_again_on_a_cluster_submits_all_that_is_not_on_its_way(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tunable(tmp_path)
    ended, means = SubmittedTrials(ended={0: Trial(0, {}), 1: Trial(1, {})}, waiting={2}), []
    monkeypatch.setattr("slurm.trials.find_trials", lambda *_: ended)
    monkeypatch.setattr(
        "slurm.trials.submit_trials", lambda requests, *given: means.append((len(requests), given[-1])) or "name"
    )
    answer = here("tune", *ASK, "--method", "cam", "--cluster", "local", "--again")
    assert (answer.code, answer.out) == (0, "")
    assert "cam: trials are made again. Follow them, and repeat this command without --again." in answer.err
    ((sent, given),) = means
    assert (sent, given["stored"]) == (2, "again")


def test_a_hopeless_search_is_refused_before_others_begin(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tunable(tmp_path)
    bad = RequestError("The net is not there.")
    monkeypatch.setattr(
        "bench.execution.forecast.find_obstacle", lambda resolved: bad if resolved.cls.name == "weldon" else None
    )
    monkeypatch.setattr("bench.tracks.tune.run_trials", lambda plan, count, **_: iter([Trial(0, plan.draw(0))]))
    answer = here("tune", *ASK, "--method", "cam,weldon:a+b", "--json")
    assert answer.code == 2
    assert [search["method"] for search in json.loads(answer.out)["searches"]] == ["cam"]
    assert answer.err.index("Error: weldon:a+b: The net is not there.") < answer.err.index("cam: 3 trials trained on")
    assert here("tune", *ASK, "--method", "weldon:a+b").err == "Error: The net is not there.\n"
