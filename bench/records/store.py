"""The layout of the runs folder, where each item lives at the digest of what determines it.

    trainings/<address>/     config.json (the key), checkpoint-<epoch>.pt while it runs, log.jsonl (one line per epoch),
                             then weights.pt and done.json; lease/
    predictions/<address>/   config.json, <kind>.parquet, <kind>.json (time and memory); parts/ while it runs; lease/
    results/<address>.json   the record, and <address>.parquet, the outcomes per image, and <address>.replicates.parquet

Every file is written whole, then renamed into place. The code's revision is in the records but in no address.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.core.files import Places, atomic_file, digest, file_digest, path_below, read_object, write_json
from bench.core.lease import PATIENCE, Lease, claim
from bench.core.progress import SILENT, Progress
from bench.errors import BadFileError, MissingDataError, UnknownNameError
from bench.records import training_log
from bench.records.collection import StoredResult, read_each
from bench.records.replicates import replicates_path
from bench.records.result import Result, list_records, read_result, require_committed, write_result
from bench.records.training_log import LOG

SMALL = 1 << 20
"""Outcomes of at most this many bytes are published with their record; for larger ones, only their digest."""


_LATER = ("code", "net")
"""Later fields of keys, which count towards the address only if they have a value."""


@dataclass(frozen=True)
class _Key:
    """Everything that determines some files, as JSON values."""

    def describe(self) -> dict[str, Any]:
        """Return the fields, without later ones (`_LATER`) that are None, so that older addresses stay valid."""
        return {name: value for name, value in asdict(self).items() if value is not None or name not in _LATER}

    @property
    def address(self) -> str:
        """The digest of the key."""
        return digest(self.describe())


@dataclass(frozen=True)
class TrainingKey(_Key):
    """Everything that determines trained weights.

    config: the settings of the training stage, including precision and global batch; weights and proposals by digest.
    data: digest of ids and of image files' names and sizes. labels: digest of classes, ids and labels. code, net:
    digest of a third-party method with what it imports beside it, and what identifies a third-party net; else None.
    """

    method: str
    method_version: int
    trainer_version: int
    config: Mapping[str, Any]
    data: str
    labels: str
    proposals: str | None
    threads: int
    seed: int
    code: str | None = None
    net: str | None = None


@dataclass(frozen=True)
class PredictionsKey(_Key):
    """Everything that determines predictions; the kind is the file's name.

    training: an address; None for a method that learns nothing. config: the settings of the prediction stage; without
    a training, all of them. images: digest of ids and sizes, and for trained methods of the image files' names and
    sizes. code: digest of a third-party method, as for a training.
    """

    method: str
    method_version: int
    predictor_version: int
    training: str | None
    config: Mapping[str, Any]
    dataset: str
    images: str
    proposals: str | None
    code: str | None = None


def read_own_key(folder: Path) -> dict[str, Any] | None:
    """Read the key of a training or of predictions; None without one. Raises BadFileError for one of another."""
    path = folder / "config.json"
    if not path.exists():
        return None
    key = read_object(path)
    if (address := digest(key)) != folder.name:
        rule = f"what lies here was made as {address}. Delete {folder}: the same command makes it again"
        raise BadFileError(path, rule)
    return key


@dataclass(frozen=True)
class Store:
    """The runs folder. `patience`: seconds without a heartbeat after which a claim is stale."""

    places: Places
    patience: float = PATIENCE

    def training_folder(self, address: str) -> Path:
        """Return the folder of a training."""
        return path_below(self.places.runs / "trainings", address)

    def predictions_folder(self, address: str) -> Path:
        """Return the folder of predictions."""
        return path_below(self.places.runs / "predictions", address)

    def has_predictions(self, result: Result) -> bool:
        """Return whether the predictions that a result evaluated are here."""
        return self.predictions_folder(result.predictions).is_dir()

    def result_path(self, address: str) -> Path:
        """Return the path of a result's record; the result exists if the file does."""
        return path_below(self.places.runs / "results", f"{address}.json")

    def outcomes_path(self, address: str) -> Path:
        """Return the path of a result's outcomes per image."""
        return self.result_path(address).with_suffix(".parquet")

    def list_results(self) -> list[Result]:
        """Return every result, oldest first; records that cannot be believed are left out, with a warning."""
        results = [stored.result for stored in read_each(list_records(self.places.runs / "results"))]
        return sorted(results, key=lambda result: (result.created, result.address))

    def prepare_folder(self, folder: Path, key: _Key) -> Path:
        """Write the key into the folder, if it is not there yet; return the folder."""
        if not (folder / "config.json").exists():
            write_json(folder / "config.json", key.describe())
        return folder

    def claim(
        self, folder: Path, *, unless: Callable[[], bool], progress: Progress = SILENT
    ) -> AbstractContextManager[Lease | None]:
        """Hold a folder while working in it; yield None if `unless` returns True: another process has done the work."""
        return claim(folder / "lease", unless=unless, progress=progress, patience=self.patience)

    def record(self, result: Result, outcomes: pa.Table, replicates: pa.Table | None = None) -> Result:
        """Write a result: outcomes and replicates, then the record, whose presence means that all files are complete.

        Returns the record as written, with the digest of its outcomes.
        """
        path = self.outcomes_path(result.address)
        for table, target in ((outcomes, path), (replicates, replicates_path(self.result_path(result.address)))):
            if table is not None:
                with atomic_file(target) as part:
                    pq.write_table(table, part, compression="zstd")
        written = result.model_copy(update={"outcomes_digest": file_digest(path)})
        write_result(self.result_path(result.address), written)
        return written

    def publish(self, stored: StoredResult, into: Path, *, allow_dirty: bool = False) -> list[Path]:
        """Copy a result, as `add_keys` returns it, into `into`, and return the new files.

        These are the record, the log, the replicates and, if small, the outcomes. Raises RequestError for a result from
        an edited checkout unless `allow_dirty`.
        """
        result = stored.result
        require_committed([] if allow_dirty else [result])
        record = path_below(into, result.file_name)
        outcomes, replicates = stored.record.with_suffix(".parquet"), replicates_path(stored.record)
        candidates = {replicates: replicates_path(record)}
        if result.training is not None:
            candidates[self.training_folder(result.training) / LOG] = training_log.log_path(record)
        copies = {file: copy for file, copy in candidates.items() if file.exists()}
        if outcomes.stat().st_size <= SMALL:
            copies = {outcomes: record.with_suffix(".parquet"), **copies}
        for file, copy in copies.items():
            with atomic_file(copy) as part:
                shutil.copyfile(file, part)
        write_result(record, result)
        return [record, *copies.values()]

    def add_keys(self, stored: StoredResult) -> StoredResult:
        """Add the keys behind the addresses of a result's predictions and training, where a run made them.

        Raises BadFileError for a record or a key that lies under another address than its own.
        """
        result, record = stored
        if record.stem != result.address:
            raise BadFileError(record, f"the record of result {result.address}, not of {record.stem}")
        folders = {"predictions": self.predictions_folder(result.predictions)}
        if result.training is not None:
            folders["training"] = self.training_folder(result.training)
        keys = {name: key for name, folder in folders.items() if (key := read_own_key(folder)) is not None}
        return StoredResult(result.model_copy(update={"made_from": {**result.made_from, **keys}}), record)

    def find_predictions(self, address: str) -> Path:
        """Return the folder of predictions, given their address, a result's made from them, or a unique prefix.

        Raises UnknownNameError, and MissingDataError if a result's predictions are not in this runs folder.
        """
        known = self._result_addresses() | {path.name for path in (self.places.runs / "predictions").glob("[!.]*")}
        matches = {name for name in known if address and name.startswith(address)}
        records = {name: self.result_path(name) for name in matches}
        sources = {read_result(path).predictions if path.exists() else name for name, path in records.items()}
        if len(sources) != 1:
            raise UnknownNameError("run", address, matches or known, hint="python -m bench list runs")
        folder = self.predictions_folder(sources.pop())
        if not folder.is_dir():
            how = "Run it again, or give the predictions file."
            raise MissingDataError(f"The predictions of result {address}", folder, how)
        return folder

    def complete_address(self, address: str) -> str:
        """Return the one result address with this prefix. Raises UnknownNameError."""
        known = self._result_addresses()
        matches = [name for name in known if name.startswith(address)]
        if len(matches) != 1:
            raise UnknownNameError("result", address, matches or known, hint="python -m bench list runs")
        return matches[0]

    def _result_addresses(self) -> set[str]:
        return {path.stem for path in list_records(self.places.runs / "results")}
