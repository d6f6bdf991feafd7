"""What the runs folder takes, and what of it may go: never what a process works on, or needs."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from record_cases import RECORD

from bench.core.files import Places, write_json
from bench.core.lease import claim
from bench.execution.housekeeping import choose_prunable, list_items, prune
from bench.records.result import Result, write_result

pytestmark = pytest.mark.usefixtures("made_up_addresses")

if TYPE_CHECKING:
    from conftest import Answer

DAY = 86400.0
NOW = time.time()


def make(method: str, **more: Any) -> Result:
    return Result(
        **{**RECORD, "address": "r", "method": method, "metrics": {"x": 0.5}, "higher_is_better": {"x": True}, **more}
    )


def write(path: Path, size: int, days: float) -> None:
    """A file of a size, written some days ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\0" * size)
    os.utime(path, (NOW - days * DAY,) * 2)


def add(runs: Path, kind: str, address: str, *, days: float, size: int = 1000, **key: Any) -> Path:
    """A training or predictions, with what determines it."""
    folder = runs / kind / address
    write_json(folder / "config.json", {"method": "cam", "config": {}, **key})
    os.utime(folder / "config.json", (NOW - days * DAY,) * 2)
    write(folder / "weights.pt", size, days)
    return folder


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Trainings of 40 and 10 days, and what was predicted from them; one ensemble of predictions."""
    runs = tmp_path / "runs"
    add(runs, "trainings", "t-old", days=40, size=5000)
    add(runs, "trainings", "t-new", days=10)
    add(runs, "predictions", "p-old", days=40, training="t-old")
    add(runs, "predictions", "p-new", days=10, training="t-new")
    add(runs, "predictions", "both", days=35, training=None, config={"runs": ["p-old", "gone"]}, method="ensemble")
    write(runs / "cache" / "features" / "f" / "a.npy", 300, 50)
    write(runs / "cache" / "truth" / "t.parquet", 30, 50)
    write(runs / "mlflow.db", 7, 50)
    return Places(runs)


def names(items: Any) -> set[str]:
    return {item.path.name for item in items}


def free(items: Any) -> set[str]:
    return names(item for item in items if not item.why_kept)


def test_every_part_is_measured_and_the_largest_comes_first(places: Places) -> None:
    write_result(places.runs / "results" / "r.json", make("cam"))
    write(places.runs / "results" / "r.replicates.parquet", 20_000, 1)
    items = list_items(places)
    assert items[0].path.name == "r.json"
    assert items[0].bytes > 20_000
    assert {item.kind for item in items} == {"trainings", "predictions", "results", "features", "cache", "other"}
    assert {item.label for item in items} == {"cam", "ensemble", ""}
    whole = sum(path.stat().st_size for path in places.runs.rglob("*") if path.is_file())
    assert sum(item.bytes for item in items) == whole
    assert list_items(Places(places.runs / "nowhere")) == []


def test_age_is_that_of_the_last_file_written(places: Places) -> None:
    assert free(choose_prunable(places, older_s=30 * DAY, now=NOW)) == {"t-old", "p-old", "both"}
    write(places.runs / "trainings" / "t-old" / "log.jsonl", 1, 5)
    assert free(choose_prunable(places, older_s=30 * DAY, now=NOW)) == {"p-old", "both"}
    assert free(choose_prunable(places, kinds=("features",), older_s=30 * DAY, now=NOW)) == {"f"}


def test_what_kept_results_rest_on_stays_through_all_steps(places: Places) -> None:
    chosen = choose_prunable(places, kept=[make("ensemble", predictions="both", training=None)], now=NOW)
    assert free(chosen) == {"t-new", "p-new"}
    assert {item.why_kept for item in chosen if item.path.name == "t-old"} == {"a kept result rests on it"}


def test_what_is_leased_stays_with_all_that_it_needs(places: Places) -> None:
    with claim(places.runs / "predictions" / "both" / "lease", unless=lambda: False):
        chosen = choose_prunable(places, now=NOW + DAY)
        assert free(chosen) == {"t-new", "p-new"}
        reasons = {item.path.name: item.why_kept for item in chosen}
        assert reasons["both"].startswith(f"in use by process {os.getpid()} on ")
        assert reasons["t-old"] == reasons["p-old"] == "needed by a run in progress"
    (places.runs / "predictions" / "both" / "lease" / "1.json").touch()
    assert len(free(choose_prunable(places, now=NOW * 2))) == 5


def test_what_is_claimed_between_the_look_and_the_deletion_stays(places: Places) -> None:
    chosen = choose_prunable(places, now=NOW)
    with claim(places.runs / "trainings" / "t-old" / "lease", unless=lambda: False):
        assert names(prune(chosen)[0]) == {"t-new", "p-old", "p-new", "both"}
    assert [path.name for path in (places.runs / "trainings").iterdir()] == ["t-old"]
    assert list((places.runs / "predictions").iterdir()) == []


def test_what_cannot_be_deleted_is_named_and_stops_nothing(
    here: Callable[..., Answer], places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.name == "t-new":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    answer = here("runs", "prune", "--older", "1d")
    assert "Deleted 4 items" in answer.out
    assert f"1 item kept: not deleted, {Path('runs', 'trainings', 't-new')}: Permission denied." in answer.out
    assert free(choose_prunable(places, now=NOW)) == {"t-new"}


def test_the_command_line(here: Callable[..., Answer], places: Places, tmp_path: Path) -> None:
    published = make("cam", training="t-old", predictions="p-old")
    write_result(tmp_path / "measured" / "r.json", published)
    write_result(places.runs / "results" / "s.json", make("cam", training="t-new", predictions="p-new"))
    used = here("runs", "du", "--top", 1)
    assert "trainings    2      5 KiB" in used.out
    assert used.out.splitlines()[-1].startswith("trainings/t-old  cam     ")
    whole = here("runs", "du", "--json").json()
    assert whole["bytes"] == sum(whole["kinds"].values())
    before = {*places.runs.rglob("*")}
    tried = here("runs", "prune", "--keep", "published", "--older", "30d", "--dry-run")
    assert "predictions/both" in tried.out
    assert "Would delete 1 item, 1 KiB. 2 items kept: a kept result rests on it." in tried.out
    assert {*places.runs.rglob("*")} == before
    done = here("runs", "prune", "--keep", "published,results", "--older", "30d", "--json").json()
    assert [one["name"] for one in done["deleted"]] == ["predictions/both"]
    assert not done["dry_run"]
    here("runs", "prune", "--keep", "results")
    assert {path.name for path in (places.runs / "predictions").iterdir()} == {"p-new"}
    assert (places.runs / "results" / "s.json").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "say what stays: --keep published, --keep results, or --older AGE"),
        (("--older", "30"), "--older: expected hours, days or weeks, as 12h, 30d or 2w, but got '30'."),
        (("--keep", "all"), "--keep: expected published or results, but got 'all'."),
        (("--older", "1d", "--kind", "results"), "--kind: expected trainings or predictions or features, but got"),
    ],
)
def test_what_is_not_clear_deletes_nothing(
    here: Callable[..., Answer], places: Places, options: tuple[str, ...], says: str
) -> None:
    before = {*places.runs.rglob("*")}
    answer = here("runs", "prune", *options)
    assert (answer.code, says in answer.err) == (2, True), answer.err
    assert {*places.runs.rglob("*")} == before
