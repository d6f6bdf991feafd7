"""What runs on the cluster: a task works through its jobs, each in a child process, so that none stops another."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.files import write_text
from slurm import lives
from slurm.progress import Written
from slurm.submission import Submission, read, refuse_other_code

if TYPE_CHECKING:
    from submitit.core.utils import DelayedSubmission

SIGNALS = {signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM}
"""What a cluster sends to every process of a task; submitit answers in the task's own, once for all of them."""

PATIENCE = 10.0
"""Seconds that a child has to give back what it holds."""

FAREWELL = 300.0
"""Seconds that a cluster which told a job to stop has to end its task, before the job counts as failed."""


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

        why = self.cause()
        for child in multiprocessing.active_children():
            _stop(child)
        submission = read(self.attempt.parent.parent)
        for number in self.jobs:
            folder = submission.job_folder(number)
            if submission.outcome(number) is None and lives.stop(folder, why):
                step = lives.lives(folder)[-1].step
                submission.end(number, failed={"": f"{why} Twice it came no further than {step}: give it more."})
        return DelayedSubmission(self)

    def cause(self) -> str:
        """Why the cluster ends this task."""
        return lives.TOLD

    def _worked(self, submission: Submission, waiting: Sequence[int]) -> Sequence[int]:
        """Work through jobs in one child; those that are left when it dies."""
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context, initializer=_ready) as child:
            for place, number in enumerate(waiting):
                with _held():
                    working = child.submit(work, self.attempt, number)
                error = working.exception()
                if isinstance(error, BrokenProcessPool):  # what ends the whole task ends this process too, and soon
                    time.sleep(FAREWELL if lives.told(submission.job_folder(number)) else 1)
                if error is not None and submission.outcome(number) is None:
                    _tell(submission, number, error)
                if isinstance(error, BrokenProcessPool):
                    return waiting[place + 1 :]
        return ()


@contextmanager
def _held() -> Iterator[None]:
    """Hold signals back: a child that starts now is born with them held back."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ready() -> None:
    """In the child: let signals pass by, but for the first SIGTERM; those that it starts itself keep their own ways."""
    for one in SIGNALS:
        signal.signal(one, _interrupt if one == signal.SIGTERM else _pass)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _pass(*_: object) -> None:
    """Nothing."""


def _interrupt(*_: object) -> None:
    signal.signal(signal.SIGTERM, _pass)
    raise KeyboardInterrupt


def _stop(child: multiprocessing.process.BaseProcess) -> None:
    """End a child: a training writes a checkpoint, and what it holds it gives back, if there is time."""
    for one, seconds in ((signal.SIGTERM, PATIENCE), (signal.SIGINT, 1.0), (signal.SIGKILL, None)):
        if child.pid is not None and child.is_alive():
            os.kill(child.pid, one)
            child.join(seconds)


def work(attempt: Path, number: int) -> None:
    """Run a job of an attempt to its outcome; interrupted, the process ends. Raises what is no BenchError."""
    try:
        _work(attempt, number)
    except KeyboardInterrupt:
        lives.stop(read(attempt.parent.parent).job_folder(number), lives.TOLD)
        os._exit(1)


def _work(attempt: Path, number: int) -> None:
    from bench.errors import RunError
    from bench.lease import claim
    from bench.run import run

    submission = read(attempt.parent.parent)
    folder = submission.job_folder(number)
    progress = Written(folder)
    with claim(folder / "lease", unless=lambda: submission.outcome(number) is not None, progress=progress) as lease:
        if lease is None:
            return
        lives.begin(folder)
        try:
            refuse_other_code(submission, attempt)
        except RunError as error:
            submission.end(number, failed={"": str(error)})
            return
        submission.use_plugins()
        means = submission.means
        requests = submission.requests_of(submission.jobs[number])
        report = run(
            requests,
            submission.places,
            progress=progress,
            device=means.device,
            workers=means.workers,
            threads=means.threads,
            cache=means.cache,
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
