"""The MLflow mirror, read back by MLflow's own client: each run once, whole, whatever was killed or came at once."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from bench.core.files import Places, write_text
from bench.errors import RunError
from bench.records.names import compute_address
from bench.records.result import Result
from bench.records.store import Store
from bench.tracking.mirror import ADDRESS, SYNC, _knock, sync


@pytest.fixture(scope="module", autouse=True)
def made_up_addresses() -> Iterator[None]:
    """Let records have addresses that tests can name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.records.result.check_address", lambda result: None)
        yield


EPOCHS = [{"epoch": 1, "loss": 0.75, "lr": 0.05}, {"epoch": 2, "loss": 0.5, "lr": 0.05}, {"epoch": 3, "loss": 0.25}]


def record(runs: Path, address: str, **changes: Any) -> Result:
    """Put a result into a runs folder as `run` does."""
    given: dict[str, Any] = {
        "address": address, "protocol": "voc07-det", "family": "detection", "digest": "d1", "conventions": {},
        "truth_digest": "t1", "ids_digest": "i1", "dataset": "shapes", "split": "test", "images": 2, "partial": False,
        "method": "melm", "variant": "l2+arl", "seed": 3, "predictions": "p1", "config": {"net": "tiny", "scales": [1]},
        "given": ("net", "scales"),
        "metrics": {"mAP_11pt": 1 / 3, "mAP_area": None}, "higher_is_better": {"mAP_11pt": True, "mAP_area": True},
        "intervals": {"mAP_11pt": (0.25, 0.5)}, "seconds": {"training": 8.5}, "created": "2026-01-02T03:04:05+00:00",
        "provenance": {"revision": "abc123"},
    }  # fmt: skip
    result = Result(**{**given, **changes})
    Store(Places(runs)).record(result, pa.table({"image": ["000001"]}))
    return result


def log(runs: Path, training: str, text: str) -> None:
    write_text(runs / "trainings" / training / "log.jsonl", text)


@dataclass(frozen=True)
class Mirror:
    """A runs folder, and what MLflow holds of it."""

    runs: Path

    @property
    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=f"sqlite:///{self.runs / 'mlflow.db'}")

    def run(self, address: str) -> Any:
        (found,) = self.all(address)
        return found

    def all(self, address: str) -> list[Any]:
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # MLflow's, of SQLAlchemy
            experiments = [one.experiment_id for one in self.client.search_experiments()]
            return list(self.client.search_runs(experiments, f"tags.`{ADDRESS}` = '{address}'"))


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Mirror:
    """A store that holds two results: `trained`, of a training of three epochs, and `floor`, of none."""
    runs = tmp_path_factory.mktemp("tracked") / "runs"
    record(runs, "trained", training="t-1")
    (runs / "sheets").mkdir()
    (runs / "sheets" / "trained.html").write_text("<p>The worst and the best")
    log(runs, "t-1", "".join(json.dumps(epoch) + "\n" for epoch in EPOCHS))
    record(runs, "floor", method="center", variant=None, seed=None, config={}, intervals={}, dataset="voc2007")
    assert sync(Places(runs)).added == ("floor", "trained")
    return Mirror(runs)


def test_a_run_has_its_metrics_with_their_interval(mirror: Mirror) -> None:
    metrics = mirror.run("trained").data.metrics
    assert metrics["mAP_11pt"] == 1 / 3
    assert (metrics["mAP_11pt/low"], metrics["mAP_11pt/high"]) == (0.25, 0.5)
    assert metrics["seconds/training"] == 8.5
    assert "mAP_area" not in metrics  # undefined


def test_a_run_has_its_training_epoch_by_epoch(mirror: Mirror) -> None:
    history = mirror.client.get_metric_history(mirror.run("trained").info.run_id, "train/loss")
    assert sorted((point.step, point.value) for point in history) == [(1, 0.75), (2, 0.5), (3, 0.25)]


def test_a_run_has_its_parameters(mirror: Mirror) -> None:
    assert mirror.run("trained").data.params == {"net": "tiny", "scales": "[1]", "seed": "3"}


def test_a_run_is_found_by_what_it_is_of(mirror: Mirror) -> None:
    run = mirror.run("trained")
    tags = {key.removeprefix("weakloc."): value for key, value in run.data.tags.items()}
    expected = {"method": "melm", "variant": "l2+arl", "split": "test", "training": "t-1", "synthetic": "true"}
    assert expected.items() <= tags.items()
    assert tags["mlflow.source.git.commit"] == "abc123"
    assert (run.info.run_name, run.info.status) == ("melm:l2+arl [scales=[1]] seed 3", "FINISHED")
    assert run.info.end_time == 1767323045000  # 2026-01-02T03:04:05Z
    assert run.info.end_time - run.info.start_time == 8500
    (dataset,) = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("shapes test", "t1")
    assert mirror.client.get_experiment(run.info.experiment_id).name == "voc07-det on shapes"


def test_a_run_has_its_files(mirror: Mirror) -> None:
    run = mirror.run("trained").info
    assert {file.path for file in mirror.client.list_artifacts(run.run_id)} == {
        "trained.json",
        "trained.parquet",
        "log.jsonl",
        "tables.html",
        "trained.html",
    }
    tables = (Path(run.artifact_uri.removeprefix("file://")) / "tables.html").read_text()
    assert "<caption>melm:l2+arl · voc07-det on shapes test" in tables
    copy = Path(run.artifact_uri.removeprefix("file://")) / "trained.json"
    assert copy.read_bytes() == (mirror.runs / "results" / "trained.json").read_bytes()


def test_what_learns_nothing_has_no_epochs(mirror: Mirror) -> None:
    run = mirror.run("floor")
    assert not [name for name in run.data.metrics if name.startswith("train/")]
    assert {file.path for file in mirror.client.list_artifacts(run.info.run_id)} == {
        "floor.json",
        "floor.parquet",
        "tables.html",
    }


def test_a_second_sync_adds_nothing(mirror: Mirror) -> None:
    report = sync(Places(mirror.runs))
    assert (report.added, report.failed) == ((), {})
    assert {"floor", "trained"} <= set(report.already)
    assert len(mirror.all("floor")) == len(mirror.all("trained")) == 1


def test_more_points_than_a_batch_holds_all_arrive(mirror: Mirror) -> None:
    log(mirror.runs, "t-long", "".join(json.dumps({"epoch": n, "loss": n, "lr": n}) + "\n" for n in range(1, 802)))
    record(mirror.runs, "long", training="t-long", config={f"field_{n}": n for n in range(120)})
    assert sync(Places(mirror.runs)).added == ("long",)
    run = mirror.run("long")
    assert len(mirror.client.get_metric_history(run.info.run_id, "train/lr")) == 801
    assert len(run.data.params) == 121


@pytest.mark.parametrize("moment", ["log_batch", "log_artifact", "set_terminated"])
def test_what_an_interrupted_sync_left_half_done_is_made_anew(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    from mlflow import MlflowClient

    record(mirror.runs, f"half-{moment}")
    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, moment, interrupted)
        with pytest.raises(KeyboardInterrupt):
            sync(Places(mirror.runs))
    left = mirror.run(f"half-{moment}").info
    assert left.status == "RUNNING"
    assert sync(Places(mirror.runs)).added == (f"half-{moment}",)
    run = mirror.run(f"half-{moment}")
    assert (run.info.status, run.data.metrics["mAP_11pt"]) == ("FINISHED", 1 / 3)
    assert len(mirror.client.list_artifacts(run.info.run_id)) == 3
    assert run.info.run_id != left.run_id


def interrupted(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_what_another_runs_folder_is_about_to_mirror_is_left_alone(mirror: Mirror) -> None:
    experiment = mirror.run("trained").info.experiment_id
    theirs = mirror.client.create_run(experiment, tags={ADDRESS: "of another folder"}).info.run_id
    sync(Places(mirror.runs))
    assert mirror.run("of another folder").info.run_id == theirs


def test_a_record_that_cannot_be_mirrored_is_named_and_stops_no_other(mirror: Mirror, here: Callable[..., Any]) -> None:
    record(mirror.runs, "a-bad-log", training="t-bad")
    log(mirror.runs, "t-bad", '{"epoch": 1}\nnonsense\n')
    record(mirror.runs, "z-good")
    answer = here("sync", "--runs", mirror.runs, "--json")
    report = json.loads(answer.out)
    assert (answer.code, report["added"]) == (3, ["z-good"])
    assert "log.jsonl, row 1: expected a JSON object with an epoch" in report["failed"]["a-bad-log"]
    assert "Error: a-bad-log: " in answer.err
    assert mirror.all("a-bad-log") == []
    log(mirror.runs, "t-bad", '{"epoch": 1}\n')
    answer = here("sync", "--runs", mirror.runs)
    assert (answer.code, answer.err.rpartition(",")[0]) == (0, "Mirroring: 1/1 runs")
    assert answer.out == f"sqlite:///{mirror.runs}/mlflow.db: 1 added, {len(report['already']) + 1} already there\n"


def test_a_deleted_experiment_says_how_to_go_on(mirror: Mirror) -> None:
    record(mirror.runs, "before", dataset="gone")
    sync(Places(mirror.runs))
    found = mirror.client.get_experiment_by_name("voc07-det on gone")
    mirror.client.delete_experiment(found.experiment_id)
    record(mirror.runs, "after", dataset="gone")
    report = sync(Places(mirror.runs))
    assert {"after", "before"} >= report.failed.keys() > set()
    message = report.failed["after"]
    assert "The experiment 'voc07-det on gone'" in message
    assert f"`mlflow experiments restore -x {found.experiment_id}`, or `mlflow gc --experiment-ids" in message
    mirror.client.restore_experiment(found.experiment_id)
    assert not sync(Places(mirror.runs)).failed
    assert len(mirror.all("after")) == len(mirror.all("before")) == 1


def test_the_store_is_the_one_that_the_environment_names(
    mirror: Mirror, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(places.runs, "by-environment")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{mirror.runs / 'mlflow.db'}")
    assert sync(places).added == ("by-environment",)
    assert mirror.run("by-environment").info.status == "FINISHED"


@pytest.mark.slow
def test_eight_at_once_on_a_fresh_store_all_succeed(tmp_path: Path) -> None:
    addresses = sorted(compute_address(f"p{number}", "voc07-det", "d1", "t1") for number in range(3))
    for number in range(3):  # with their own addresses: processes of their own look at them
        made = {"predictions": f"p{number}"}
        record(tmp_path / "runs", compute_address(made["predictions"], "voc07-det", "d1", "t1"), **made)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("BENCH_", "MLFLOW_"))}
    command = [sys.executable, "-m", "bench", "sync", "--json"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes) for _ in range(8)]
    said = [one.communicate(timeout=600) for one in started]
    assert [one.returncode for one in started] == [0] * 8, said
    reports = [json.loads(out) for out, _ in said]
    assert sorted(address for report in reports for address in report["added"]) == addresses
    assert all(len(report["added"]) + len(report["already"]) == 3 for report in reports)
    mirrored = Mirror(tmp_path / "runs")
    assert [mirrored.run(address).info.status for address in addresses] == ["FINISHED"] * 3
    heard = {line.partition(",")[0] for _, err in said for line in err.splitlines()}
    assert heard <= {"Waiting for another sync.", "Mirroring: 3/3 runs", "Mirroring: 0/0 runs"}  # nothing of MLflow's


def test_where_nothing_ran_no_store_is_made(places: Places) -> None:
    assert sync(places).added == ()
    assert not places.runs.exists()


def test_a_password_is_not_repeated(places: Places) -> None:
    assert sync(places, "postgresql://me:secret@host/db").uri == "postgresql://me@host/db"


@pytest.mark.parametrize(
    "store", ["sqlite:///{folder}/text.db", "sqlite:///{folder}/no/folder.db", "http://{nobody}", "x://"]
)
def test_a_store_that_cannot_be_used_is_one_message(places: Places, tmp_path: Path, store: str) -> None:
    record(places.runs, "r")
    (tmp_path / "text.db").write_text("no database, but a long enough text to have a header" * 9)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        uri = store.format(folder=tmp_path, nobody=f"127.0.0.1:{closed.getsockname()[1]}")
    with pytest.raises(RunError, match=r"cannot be (used|written): .*--uri"):
        sync(places, uri)


@pytest.mark.parametrize(("hours", "stays"), [(0.1, True), (2.0, False)])
def test_what_another_sync_has_begun_is_left_to_it_for_an_hour(mirror: Mirror, hours: float, stays: bool) -> None:
    address = f"begun-{hours}"
    record(mirror.runs, address)
    experiment = mirror.run("trained").info.experiment_id
    tags = {ADDRESS: address, SYNC: f"elsewhere:/runs {time.time() - hours * 3600:.0f}"}
    theirs = mirror.client.create_run(experiment, tags=tags).info.run_id
    report = sync(Places(mirror.runs))
    assert (address in report.already, address in report.added) == (stays, not stays)
    assert (mirror.run(address).info.run_id == theirs) is stays


@pytest.mark.parametrize("uri", ["http://me:secret@127.0.0.1:{port}", "http://127.0.0.1:{port}"])
def test_a_server_that_wants_a_password_is_there(uri: str) -> None:
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(401)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        _knock(uri.format(port=server.server_port))
    assert asked == ["/health"]


@pytest.mark.parametrize(
    "uri",
    [
        "http://h/?token=XSECRET",
        "bogus://bob:XSECRET@h/db",
        "postgresql://me:XSECRET@h:abc/db",
        "http://[::1/XX",
        "http://h:99x",
    ],
)
def test_a_store_that_cannot_be_used_is_a_message_without_secrets(
    places: Places, here: Callable[..., Any], uri: str
) -> None:
    record(places.runs, "one")
    answer = here("sync", "--uri", uri, "--runs", places.runs)
    assert answer.code == 3
    assert answer.err.startswith("Error: MLflow's store ")
    assert "XSECRET" not in answer.err + answer.out
    assert "Traceback" not in answer.err
