"""The command of a result makes it again."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

from record_cases import RECORD

from bench.records.result import Result
from bench.tracks.command import make_command

FEW = "train=4,val=2,test=2,size=64,classes=4"
RUN = ("run", "--method", "cam", "--protocol", "voc07-point", "--data", "shapes", "--data-option", FEW)
OWN = ("--set", "net=tiny,input_size=32,epochs=1,flip=false,test_scales=32+48", "--weights", "none", "--threads", 1)
OTHER = ("--convention", "tolerance=5", "--seed", 3, "--split", "val", "--train-split", "val", "--device", "cpu")


def test_the_command_of_a_run_makes_the_same_result(here: Callable[..., Any]) -> None:
    (record,) = here(*RUN, *OWN, *OTHER, "--workers", 0, "--json").json()["results"]
    command = here("show", "run", record["address"], "--json").json()["command"]
    assert set(record["given"]) >= {"flip", "input_size", "test_scales"}
    assert "momentum" not in record["given"]
    arguments = shlex.split(command)[3:]
    assert "momentum" not in command
    forecast = here(*arguments, "--dry-run", "--json").json()["runs"][0]
    assert (forecast["training"], forecast["predictions"]) == ("stored", "stored")
    (again,) = here(*arguments, "--device", "cpu", "--workers", 0, "--json").json()["results"]
    assert (again["address"], again["metrics"]) == (record["address"], record["metrics"])


METRICS = {"address": "a", "method": "hand", "metrics": {"mAP_11pt": 0.5}, "higher_is_better": {"mAP_11pt": True}}


def test_a_record_that_does_not_say_what_was_given_has_all_settings_in_its_command() -> None:
    fields = {
        "seconds": {"prediction": 1.0},
        "config": {"weights": "my net.npz", "flip": True, "test_scales": [32, 48]},
    }
    command = make_command(Result(**{**RECORD, **METRICS, **fields}))
    assert "--weights 'my net.npz' --set flip=true,test_scales=32+48" in command


def test_predictions_from_elsewhere_are_scored_again() -> None:
    fields = {"seconds": {}, "tuned_on": "val-boxes", "protocol": "someones", "split": "all of it", "dataset": "mine"}
    fields |= {"data_options": {"train": 4}, "counts": {"missing_images": 2}}
    command = make_command(Result(**{**RECORD, **METRICS, **fields}))
    assert command.startswith("python -m bench score --protocol someones --predictions FILE --name ")
    own = "--data mine.toml --data-option train=4 --split 'all of it'"
    assert command.endswith(f"{own} --tuned-on val-boxes --allow-missing")
