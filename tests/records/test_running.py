"""Trainings in progress: those that a living process holds, with their logs so far."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bench.core.files import Places, write_json, write_text
from bench.core.lease import claim
from bench.errors import LeftOutWarning
from bench.records.running import list_running, read_state

LOG = [{"epoch": 1.0, "loss": 3.5}, {"epoch": 2.0, "loss": 2.5}]


def begin(places: Places, name: str) -> Path:
    folder = places.runs / "trainings" / name
    write_json(folder / "config.json", {"method": "cam", "seed": 1, "config": {"epochs": 20}})
    write_text(folder / "log.jsonl", "".join(f"{json.dumps(one)}\n" for one in LOG))
    return folder


def test_a_training_runs_while_a_process_holds_it(places: Places) -> None:
    folder = begin(places, "a")
    assert list_running(places) == []
    with claim(folder / "lease", unless=lambda: False):
        (found,) = list_running(places)
        assert (found.address, found.method, found.seed, found.epochs, found.log) == ("a", "cam", 1, 20, LOG)
        (folder / "done.json").touch()
        assert list_running(places) == []


def test_a_damaged_log_is_left_out_and_said(places: Places) -> None:
    folder = begin(places, "a")
    write_text(folder / "log.jsonl", "{")
    with claim(folder / "lease", unless=lambda: False), pytest.warns(LeftOutWarning, match=r"log\.jsonl: not a train"):
        assert list_running(places) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", '{"method": "cam", "seed": 1, "config": []}'),
        ("config.json", '{"method": [], "seed": 1, "config": {}}'),
        ("config.json", '{"method": "cam", "seed": "1", "config": {}}'),
        ("config.json", '{"method": "cam", "seed": 1, "config": {"epochs": "20"}}'),
        ("log.jsonl", '{"loss": 1.0}\n'),
    ],
)
def test_a_file_of_another_shape_is_left_out_and_said(places: Places, name: str, content: str) -> None:
    folder = begin(places, "a")
    write_text(folder / name, content)
    with claim(folder / "lease", unless=lambda: False), pytest.warns(LeftOutWarning, match=re.escape(name)):
        assert list_running(places) == []


def test_the_state_changes_with_records_and_logs_of_what_runs(places: Places, tmp_path: Path) -> None:
    folder, published = begin(places, "a"), tmp_path / "measured"
    with claim(folder / "lease", unless=lambda: False):
        states = [read_state(places, published)]
        write_json(places.runs / "results" / "b.json", {})
        states.append(read_state(places, published))
        write_text(folder / "log.jsonl", "longer" * 20)
        states.append(read_state(places, published))
        write_text(published / "c.json", "{}")
        states.append(read_state(places, published))
    assert [len(state) for state in states] == [1, 2, 2, 3]
    assert states[1] != states[2]
