"""Sending jobs out for the first time, and sending failed ones again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from bench.core.files import read_json
from bench.errors import RequestError
from slurm.plan import Array, make_arrays
from slurm.profile import Profile
from slurm.status import CLUSTERS, statuses
from slurm.submission import Submission, refuse_other_plugins


def send(submission: Submission, arrays: Sequence[Array], cluster: str, profile: str) -> None:
    """Send jobs out. Raises RequestError if the cluster's commands are missing, RunError if it refuses."""
    CLUSTERS[cluster].need()
    CLUSTERS[cluster].submit(submission.attempt(cluster, profile, arrays))


def resend(submission: Submission, profile: Profile, cluster: str) -> list[int]:
    """Send failed and cancelled jobs out again; return their numbers.

    Raises as `send`, and RequestError if none failed.
    """
    CLUSTERS[cluster].need()
    refuse_other_plugins(submission)
    failed = [one.number for one in statuses(submission) if one.state in ("failed", "cancelled")]
    if not failed:
        raise RequestError(f"Nothing of {submission.folder.name} has failed.")
    for number in failed:
        for name in ("outcome.json", "progress.json"):
            with suppress(FileNotFoundError):
                (submission.job_folder(number) / name).unlink()
    send(submission, make_arrays(submission.jobs, failed, profile), cluster, profile.origin)
    return failed


def last_means(submission: Submission) -> tuple[str, str]:
    """Return cluster and profile of the last attempt. Raises RequestError without one."""
    attempts = [read_json(path) for path in submission.attempts() if not path.name.endswith(".ids.json")]
    if not attempts:
        raise RequestError(f"{submission.folder.name} was never sent out: submit again.")
    return attempts[-1]["cluster"], attempts[-1]["profile"]
