"""Tracks as their users meet them: run, resumed, tabled, joined, listed, shown and published."""

from __future__ import annotations

import errno
import json
import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from track_cases import TINY, write_track

from bench.records.result import Result
from bench.records.store import Store
from bench.tracks.track import list_tracks, read_track

Here = Callable[..., Any]

PLUGIN = '''"""Points at the corner, or at the middle of the upper edge."""

import numpy as np
import pyarrow as pa

from bench.method import BaseConfig, Predictor, prediction


class CornerConfig(BaseConfig):
    x: float = prediction(0.0, "share of the width")
    net: str = prediction("none", "of no use")


class Corner(Predictor):
    Config = CornerConfig
    kinds = ("points",)

    def predict(self, truth, proposals):
        rows = [(image, label, 1.0, self.config.x * width, 0.0)
                for image, (width, _) in zip(truth.ids, truth.size) for label in truth.classes]
        return {"points": pa.table(dict(zip(("image", "label", "score", "x", "y"), map(list, zip(*rows)))))}
'''


@pytest.fixture
def track(tmp_path: Path) -> Path:
    return write_track(tmp_path)


def run(here: Here, *more: object) -> Any:
    return here("run", "--track", "tiny.toml", "--method", *more, "--device", "cpu", "--workers", 0)


def test_a_track_is_run_resumed_and_tabled(here: Here, track: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr("methods.cam.Cam.loss", interrupted)
        assert run(here, "all", "--seed", 0).code == 130
    assert len(here("list", "runs", "--json").json()["runs"]) == 3  # of what learns nothing
    answer = run(here, "all", "--seed", 0)
    assert (answer.code, "Recipe of" in answer.err) == (0, False)
    assert "\nRun 4 of 5: cam under voc07-point, seed 0\n" in answer.err
    assert "\nRun 5 of 5, about 1 min left: cam under voc07-corloc, seed 0\n" in answer.err
    assert answer.out == here("table", "--track", "tiny.toml").out
    point, corloc = here("table", "--track", "tiny.toml", "--json").json()["tables"]
    assert point["title"] == "tiny, version 2: voc07-point on shapes val"
    assert {row["values"]["method"] for row in point["rows"]} == {"center", "cam", "cam-untrained"}
    assert {row["values"]["method"] for row in corloc["rows"]} == {"cam", "cam-untrained"}
    notes = {row["values"]["method"]: row["notes"] for row in corloc["rows"]}
    assert ["tuned on: val-boxes" in notes[name] for name in ("cam", "cam-untrained")] == [True, False]
    (only,) = here("table", "--track", "tiny.toml", "--protocol", "voc07-corloc", "--json").json()["tables"]
    assert only == corloc
    assert "Run " not in run(here, "all", "--seed", 0).err


def test_the_results_of_a_run_are_those_that_the_track_includes(here: Here, track: Path) -> None:
    records = run(here, "cam-untrained", "--json").json()["results"]
    made = [Result.model_validate(record) for record in records]
    assert [(one.seed, one.protocol) for one in made] == [
        (0, "voc07-point"),
        (0, "voc07-corloc"),
        (1, "voc07-point"),
        (1, "voc07-corloc"),
    ]
    assert all(map(read_track("tiny.toml").includes, made))
    write_track(track.parent, TINY.replace("epochs = 0", "epochs = 2"))
    assert not any(map(read_track("tiny.toml").includes, made))
    answer = here("table", "--track", "tiny.toml")
    assert answer.err == "No results of track tiny.toml yet: python -m bench run --track tiny.toml --method all\n"


def test_a_method_of_ones_own_joins_with_one_command(here: Here, track: Path) -> None:
    Path("corner.py").write_text(PLUGIN)
    answer = run(here, "corner", "--plugin", "corner.py", "--set", "x=0.5", "--tuned-on", "val-boxes", "--json")
    (record,) = answer.json()["results"]
    assert (record["config"]["x"], record["config"]["net"], record["tuned_on"]) == (0.5, "tiny", "val-boxes")
    assert record["split"] == "val"
    assert "corner" in here("table", "--track", "tiny.toml").out
    refused = run(here, "corner", "--plugin", "corner.py", "--set", "net=alexnet")
    assert (refused.code, "--set net: track tiny fixes net=tiny for baselines" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--data shapes --split val", "Error: --data, --split: track tiny fixes what is compared. Leave it out"),
        ("--train-split val --convention tolerance=3.0", "Error: --train-split, --convention: track tiny fixes"),
        ("--data-option train=9", "Error: --data-option: track tiny fixes"),
        ("--set lr=1", "Error: --set: the track sets these for its methods (cam)."),
        ("--tuned-on val-boxes", "Error: --tuned-on: the track sets these"),
        ("--threads 3", "Error: --threads 3: track tiny computes with 1 thread, which trained weights depend on."),
        ("--weights other.npz", "Error: --weights other.npz: what runs of track tiny reads no weights from a file."),
        ("--protocol voc07-corlok", "Error: Unknown protocol of track tiny 'voc07-corlok'. Did you mean: voc07-corloc"),
        ("--method camm", "Error: Unknown method 'camm'. Did you mean: cam"),
        ("--method center --protocol voc07-corloc", "Error: Track tiny does not evaluate center under voc07-corloc"),
        ("--track tinny", "Error: Unknown track 'tinny'."),
    ],
)
def test_what_a_track_fixes_is_refused_in_one_message(here: Here, track: Path, options: str, says: str) -> None:
    answer = run(here, "cam", *options.split())
    assert (answer.code, answer.out) == (2, "")
    assert says in answer.err
    assert "Traceback" not in answer.err


def test_a_method_that_fails_ends_no_other(here: Here, track: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.errors import DivergedError

    def diverged(*_: Any) -> None:
        raise DivergedError("The loss is nan.")

    monkeypatch.setattr("methods.cam.Cam.loss", diverged)
    answer = run(here, "cam,center", "--seed", 0)
    assert answer.code == 3
    assert "Error: cam under voc07-point, seed 0; cam under voc07-corloc, seed 0: The loss is nan." in answer.err
    assert "center" in answer.out


def test_a_dry_run_of_a_submission_has_the_runs_of_the_track(here: Here, track: Path) -> None:
    submit = ("submit", "--dry-run", "--cluster", "local", "--track", "tiny.toml", "--method", "all", "--seed", 0)
    assert here(*submit).out.startswith("5 runs: 3 jobs (2 train)")


def test_the_results_of_a_track_are_published_together(
    here: Here, track: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = ("publish", "--track", "tiny.toml", "--into", "kept")
    assert "Error: No results of track tiny.toml in " in here(*publish).err
    run(here, "center,cam-untrained", "--protocol", "voc07-point", "--seed", 0)
    other = ("--data", "shapes", "--data-option", "test=2,size=64")
    assert here("run", "--method", "center", "--protocol", "voc07-point", *other).code == 0
    here(*publish)
    assert {json.loads(path.read_text())["method"] for path in Path("kept").glob("*.json")} == {"center", "cam"}
    assert {json.loads(path.read_text())["split"] for path in Path("kept").glob("*.json")} == {"val"}
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "second/b.json")
    copy, outcomes = Store.publish, iter([[Path("second/a.json")], full])

    def fill(*_: Any, **__: Any) -> Any:
        if isinstance(outcome := next(outcomes), OSError):
            raise outcome
        return outcome

    monkeypatch.setattr(Store, "publish", fill)
    half = here("publish", "--track", "tiny.toml", "--into", "second")
    assert half.code == 3
    assert re.match(r"1 of 2 results were published into second before \w+\.\nError: second/b.json: No space", half.err)
    monkeypatch.setattr(Store, "publish", copy)
    for wrong in (("publish",), ("publish", "abc", "--track", "tiny.toml")):
        assert "Error: expected the address of a result, or --track" in here(*wrong).err
    assert "Error: --track has leaderboards of its own" in here("table", "melm-3", "--track", "tiny.toml").err


def test_publishing_reads_record_keys_and_outcomes_once(
    here: Here, track: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(here, "cam-untrained", "--protocol", "voc07-point", "--seed", 0)
    opened, real = Counter[Path](), Path.open

    def count(path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        opened[path.absolute()] += mode.startswith("r")
        return real(path, mode, *rest, **more)

    monkeypatch.setattr(Path, "open", count)
    assert here("publish", "--track", "tiny.toml", "--into", "kept").code == 0
    (record,) = Path("runs", "results").absolute().glob("*.json")
    keys = [path for path in opened if path.name == "config.json"]
    assert len(keys) == 2
    read = [record, record.with_suffix(".parquet"), *keys]
    assert {opened[path] for path in read} == {1}


def test_tracks_are_listed_and_shown(here: Here, track: Path) -> None:
    listed = here("list", "tracks", "--json").json()["tracks"]
    assert {one["name"]: Path(one["origin"]) for one in listed} == list_tracks()
    assert "489 photographs" in here("list", "tracks").out
    shown = here("show", "tiny.toml", "--json").json()
    assert shown["groups"]["maps"] == {
        "protocols": {"voc07-point": "val", "voc07-corloc": "train"},
        "settings": {"epochs": 1},
    }
    assert shown["methods"]["cam-untrained"] == {
        "group": "maps",
        "method": "cam",
        "settings": {"epochs": 0},
        "like": None,
        "search": None,
    }
    assert shown["methods"]["cam"]["search"]["by"] == "boxes"
    text = here("show", "tiny.toml").out
    assert "maps: epochs=1\n  evaluated under voc07-point on val, voc07-corloc on train\n" in text
    assert "  cam-untrained  cam with epochs=0\n" in text
    assert "  cam            dropout=0.25       (chosen by boxes: trial 7 of 30, voc07-point 50.0%)\n" in text
    assert "voc07-laptop, version " in here("show", "voc07-laptop").out
