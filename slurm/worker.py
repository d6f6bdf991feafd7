"""What runs on the cluster: a task works through its jobs, each in a child process, so that none stops another."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import registry
from bench.files import write_text
from slurm.progress import Written
from slurm.submission import Submission, read, refuse_other_code

if TYPE_CHECKING:
    from submitit.core.utils import DelayedSubmission


@dataclass(frozen=True)
class Task:
    """Jobs to work through, by number; submitit pickles it and calls it on the node."""

    attempt: Path
    jobs: tuple[int, ...]

    def __call__(self) -> None:
        """Work through the jobs that have not ended; one whose process dies is failed, and the next gets a new one."""
        submission = read(self.attempt.parent.parent)
        os.chdir(submission.cwd)
        waiting: Sequence[int] = [number for number in self.jobs if submission.outcome(number) is None]
        while waiting:
            waiting = self._worked(submission, waiting)

    def checkpoint(self) -> DelayedSubmission:
        """Called before the cluster ends this task: everything is on disk, and the same call goes on from there."""
        from submitit.core.utils import DelayedSubmission

        for child in multiprocessing.active_children():
            child.kill()
        return DelayedSubmission(self)

    def _worked(self, submission: Submission, waiting: Sequence[int]) -> Sequence[int]:
        """Work through jobs in one child; those that are left when it dies."""
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as child:
            for place, number in enumerate(waiting):
                error = child.submit(work, self.attempt, number).exception()
                if error is not None and submission.outcome(number) is None:
                    _tell(submission, number, error)
                if isinstance(error, BrokenProcessPool):
                    return waiting[place + 1 :]
        return ()


def work(attempt: Path, number: int) -> None:
    """Run a job of an attempt to its outcome. Raises what is no BenchError."""
    from bench.errors import RunError
    from bench.lease import claim
    from bench.run import run

    submission = read(attempt.parent.parent)
    folder = submission.job_folder(number)
    progress = Written(folder)
    with claim(folder / "lease", unless=lambda: submission.outcome(number) is not None, progress=progress) as lease:
        if lease is None:
            return
        try:
            refuse_other_code(submission, attempt)
        except RunError as error:
            submission.end(number, failed={"": str(error)})
            return
        for plugin in submission.plugins:
            registry.use_plugin(Path(plugin))
        means = submission.means
        requests = submission.requests_of(submission.jobs[number])
        report = run(
            requests,
            submission.places,
            progress=progress,
            device=means.device,
            workers=means.workers,
            threads=means.threads,
        )
        lease.check()
        addresses = [result.address for result in report.results]
        submission.end(number, results=addresses, failed={name: str(error) for name, error in report.failed.items()})


def _tell(submission: Submission, number: int, error: BaseException) -> None:
    """Write down an exception: a line, and the traceback from the child beside it."""
    write_text(submission.job_folder(number) / "traceback.txt", f"{error.__cause__ or ''}\n{error!r}\n")
    died = "Its process was killed (out of memory?)."
    said = died if isinstance(error, BrokenProcessPool) else f"{type(error).__name__}: {error}"
    submission.end(number, failed={"": said.partition("\n")[0]})
