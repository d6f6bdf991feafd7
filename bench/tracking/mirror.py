"""The MLflow mirror: every finished run once, with metrics per epoch, parameters and result files.

Nothing is ever read back from it: if the store is deleted, `sync` makes it again. Runs are identified by the result's
address, in a tag. A run has the status FINISHED only once it is complete; the remains of a killed `sync` are replaced.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import socket
import sqlite3
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from filelock import FileLock, Timeout

from bench.core.files import Places
from bench.core.progress import SILENT, Progress
from bench.core.redaction import remove_secrets
from bench.errors import BadFileError, RunError, first_line
from bench.records.result import SYNTHETIC, Result, list_records, read_result
from bench.records.store import Store
from bench.tables.frames import tables_to_html
from bench.tables.one_result import make_result_tables

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric

ADDRESS = "weakloc.address"
"""The tag that holds a result's address."""

SYNC = "weakloc.sync"
"""The tag with the owner of the sync that began a run, and when, in seconds since the epoch."""

_ABANDONED_S = 3600.0

MOST_NAMED = 4
"""The most settings in the name of a run."""

BATCH, PARAMS, VALUE = 1000, 100, 5000
"""MLflow's limits: metrics and parameters per batch; characters of a value that every store accepts."""


@dataclass(frozen=True)
class SyncReport:
    """The outcome of a sync, by result address. failed: the reason for each, in one line. uri: without a password."""

    uri: str
    added: tuple[str, ...] = ()
    already: tuple[str, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def how_to_look(self) -> str:
        """Describe how to view the store."""
        if self.uri.startswith("http"):
            return f"Look at it in a browser: {self.uri}"
        return f"Look at it in a browser: mlflow ui --backend-store-uri {shlex.quote(self.uri)}"


def sync(places: Places, uri: str | None = None, progress: Progress = SILENT) -> SyncReport:
    """Mirror every finished run of the runs folder that the store lacks; a repeated call adds nothing.

    uri: by default MLFLOW_TRACKING_URI, else SQLite in the runs folder. Only one process at a time does this: MLflow's
    set-up of a new store breaks if several begin it at once. Raises RunError for a store that cannot be used; a record
    that cannot be mirrored is reported and does not stop the others.
    """
    runs = places.runs.resolve()
    uri = _uri(uri, runs)
    records = list_records(runs / "results")
    if not records:
        return SyncReport(remove_secrets(uri))
    with open_store(places, uri, progress) as client:
        return _mirror(Store(Places(runs)), client, records, progress)


@contextmanager
def open_store(places: Places, uri: str | None = None, progress: Progress = SILENT) -> Iterator[MlflowClient]:
    """Open a client of a store, for one process at a time; `uri` as for `sync`. Raises RunError."""
    runs = places.runs.resolve()
    uri = _uri(uri, runs)
    with _hold_lock(_locate_lock(uri, runs), progress), _silence():
        yield _client(uri)


def _uri(given: str | None, runs: Path) -> str:
    return given or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{runs / 'mlflow.db'}"


def _mirror(store: Store, client: MlflowClient, records: Sequence[Path], progress: Progress) -> SyncReport:
    from mlflow.exceptions import MlflowException

    owner = describe_owner(store.places.runs)
    there = _list_there(client, {record.stem for record in records}, owner)
    new = [record for record in records if record.stem not in there]
    failed: dict[str, str] = {}
    with progress.task("Mirroring", len(new), unit="runs") as step:
        for record in new:
            try:
                _add(client, store, record, owner)
            except (BadFileError, RunError, MlflowException, OSError, ValueError) as error:
                failed[record.stem] = remove_secrets(first_line(error), client.tracking_uri)
            step()
    added = tuple(record.stem for record in new if record.stem not in failed)
    already = tuple(record.stem for record in records if record.stem in there)
    return SyncReport(remove_secrets(client.tracking_uri), added, already, failed)


def describe_owner(runs: Path) -> str:
    """Return the name of the sync's owner: host and runs folder, of which one process at a time syncs."""
    return f"{socket.gethostname()}:{runs}"


def _list_there(client: MlflowClient, ours: set[str], owner: str) -> set[str]:
    """List the results that are in the store, or being added by other owners; delete our own incomplete runs.

    Incomplete runs of other owners are deleted after an hour, since whether they are alive is not known.
    """
    experiments = [each.experiment_id for each in pages(client.search_experiments)]
    runs = pages(client.search_runs, experiments, f"tags.`{ADDRESS}` != ''") if experiments else iter(())
    there = set()
    for run in list(runs):
        address = run.data.tags[ADDRESS]
        if run.info.status == "FINISHED":
            there.add(address)
        elif address in ours:
            by, _, since = run.data.tags.get(SYNC, "").rpartition(" ")
            begun = float(since) if since.isdecimal() else 0.0
            if by in ("", owner) or time.time() - begun > _ABANDONED_S:
                client.delete_run(run.info.run_id)
            else:
                there.add(address)
    return there


def _keep_one(client: MlflowClient, run: str, into: str, address: str) -> None:
    """Delete a finished run if another sync has meanwhile finished one of the same result, with a lower id."""
    query = f"tags.`{ADDRESS}` = '{address}' and attributes.status = 'FINISHED'"
    if run != min(each.info.run_id for each in pages(client.search_runs, [into], query)):
        client.delete_run(run)


def _add(client: MlflowClient, store: Store, record: Path, owner: str) -> None:
    from mlflow.entities import Param

    result = read_result(record)
    log = None if result.training is None else store.training_folder(result.training) / "log.jsonl"
    when = _milliseconds(result, record)
    metrics = _metrics(result, log, when)
    params = [Param(key, _text(value)) for key, value in {**result.config, "seed": result.seed}.items()]
    into = experiment(client, f"{result.protocol} on {result.dataset}", store.places.runs)
    tags = _tags(result) | {SYNC: f"{owner} {time.time():.0f}"}
    begin = when - round(1000 * sum(result.seconds.values()))
    run = client.create_run(into, begin, tags, _name(result)).info.run_id
    client.log_inputs(run, [_describe_dataset(result)])
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run, metrics=metrics[start : start + BATCH])
    for start in range(0, len(params), PARAMS):
        client.log_batch(run, params=params[start : start + PARAMS])
    sheet = store.places.runs / "sheets" / f"{result.address}.html"
    for file in (record, store.outcomes_path(result.address), log, sheet):
        if file is not None and file.is_file():
            client.log_artifact(run, str(file))
    client.log_text(run, tables_to_html(make_result_tables(result)), "tables.html")
    client.set_terminated(run, end_time=when)
    if client.tracking_uri.startswith("http"):
        _keep_one(client, run, into, result.address)


def _name(result: Result) -> str:
    """Name a run by its method, the settings that were given, and its seed."""
    given = [key for key in result.given or () if key in result.config and key not in ("net", "weights")]
    shown = [f"{key}={_text(result.config[key])}" for key in given[:MOST_NAMED]]
    more = [f"and {len(given) - MOST_NAMED} more"] if len(given) > MOST_NAMED else []
    settings = f" [{', '.join(shown + more)}]" if shown else ""
    return f"{result.label}{settings}" + ("" if result.seed is None else f" seed {result.seed}")


def _describe_dataset(result: Result) -> DatasetInput:
    """Describe the evaluated images as an MLflow dataset, by the digest of their ground truth."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    split = {"dataset": result.dataset, "split": result.split, "images": result.images}
    name = f"{result.dataset} {result.split}"
    dataset = Dataset(name, result.truth_digest[:36], "weakloc", json.dumps(split))
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "evaluation")])


def _metrics(result: Result, log: Path | None, when: int) -> list[Metric]:
    """Return the result's metrics, and the training's as `train/...` with one step per epoch."""
    from mlflow.entities import Metric

    figures: dict[str, float | None] = dict(result.metrics)
    for name, (low, high) in result.intervals.items():
        figures |= {f"{name}/low": low, f"{name}/high": high}
    figures |= {f"seconds/{name}": value for name, value in result.seconds.items()}
    figures |= {f"images_per_second/{name}": value for name, value in result.images_per_second.items()}
    figures["peak_memory_mib"] = result.peak_memory_mib
    points = [(name, value, 0) for name, value in figures.items() if value is not None]
    points += curves(log) if log is not None and log.is_file() else []
    return [
        Metric(re.sub(r"[^\w\-. :/]", "_", name, flags=re.A), float(value), when, step) for name, value, step in points
    ]


def curves(log: Path) -> list[tuple[str, float, int]]:
    """Return every number in a training's log, with its epoch. Raises BadFileError."""
    points = []
    for row, line in enumerate(log.read_text(encoding="utf-8").splitlines()):
        try:
            figures = dict(json.loads(line))
            epoch = int(figures.pop("epoch"))
        except (ValueError, TypeError, KeyError):
            raise BadFileError(log, "expected a JSON object with an epoch", row=row) from None
        points += [(f"train/{key}", value, epoch) for key, value in figures.items() if isinstance(value, int | float)]
    return points


def _tags(result: Result) -> dict[str, str]:
    """Return the tags by which runs can be filtered."""
    names = "method variant protocol dataset split train_split seed digest truth_digest partial tuned_on training"
    tags: dict[str, Any] = {f"weakloc.{name}": getattr(result, name) for name in names.split()}
    tags |= {
        ADDRESS: result.address,
        "weakloc.net": result.config.get("net"),
        "weakloc.family": result.family,
        "weakloc.edited": result.is_edited,
        "weakloc.synthetic": result.dataset in SYNTHETIC,
        "mlflow.source.git.commit": result.provenance.get("revision"),
    }
    return {key: _text(value) for key, value in tags.items() if value is not None}


def experiment(client: MlflowClient, name: str, runs: Path) -> str:
    """Return an experiment's id, creating it if needed. Artifacts go beside the runs unless a server stores them."""
    found = client.get_experiment_by_name(name)
    if found is not None and found.lifecycle_stage == "deleted":
        raise RunError(
            f"The experiment {name!r} ({found.experiment_id}) was deleted in MLflow, which keeps its name: run `mlflow "
            f"experiments restore -x {found.experiment_id}`, or `mlflow gc --experiment-ids {found.experiment_id}` to "
            "delete it for good, with --backend-store-uri or MLFLOW_TRACKING_URI as for this store; then sync again."
        )
    if found is not None:
        return str(found.experiment_id)
    artifacts = None if client.tracking_uri.startswith("http") else (runs / "mlflow-artifacts").as_uri()
    return str(client.create_experiment(name, artifacts))


def pages(search: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
    """Yield all that one of the client's searches finds, page by page."""
    page = search(*arguments)
    yield from page
    while page.token:
        page = search(*arguments, page_token=page.token)
        yield from page


def _milliseconds(result: Result, record: Path) -> int:
    """Return when a result was made: by its record, or else by its file's modification time."""
    try:
        return round(datetime.fromisoformat(result.created).timestamp() * 1000)
    except (ValueError, OverflowError):
        return round(record.stat().st_mtime * 1000)


def _text(value: Any) -> str:
    """Format a value for MLflow's filters: strings bare, the rest as JSON, cut to what stores accept."""
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))[:VALUE]


def _client(uri: str) -> MlflowClient:
    """Connect to a store and check that it answers. Raises RunError."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # or MLflow reports each call to its makers
    try:
        _knock(uri)
        return _open_client(uri)
    except (OSError, ValueError, HTTPException, sqlite3.Error, ImportError, RunError) as error:
        reason = remove_secrets(first_line(error), uri).rstrip(".")
        raise RunError(
            f"MLflow's store {remove_secrets(uri)} cannot be used: {reason}. "
            "Give another --uri or MLFLOW_TRACKING_URI, or none for SQLite in the runs folder."
        ) from None


def _knock(uri: str) -> None:
    """Check that a store answers; MLflow itself would retry for minutes. Raises OSError, sqlite3.Error."""
    if path := _sqlite_file(uri):
        with closing(sqlite3.connect(path)) as database:
            database.execute("pragma schema_version")
    elif uri.startswith("http"):
        parts = urlsplit(uri)
        server = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/") + "/health", "", ""))
        with suppress(urllib.error.HTTPError):  # any answer will do, even a request for a password
            urllib.request.urlopen(server, timeout=10).close()


def _open_client(uri: str) -> MlflowClient:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    except (MlflowException, SQLAlchemyError) as error:
        raise RunError(first_line(error)) from None
    return client


def _sqlite_file(uri: str) -> Path | None:
    """Return the file of an SQLite store; None for any other store."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def _locate_lock(uri: str, runs: Path) -> Path:
    """Return the path of the lock that one sync at a time holds: beside SQLite's file, else in the runs folder."""
    file = _sqlite_file(uri)
    return runs / "sync.lock" if file is None else file.with_name(f"{file.name}.lock")


@contextmanager
def _hold_lock(path: Path, progress: Progress) -> Iterator[None]:
    """Hold a lock that the kernel releases when its process ends, however it ends. Raises RunError."""
    lock = FileLock(path)
    try:
        path.touch()  # fails for a missing folder, which filelock would silently create
        lock.acquire(blocking=False)
    except Timeout:
        progress.say("Waiting for another sync.")
        lock.acquire()
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}. Give another --uri or --runs.") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _silence() -> Iterator[None]:
    """Suppress MLflow's log of a new store's set-up, and its deprecation warnings, which do not concern our users."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logging.disable(disabled)
