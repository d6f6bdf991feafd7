"""`plan`, and `run` and `submit` with `--table`, as their users meet them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.core.files import Places
from bench.errors import DivergedError
from bench.execution.step_cost import Span, StepCost, write_cost
from bench.verbs.plan import make_plan, make_requests
from bench.verbs.plan_cost import FROM_FILES, WITHOUT_WEIGHTS, compute_run_key
from slurm.submission import find

Here = Callable[..., Any]

TRY_OUT = (
    "--data",
    "shapes",
    "--data-option",
    "train=8,val=4,test=4,size=64",
    "--set",
    "net=tiny,weights=none,epochs=1",
)


def test_a_plan_counts_commands_reasons_and_what_is_missing(here: Here) -> None:
    answer = here("plan", "danet-4")
    assert "danet-4: 8 numbers: 6 planned, 0 shared, 2 reported only. 6 runs from 6 trainings." in answer.out
    assert "--method cam --protocol cub-corloc --recipe paper --set net=googlenet --seed 0" in answer.out
    assert "599,400 images trained, 5,794 images predicted; time unknown" in answer.out
    assert "its training is also that of danet-1, danet-2" in answer.out
    assert (
        "reported only (2 numbers): GoogLeNet-Friend or Foe[33], VGGnet-TSC [9]: a system of another paper"
        in answer.out
    )
    assert "missing here: data: cub (6 runs)" in answer.out
    assert "Time in all, each training once: unknown: --measure takes a few steps to know." in answer.out
    assert "On a GPU, by counting operations: about 7.1 h (3.6 to 14) at 10 TFLOP/s (range: 20 to 5)." in answer.out


def test_all_tables_are_planned_at_once_and_every_number_is_counted(here: Here) -> None:
    document, table = here("plan", "--all", "--json").json(), here("plan", "--all").out
    assert len(document["tables"]) == 32
    assert sum(document["counts"].values()) == len(document["cells"]) == 1020
    assert document["counts"]["planned"] == len(document["runs"]) > document["trainings"]
    assert all(bool(cell["reason"]) == (cell["run"] is None) for cell in document["cells"])
    assert document["gpu_seconds"]["low"] > 500 * 3600
    assert "danet-4    6        0       2              unknown     7.1" in table


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected a paper's table, such as melm-2, or --all"),
        (("melm-2", "--all"), "expected a paper's table, such as melm-2, or --all"),
        (("melm-2", "--set", "nosuch=3"), "Unknown setting in --set 'nosuch'"),
        (("melm-22",), "Unknown table 'melm-22'. Did you mean: melm-2"),
        (("melm-2", "--columns", "0.2"), "No column '0.2' has a number here: it has τ: 0.1, τ: 0.3"),
        (("--all", "--rows", "1"), "--rows and --columns are of one table"),
    ],
)
def test_what_cannot_be_planned_is_said(here: Here, arguments: tuple[str, ...], message: str) -> None:
    answer = here("plan", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err


def test_measured_steps_tell_time_memory_and_disk_and_shared_trainings_count_once(here: Here, tmp_path: Path) -> None:
    plan = make_plan(["melm-1"], rows=["VGG16"])
    cost = StepCost(
        Span(0.8, 1, 1.2), Span(0.08, 0.1, 0.12), 2.0, None, 1000, 10, 20, 1.0, "a machine", "its own images"
    )
    for run in plan.runs:
        write_cost(Places(tmp_path / "runs"), compute_run_key(run), cost)
    document = here("plan", "melm-1", "--rows", "VGG16", "--json").json()
    first, second = (run for run in document["runs"] if run["method"] in ("melm:d", "melm:l"))
    assert first["trainings"] == second["trainings"]
    trained, predicted = 20 * 5011, 4952
    assert first["cost"]["images"] == {"training": trained, "prediction": predicted}
    assert first["cost"]["seconds"]["middle"] == pytest.approx(trained * 1 + predicted * 0.1 + 20 * 2)
    assert first["cost"]["memory_mib"] == 1000
    assert first["cost"]["disk_mib"] == pytest.approx(10 + 20 + predicted / 1024)
    assert document["unknown"] == 0
    expected = document["trainings"] * (trained + 20 * 2) + len(document["runs"]) * predicted * 0.1
    assert document["seconds"]["middle"] == pytest.approx(expected)
    assert document["seconds"]["low"] < expected < document["seconds"]["high"]


def test_why_a_configuration_was_not_measured_is_in_the_plan(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> StepCost:
        raise DivergedError("The loss is not a number.")

    monkeypatch.setattr("bench.execution.measure.measure", fail)
    asked = ("plan", "spn-2", "--rows", "Center,SPN", "--columns", "vgg16_all", *TRY_OUT)
    assert "not measured: The loss is not a number. (2 runs)" in here(*asked, "--measure").out
    costs = [run["cost"] for run in here(*asked, "--measure", "--json").json()["runs"]]
    assert [(cost["seconds"], cost["not_measured"]) for cost in costs] == [(None, "The loss is not a number.")] * 2
    assert {run["cost"]["not_measured"] for run in here(*asked, "--json").json()["runs"]} == {""}


def test_a_recorded_run_tells_where_nothing_was_measured(here: Here) -> None:
    here(
        "run",
        "--table",
        "spn-2",
        "--rows",
        "SPN",
        "--columns",
        "vgg16_all",
        *TRY_OUT,
        "--threads",
        "1",
        "--workers",
        "0",
    )
    document = here("plan", "spn-2", "--rows", "SPN", "--columns", "vgg16_all", *TRY_OUT, "--json").json()
    (run,) = document["runs"]
    assert run["cost"]["source"].startswith("as in ")
    seconds = run["cost"]["seconds"]
    assert seconds["high"] == pytest.approx(2 * seconds["middle"]) == pytest.approx(4 * seconds["low"])


def test_a_try_out_changes_every_run_that_learns_and_merges_those_that_become_alike() -> None:
    from bench.tables.plan import Changes

    changes = Changes({"net": "tiny", "epochs": "1"}, data="shapes", data_options={"train": 8})
    plan = make_plan(["spn-2"], rows=["Center", "SPN"], columns=["All"], changes=changes)
    assert [run.command.partition("bench run ")[2] for run in plan.runs] == [
        "--method center --protocol voc07-point --data shapes --data-option train=8 --seed 0",
        "--method spn --protocol voc07-point --recipe paper --set net=tiny,epochs=1 --data shapes "
        "--data-option train=8 --seed 0",
    ]
    assert (plan.count("planned"), plan.count("shared")) == (2, 4)
    assert [training.dataset for training in plan.trainings] == ["shapes"]
    (request,) = make_requests(plan, changes)[[*plan.runs][1]]
    assert (request.data, dict(request.settings), request.recipe) == ("shapes", {"net": "tiny", "epochs": "1"}, "paper")


def test_a_try_out_with_a_net_of_its_own_is_not_said_to_have_another(here: Here) -> None:
    said = here("plan", "melm-2", "--data", "shapes", "--set", "net=tiny").out
    assert "the paper does not say the net" not in said
    assert "missing here: weights: tiny has none (--set weights=none) (6 runs)" in said


def test_a_table_is_submitted_as_it_is_planned_and_its_cells_are_followed(
    here: Here, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("slurm.jobs.send", lambda *_: None)
    asked = ("--table", "spn-2", "--rows", "Center,SPN", "--columns", "All", *TRY_OUT)
    answer = here("submit", "--cluster", "local", *asked)
    assert "The table of what is done: python -m bench table spn-2 --data shapes" in answer.err
    submission = find(None, Places(tmp_path / "runs"))
    assert [(cell.row, cell.column, cell.requests) for cell in submission.table.cells][:2] == [
        (0, "cnn_s_all", (0,)),
        (0, "vgg16_all", (0,)),
    ]
    assert "spn-2: 0 of 6 cells measured, 6 failed" in here("status").out  # no cluster took them
    table = here("status", "--json").json()["table"]
    assert (table["name"], table["counts"], table["cells"][0]["label"]) == ("spn-2", {"failed": 6}, "Center")


def test_collect_prints_the_table_of_its_own_try_out_not_of_a_later_one(
    here: Here, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("slurm.jobs.send", lambda *_: None)
    shown = {}
    for data in ("test=4,size=64", "test=40,size=96"):
        asked = ("--table", "spn-2", "--rows", "Center", "--data", "shapes", "--data-option", data)
        name = here("submit", "--cluster", "local", *asked, "--json").json()["submission"]
        (result,) = here("run", *asked, "--json").json()["results"]
        find(name, Places(tmp_path / "runs")).end(0, results=[result["address"]], failed={})
        shown[name] = here("run", *asked).out
    assert len({*shown.values()}) == 2
    for name, table in shown.items():
        assert "not comparable: center (a)" in table
        assert here("collect", name).out == table


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--table", "melm-2", "--method", "melm", "--recipe", "paper"),
            "--method, --recipe: the plan of a table says it",
        ),
        (("--table", "weldon-9"), "No run here measures a number of weldon-9: python -m bench plan weldon-9 says why"),
        (("--method", "cam", "--protocol", "voc07-point", "--rows", "1"), "--rows and --columns are of a --table"),
        (("--protocol", "voc07-point"), "Missing option '--method'"),
    ],
)
def test_what_a_table_fixes_is_refused(here: Here, arguments: tuple[str, ...], message: str) -> None:
    answer = here("run", *arguments)
    assert answer.code == 2
    assert message in answer.err


def test_a_try_out_fills_its_table_and_no_other(here: Here) -> None:
    asked = ("--table", "spn-2", "--rows", "Center", "--columns", "vgg16_all", *TRY_OUT)
    shown = here("run", *asked).out
    assert "not comparable: center" in shown
    assert "on shapes, not voc2007" in shown
    assert "not comparable" not in here("table", "spn-2").out
    again = here("table", "spn-2", "--data", "shapes", "--json").json()["tables"][0]
    notes = [note for row in again["rows"] if row["more"].get("row") == "measured" for note in row["notes"]]
    assert "on shapes, not voc2007" in notes


def test_nets_whose_weights_cannot_be_downloaded_are_those_without_a_source() -> None:
    from methods.nets import NETS

    assert {*FROM_FILES} == {
        name for name, net in NETS.items() if not net.torchvision and not net.package and net.layouts
    }
    assert {*WITHOUT_WEIGHTS} == {
        name for name, net in NETS.items() if not net.torchvision and not net.package and not net.layouts
    }


@pytest.mark.slow
def test_steps_are_measured_of_a_dataset_that_is_missing_and_of_one_that_is_there(here: Here) -> None:
    tiny = ("--set", "net=tiny,weights=none", "--threads", "1", "--workers", "0", "--measure", "--json")
    missing = here("plan", "spn-2", "--rows", "SPN", "--columns", "vgg16_all", *tiny).json()["runs"][0]["cost"]
    assert missing["source"].endswith("generated images")
    assert missing["seconds"]["low"] < missing["seconds"]["middle"] < missing["seconds"]["high"]
    assert missing["memory_mib"] > 100
    assert missing["disk_mib"] > 1
    own = here("plan", "melm-2", "--columns", "0.1,0.7", *TRY_OUT, "--set", "scales=64+96", *tiny[2:]).json()
    assert own["runs"][0]["cost"]["source"].endswith("its own images")
    assert own["unknown"] == 0
    assert json.dumps(own["runs"][0]["cost"]["seconds"]) == json.dumps(own["runs"][1]["cost"]["seconds"])
