"""The record of a submission, and what a scheduler's answers make of it; the scheduler is a script that answers."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from bench import registry
from bench.core.files import Places, read_json, write_json
from bench.core.lease import describe_process
from bench.errors import BadFileError, LeftOutWarning, RequestError, RunError
from bench.execution.resolve import Request
from slurm import attempts, jobs, local, scheduler, status
from slurm.attempts import OUT_OF_TIME
from slurm.plan import Array, Job
from slurm.profile import Resources, read_profile
from slurm.scheduler import SlurmTask
from slurm.submission import Means, Sent, Submission, create, find, list_submissions, refuse_other_code

pytestmark = pytest.mark.usefixtures("made_up_addresses")


@pytest.fixture
def submission(places: Places) -> Submission:
    request = Request(
        "cam", registry.protocol("voc07-point"), 3, {"epochs": "1"}, "shapes", {"train": 8}, recipe="paper"
    )
    return create([request] * 4, [Job("cam", True, (n,)) for n in range(4)], places, Means("cpu", 0, 1, 64))


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """`command("sbatch", "echo ...")`: a command of SLURM that answers so."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def write(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return write


ARRAYS = [Array(Resources(), ((0,), (1,), (2,), (3,)))]


def test_a_submission_is_read_as_it_was_written(submission: Submission, places: Places) -> None:
    assert find(None, places) == find(submission.folder.name[:10], places) == submission
    (request,) = submission.list_requests(submission.jobs[0])
    assert request == Request(
        "cam", registry.protocol("voc07-point"), 3, {"epochs": "1"}, "shapes", {"train": 8}, recipe="paper"
    )


def test_a_job_of_other_code_is_refused(submission: Submission) -> None:
    attempt = submission.attempt("local", "local", ARRAYS)
    refuse_other_code(submission, attempt)
    said = read_json(attempt.with_suffix(".json"))
    write_json(attempt.with_suffix(".json"), {**said, "code": {**said["code"], "digest": "another"}})
    with pytest.raises(RunError, match="not what was submitted"):
        refuse_other_code(submission, attempt)


def test_slurm_is_given_an_array_and_asked_why_its_tasks_ended(
    submission: Submission, command: Callable[[str, str], None]
) -> None:
    command("srun", "exit 1")
    command("sbatch", "echo Submitted batch job 7")
    command("squeue", "echo 7_0")
    states = ["7_0|RUNNING", "7_1|OUT_OF_MEMORY", "7_2|CANCELLED by 0", "7_3|NODE_FAIL"]
    command("sacct", f"printf '%s\\n' {' '.join(json.dumps(state) for state in states)}")
    jobs.send(submission, ARRAYS, "slurm", "gpu")
    assert [one.id for one in submission.list_sent().values()] == ["7_0", "7_1", "7_2", "7_3"]
    submission.end(3, failed={})
    found = [(one.state, one.reason) for one in status.statuses(submission)]
    assert found == [("waiting", ""), ("failed", "Out of memory."), ("cancelled", "Cancelled."), ("done", "")]


def test_slurm_is_asked_why_a_task_waits_and_what_killed_it(
    submission: Submission, command: Callable[[str, str], None]
) -> None:
    command("srun", "exit 1")
    command("sbatch", "echo Submitted batch job 7")
    jobs.send(submission, ARRAYS, "slurm", "gpu")
    command("squeue", "printf '7_0|JobHeldUser\\n7_1|Priority\\n7_2|(launch failed requeued held)\\n'")
    command("sacct", "echo '7_3|FAILED|0:9'")
    held, soon, failed_to_launch, killed = status.statuses(submission)
    assert (held.state, held.reason) == (
        "waiting",
        "Held in the queue (JobHeldUser): scontrol release 7_0, or cancel and resubmit.",
    )
    assert (soon.state, soon.reason) == ("waiting", "")
    assert failed_to_launch.reason.startswith("Held in the queue (launch failed requeued held)")
    assert (killed.state, killed.reason[:19]) == ("failed", "Killed by signal 9,")


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ("PreemptTime=2026-01-01T00:00:00 EndTime=2126-01-01T00:00:00", "Preempted."),
        ("PreemptTime=None EndTime=2126-01-01T00:00:00", "Told to stop."),  # requeued by somebody
        ("PreemptTime=None EndTime=2006-01-01T00:00:00", "Out of time."),
        ("", "Out of time."),
    ],
)
def test_a_task_asks_slurm_why_it_is_told_to_stop(
    command: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch, told: str, why: str
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    command("scontrol", f"echo '{told}'")
    assert SlurmTask(Path("attempts/1"), (0,)).cause() == why


def test_what_failed_goes_out_again_with_other_resources_and_nothing_else_does(
    submission: Submission, command: Callable[[str, str], None]
) -> None:
    command("srun", "exit 1")
    command("sbatch", "echo Submitted batch job 7")
    jobs.send(submission, ARRAYS, "slurm", "gpu")
    command("squeue", "printf '7_0\\n8_0\\n8_1\\n'")
    command("sacct", "echo '7_1|TIMEOUT'")
    submission.end(2, failed={"": "Broken."})
    submission.end(3, failed={})
    command("sbatch", "echo Submitted batch job 8")
    assert jobs.resend(submission, read_profile("gpu", {"memory": "99G"}), "slurm") == [1, 2]
    assert [one.id for one in submission.list_sent().values()] == ["7_0", "8_0", "8_1", "7_3"]
    assert [one.state for one in status.statuses(submission)] == ["waiting", "waiting", "waiting", "done"]
    script = next((submission.folder / "attempts" / "2").glob("8_submission.sh")).read_text()
    assert "--mem=99G" in script
    assert "--array=0-1%2" in script


def test_a_slurm_that_refuses_is_quoted_and_its_jobs_are_failed(
    submission: Submission, command: Callable[[str, str], None]
) -> None:
    command("srun", "exit 1")
    command("sbatch", "echo 'invalid partition: gpuu' >&2; exit 1")
    with pytest.raises(RunError, match="invalid partition: gpuu"):
        jobs.send(submission, ARRAYS, "slurm", "gpu")
    assert {one.reason for one in status.statuses(submission)} == {"It was never taken by the cluster."}


def test_a_refused_second_array_says_what_was_taken_and_what_sends_the_rest(
    submission: Submission, command: Callable[[str, str], None], tmp_path: Path
) -> None:
    full = f"[ -e {tmp_path}/one ] && echo 'error: QOSMaxSubmitJobPerUserLimit' >&2 && exit 1; : > {tmp_path}/one"
    command("srun", "exit 1")
    command("squeue", "echo '101_0|Priority'; echo '101_1|Priority'")
    command("sacct", "exit 0")
    command("sbatch", f"{full}; echo Submitted batch job 101")
    arrays = [Array(Resources(), ((0,), (1,))), Array(Resources(memory="3G"), ((2,), (3,)))]
    name = submission.folder.name
    told = (
        f"QOSMaxSubmitJobPerUserLimit. Submission {name} is written, and 2 of its 4 tasks were taken: `resubmit {name}`"
    )
    with pytest.raises(RunError, match=re.escape(told)):
        jobs.send(submission, arrays, "slurm", "gpu")
    assert [one.state for one in status.statuses(submission)] == ["waiting", "waiting", "failed", "failed"]
    command("sbatch", "echo Submitted batch job 102")
    assert jobs.resend(submission, read_profile("local", {}), "slurm") == [2, 3]


def test_a_task_that_waits_again_has_not_ended_and_why_it_was_begun_again_is_told(
    submission: Submission, command: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    command("srun", "exit 1")
    command("sbatch", "echo Submitted batch job 7")
    command("squeue", "printf '7_0\\n7_1\\n'")
    states = ["7_0|NODE_FAIL", "7_1|PREEMPTED", "7_1|NODE_FAIL", "7_1|PENDING"]
    command("sacct", f"printf '%s\\n' {' '.join(json.dumps(state) for state in states)}")
    jobs.send(submission, ARRAYS, "slurm", "gpu")
    for attempt in range(3):
        began(submission, 1, "7_1", attempt, monkeypatch)
    first, second, *_ = status.statuses(submission)
    assert (first.state, first.reason, first.restarts) == ("waiting", "", ())
    assert (second.state, second.restarts) == ("waiting", ("Preempted.", "Its node failed."))


def test_who_comes_no_further_in_two_lives_is_out_of_time(
    submission: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = submission.job_folder(0)
    progress = {"title": "Training", "start": 4}
    futile = []
    for life, (why, step) in enumerate([("Preempted.", 4), (OUT_OF_TIME, 4), (OUT_OF_TIME, 8), (OUT_OF_TIME, 8)]):
        began(submission, 0, "7_0", life, monkeypatch)
        write_json(folder / "progress.json", {**progress, "start": step})
        futile.append(attempts.stop(folder, why))
    assert futile == [False, False, False, True]
    assert [attempt.end for attempt in attempts.read_attempts(folder)] == ["Preempted.", *[OUT_OF_TIME] * 3]
    monkeypatch.setenv("SLURM_RESTART_COUNT", "4")  # begun again, and stopped before the job was
    assert not attempts.stop(folder, OUT_OF_TIME)


def began(submission: Submission, number: int, task: str, life: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin a job as a task of SLURM does."""
    array, _, index = task.partition("_")
    told = {"SUBMITIT_EXECUTOR": "slurm", "SLURM_ARRAY_JOB_ID": array, "SLURM_ARRAY_TASK_ID": index}
    for name, value in {**told, "SLURM_JOB_ID": "77", "SLURM_RESTART_COUNT": str(life)}.items():
        monkeypatch.setenv(name, value)
    attempts.begin(submission.job_folder(number))


def test_without_accounting_what_the_queue_does_not_know_has_ended_and_the_reason_is_told(
    submission: Submission, command: Callable[[str, str], None]
) -> None:
    command("srun", "exit 1")
    command("sbatch", "echo Submitted batch job 7")
    command("squeue", "printf '7_0\\n7_1\\n'")
    command("sacct", "echo Slurm accounting storage is disabled >&2; exit 1")
    jobs.send(submission, ARRAYS, "slurm", "gpu")
    found = status.statuses(submission)
    assert [one.state for one in found] == ["waiting", "waiting", "failed", "failed"]
    assert "accounting storage is disabled" in found[2].reason


def test_where_the_queue_cannot_be_asked_nothing_is_taken_for_dead(
    submission: Submission, command: Callable[[str, str], None]
) -> None:
    command("srun", "exit 1")
    command("sbatch", "echo Submitted batch job 7")
    command("squeue", "echo Unable to contact slurm controller >&2; exit 1")
    jobs.send(submission, ARRAYS, "slurm", "gpu")
    found = status.statuses(submission)
    assert {one.state for one in found} == {"waiting"}
    assert "Unable to contact slurm controller" in found[0].reason


def test_without_sbatch_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RequestError, match="No sbatch and no srun"):
        scheduler.need()


@pytest.mark.parametrize(("accounting", "kept"), [("exit 0", True), ("echo accounting is disabled >&2; exit 1", False)])
def test_the_doctor_says_what_slurm_there_is(
    command: Callable[[str, str], None], here: Callable[..., Any], accounting: str, kept: bool
) -> None:
    command("sbatch", "exit 1")
    command("sinfo", "echo gpu 4")
    command("sacct", accounting)
    checks = {one["name"]: one for one in json.loads(here("doctor", "--json").out)["checks"]}
    assert (checks["slurm"]["ok"], checks["slurm"]["found"]) == (True, "gpu of 4 nodes")
    assert checks["accounting"]["ok"] == kept
    assert kept or "slurmdbd" in checks["accounting"]["advice"]


@pytest.mark.parametrize("content", ["[]", "{", '{"jobs": 5}', ""])
def test_a_damaged_submission_is_named_and_hides_no_other(places: Places, content: str) -> None:
    path = places.runs / "submissions" / "20250101-000000-aaaa" / "submission.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(BadFileError, match=r"submission\.json: damaged .*Delete "):
        find(None, places)
    with pytest.warns(LeftOutWarning, match="left out 1 submission"):
        assert list_submissions(places) == []


def test_cancel_ends_no_process_if_one_is_of_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr("os.killpg", lambda group, _signal: ended.append(group))
    mine = asdict(describe_process(os.getpid()))
    for other in ({**mine, "host": "other"}, {**mine, "space": "pid:[1]"}):
        with pytest.raises(RunError, match="cannot be ended from here: cancel where it runs"):
            local.cancel([Sent("local", "1", (0,), mine), Sent("local", "2", (1,), other)])
    assert ended == []
    local.cancel([Sent("local", "1", (0,), mine), Sent("local", "2", (1,), {**mine, "started": "long ago"})])
    assert ended == [os.getpgid(0)]


@pytest.mark.parametrize("outcome", [{"results": 0.5, "failed": {}}, {"results": [], "failed": 1}])
def test_a_damaged_outcome_is_named(submission: Submission, outcome: dict[str, Any]) -> None:
    path = submission.job_folder(0) / "outcome.json"
    write_json(path, outcome)
    with pytest.raises(BadFileError, match=r"outcome\.json: damaged \(TypeError"):
        submission.addresses()
    write_json(path, {"results": ["a", "b"], "failed": {}})
    with pytest.raises(BadFileError, match=r"outcome\.json: damaged \(ValueError"):
        submission.addresses()
