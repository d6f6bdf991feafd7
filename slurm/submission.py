"""The record of a submission, a folder of small JSON files under the runs folder, each written atomically.

submissions/<name>/
  submission.json      the requests and jobs, and where data and runs are
  attempts/<n>.json    one sending of jobs: cluster, profile, the code's digest, arrays
  attempts/<n>.ids.json   the scheduler's ids of its tasks
  attempts/<n>/        pickles and logs of submitit
  jobs/<n>/            progress.json, log.txt and lease/ while a job runs, then outcome.json
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.core.files import DIGEST_LENGTH, Places, file_digest, name_damage, read_json, read_object, write_json
from bench.core.provenance import read_revision
from bench.errors import BadFileError, RequestError, RunError, UnknownNameError
from bench.records.collection import leave_out
from slurm.plan import Array, Job

if TYPE_CHECKING:
    from bench.execution.code_changes import Stored
    from bench.execution.resolve import Request


@dataclass(frozen=True)
class Means:
    """How every job of a submission runs: the options of `run`."""

    device: str
    workers: int
    threads: int | None
    cache: int
    feature_cache: bool = True
    stored: Stored = "take"


@dataclass(frozen=True)
class Sent:
    """A task that the cluster accepted: its id there, its jobs and, if it is on this machine, its process."""

    cluster: str
    id: str
    jobs: tuple[int, ...]
    process: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class SubmittedCell:
    """A number of a paper's table: its row and column, and its requests, by index; none if they were refused."""

    row: int
    column: str
    label: str
    head: str
    requests: tuple[int, ...]


@dataclass(frozen=True)
class SubmittedTable:
    """The paper's table whose runs were submitted. data: the dataset of a try-out."""

    name: str
    data: str | None
    cells: tuple[SubmittedCell, ...]


@dataclass(frozen=True)
class Submission:
    """A submission: its requests and jobs, and how and where they run."""

    folder: Path
    places: Places
    cwd: Path
    means: Means
    plugins: Mapping[str, str]
    requests: Sequence[Mapping[str, Any]]
    jobs: Sequence[Job]
    table: SubmittedTable | None = None

    def job_folder(self, number: int) -> Path:
        """Return the folder in which a job records its state."""
        return self.folder / "jobs" / str(number)

    def outcome(self, number: int) -> dict[str, Any] | None:
        """Return how a job ended; None if it has not."""
        path = self.job_folder(number) / "outcome.json"
        if not path.exists():
            return None
        outcome = read_object(path, "results", "failed")
        with name_damage(path):
            return {"results": [*map(str, list(outcome["results"]))], "failed": dict(outcome["failed"])}

    def end(self, number: int, *, results: Sequence[str] = (), failed: Mapping[str, str]) -> None:
        """Record how a job ended: addresses of its results, and errors by request."""
        write_json(self.job_folder(number) / "outcome.json", {"results": list(results), "failed": dict(failed)})

    def addresses(self) -> dict[int, str]:
        """Return the addresses of existing results, by request, in the order of the requests."""
        found: dict[int, str] = {}
        for number, job in enumerate(self.jobs):
            if (outcome := self.outcome(number)) and "" not in outcome["failed"]:
                able = [one for one in job.requests if self.name_request(one) not in outcome["failed"]]
                with name_damage(self.job_folder(number) / "outcome.json"):
                    found.update(zip(able, outcome["results"], strict=True))
        return dict(sorted(found.items()))

    def list_logs(self, number: int) -> list[Path]:
        """List the log of a job and its traceback, if they exist; if neither does, the output of its task."""
        own = [path for name in ("log.txt", "traceback.txt") if (path := self.job_folder(number) / name).is_file()]
        if own or (sent := self.list_sent().get(number)) is None:
            return own
        return sorted((self.folder / "attempts").glob(f"*/{sent.id}_*_log.*"))

    def use_plugins(self) -> None:
        """Add the plugins that it was submitted with. Raises MissingDataError for one that is gone."""
        for plugin in self.plugins:
            registry.use_plugin(Path(plugin))

    def list_requests(self, job: Job) -> list[Request]:
        """Return the requests of a job, after loading its plugins."""
        from bench.execution.resolve import Request
        from bench.scoring.protocol import Record

        stored = [self.requests[number] for number in job.requests]
        return [Request(**{**fields, "protocol": Record.model_validate(fields["protocol"])}) for fields in stored]

    def name_request(self, number: int) -> str:
        """Name a request in messages."""
        request = self.requests[number]
        return f"{request['method']} under {request['protocol']['name']}, seed {request['seed']}"

    def attempts(self) -> list[Path]:
        """List the files of each sending of jobs, in order."""
        return sorted((self.folder / "attempts").glob("[0-9]*.json"), key=lambda path: path.name.split(".")[0].zfill(9))

    def list_sent(self) -> dict[int, Sent]:
        """Return the task of every job in its last attempt, by number."""
        found = {}
        for path in self.attempts():
            if path.name.endswith(".ids.json"):
                with name_damage(path):
                    for one in read_json(path):
                        sent = Sent(**{**one, "jobs": tuple(one["jobs"])})
                        found.update(dict.fromkeys(sent.jobs, sent))
        return found

    def attempt(self, cluster: str, profile: str, arrays: Sequence[Array]) -> Path:
        """Record that jobs are about to be sent out; return the attempt's folder."""
        number = sum(not path.name.endswith(".ids.json") for path in self.attempts()) + 1
        folder = self.folder / "attempts" / str(number)
        tasks = [{"resources": one.resources.model_dump(mode="json"), "tasks": one.tasks} for one in arrays]
        write_json(
            folder.with_suffix(".json"),
            {"cluster": cluster, "profile": profile, "code": code(), "arrays": tasks},
        )
        return folder


def submit_ids(attempt: Path, sent: Sequence[Sent]) -> None:
    """Record the tasks of an attempt that the cluster accepted."""
    write_json(attempt.with_suffix(".ids.json"), [asdict(one) for one in sent])


def create(
    requests: Sequence[Request],
    jobs: Sequence[Job],
    places: Places,
    means: Means,
    table: SubmittedTable | None = None,
) -> Submission:
    """Create a submission and write it to disk."""
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"
    folder = places.runs.resolve() / "submissions" / name
    write_json(
        folder / "submission.json",
        {
            "data_root": None if places.data_root is None else str(places.data_root.resolve()),
            "cwd": str(Path.cwd()),
            "means": asdict(means),
            "plugins": {str(path): file_digest(path) for path in registry.plugins()},
            "requests": [_request_to_json(request) for request in requests],
            "jobs": [asdict(job) for job in jobs],
            **({} if table is None else {"table": asdict(table)}),
        },
    )
    return read(folder)


def read(folder: Path) -> Submission:
    """Read a submission from its folder. Raises BadFileError."""
    path = folder / "submission.json"
    with name_damage(path):
        content = read_json(path)
        return Submission(
            folder=folder,
            places=Places(folder.parent.parent, content["data_root"] and Path(content["data_root"])),
            cwd=Path(content["cwd"]),
            means=Means(**content["means"]),
            plugins=content["plugins"],
            requests=content["requests"],
            jobs=[Job(job["method"], job["learns"], tuple(job["requests"])) for job in content["jobs"]],
            table=_read_table(content["table"]) if "table" in content else None,
        )


def _read_table(content: Mapping[str, Any]) -> SubmittedTable:
    cells = tuple(SubmittedCell(**{**cell, "requests": tuple(cell["requests"])}) for cell in content["cells"])
    return SubmittedTable(content["name"], content["data"], cells)


def list_submissions(places: Places) -> list[Submission]:
    """List the submissions of a runs folder, latest first; damaged ones are left out, with a warning."""
    found, bad = [], {}
    for path in sorted((places.runs.resolve() / "submissions").glob("*/submission.json"), reverse=True):
        try:
            found.append(read(path.parent))
        except BadFileError as error:
            bad[path] = str(error)
    leave_out(bad, "submission")
    return found


def find(name: str | None, places: Places) -> Submission:
    """Find a submission by the beginning of its name; without one, the latest. Raises UnknownNameError."""
    files = sorted((places.runs.resolve() / "submissions").glob("*/submission.json"))
    known = [path.parent.name for path in files]
    found = known[-1:] if name is None else [one for one in known if one.startswith(name)]
    if not known:
        raise RequestError(f"Nothing was submitted into {places.runs}: python -m bench submit, or give --runs.")
    if len(found) != 1:
        raise UnknownNameError("submission", name or "", found or known)
    return read(files[known.index(found[0])].parent)


def code() -> dict[str, Any]:
    """Identify the running code: a digest of its files, and git's revision."""
    return {"digest": _digest(), **read_revision(registry.ROOT)}


def _digest() -> str:
    total = hashlib.sha256()
    for path in _sources():
        total.update(f"{path.relative_to(registry.ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return total.hexdigest()[:DIGEST_LENGTH]


def refuse_other_code(submission: Submission, attempt: Path) -> None:
    """Raise RunError unless the code and the plugins are the same as when submitted."""
    meant = read_json(attempt.with_suffix(".json"))["code"]
    if meant["digest"] != _digest():
        raise RunError(
            f"The code is not what was submitted: submitted was {_revision(meant)}, found is {_revision(code())} in "
            f"{registry.ROOT}. Bring it back, or resubmit to run what is there."
        )
    refuse_other_plugins(submission)


def refuse_other_plugins(submission: Submission) -> None:
    """Raise RunError unless the plugins are the same as when submitted: edited ones would have other results."""
    for path, digest in submission.plugins.items():
        if not Path(path).is_file() or file_digest(Path(path)) != digest:
            raise RunError(f"The plugin {path} is not what was submitted. Bring it back, or submit again.")


def _revision(code: Mapping[str, Any]) -> str:
    edited = " with changes" if code["dirty"] else ""
    return f"{(code['revision'] or 'no revision')[:12]}{edited} (digest {code['digest'][:8]})"


def _sources() -> Iterator[Path]:
    """List the code's files, except tracks: their settings are in the requests, and `tune` may edit them meanwhile."""
    tracks = registry.ROOT / "bench" / "tracks"
    for folder in ("bench", "methods", "protocols", "slurm"):
        files = (path for end in ("py", "toml") for path in (registry.ROOT / folder).rglob(f"*.{end}"))
        yield from sorted(path for path in files if path.suffix == ".py" or path.parent != tracks)


def _request_to_json(request: Request) -> dict[str, Any]:
    """Convert a request to JSON values."""
    return {
        "method": request.method,
        "protocol": request.protocol.model_dump(mode="json"),
        "seed": request.seed,
        "settings": dict(request.settings),
        "data": request.data,
        "data_options": dict(request.data_options),
        "split": request.split,
        "train_split": request.train_split,
        "tuned_on": request.tuned_on,
        "recipe": request.recipe,
    }
