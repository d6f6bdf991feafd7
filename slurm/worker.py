"""The code that runs on the cluster: a task runs its jobs one by one, each in a child process, isolated from others."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.files import write_text
from bench.core.progress import SILENT, is_follower
from bench.errors import BenchError, LostError
from slurm import attempts, ranks
from slurm.progress import Written
from slurm.submission import Submission, read, refuse_other_code

if TYPE_CHECKING:
    from submitit.core.utils import DelayedSubmission

    from bench.core.progress import Progress
    from bench.execution.pipeline import Report

SIGNALS = {signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM}
"""Signals that a cluster sends to every process of a task; submitit handles them in the main one, for all of them."""

PATIENCE = 10.0
"""Seconds that a child has to release what it holds."""

LOOK = 5.0
"""Seconds between two checks for an outcome that another process of the job has recorded."""

SHUTDOWN_GRACE_S = 300.0
"""Seconds that a cluster has to end a task that it told to stop, before the job counts as failed."""


@dataclass(frozen=True)
class ArrayTask:
    """Jobs to work through, by number; submitit pickles it and calls it on the node."""

    attempt: Path
    jobs: tuple[int, ...]

    def __call__(self) -> None:
        """Run the jobs that have not ended; a job whose process dies fails, and the next one gets a new process."""
        submission = read(self.attempt.parent.parent)
        os.chdir(submission.cwd)
        waiting: Sequence[int] = [number for number in self.jobs if submission.outcome(number) is None]
        while waiting:
            waiting = self._run_jobs(submission, waiting)

    def checkpoint(self) -> DelayedSubmission:
        """Return the call that continues this task after the cluster ends it; all state is on disk."""
        from submitit.core.utils import DelayedSubmission

        why = self.cause()
        for child in multiprocessing.active_children():
            _stop(child)
        submission = read(self.attempt.parent.parent)
        for number in self.jobs:
            folder = submission.job_folder(number)
            if submission.outcome(number) is None and attempts.stop(folder, why):
                step = attempts.read_attempts(folder)[-1].step
                submission.end(number, failed={"": f"{why} Twice it came no further than {step}: give it more."})
        return DelayedSubmission(self)

    def cause(self) -> str:
        """Return why the cluster ends this task."""
        return attempts.TOLD

    def _run_jobs(self, submission: Submission, waiting: Sequence[int]) -> Sequence[int]:
        """Run jobs in one child process; return those left if it dies."""
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context, initializer=_prepare_child) as child:
            for place, number in enumerate(waiting):
                with _hold_signals():
                    working = child.submit(work, self.attempt, number)
                error = _error(working, submission, number)
                gone = isinstance(error, BrokenProcessPool | LostError)
                if gone:
                    _listen(submission, number, lost=isinstance(error, LostError))
                if error is not None and submission.outcome(number) is None:
                    _tell(submission, number, error)
                if gone:
                    return waiting[place + 1 :]
        return ()


def _error(working: Future[None], submission: Submission, number: int) -> BaseException | None:
    """Return the error of a job in this process; end it as soon as another process has reported the job's failure."""
    while True:
        try:
            return working.exception(timeout=None if ranks.size() == 1 else LOOK)
        except TimeoutError:
            if (outcome := submission.outcome(number)) and outcome["failed"]:
                for child in multiprocessing.active_children():
                    _stop(child)


def _listen(submission: Submission, number: int, *, lost: bool) -> None:
    """Wait for the cluster to end the whole task, or for another process to report why the job ended."""
    for _ in range(1 if ranks.size() == 1 else 60 if lost else 15):
        if attempts.was_stopped(submission.job_folder(number)):
            time.sleep(SHUTDOWN_GRACE_S)
        if submission.outcome(number) is not None:
            return
        time.sleep(1)


@contextmanager
def _hold_signals() -> Iterator[None]:
    """Block signals, so that a child that starts now has them blocked from the beginning."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare_child() -> None:
    """In the child: ignore signals, except the first SIGTERM; processes that it starts are not affected."""
    for one in SIGNALS:
        signal.signal(one, _interrupt if one == signal.SIGTERM else _pass)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _pass(*_: object) -> None:
    """Ignore a signal."""


def _interrupt(*_: object) -> None:
    signal.signal(signal.SIGTERM, _pass)
    raise KeyboardInterrupt


def _stop(child: multiprocessing.process.BaseProcess) -> None:
    """End a child, leaving it time to write a checkpoint and release what it holds."""
    for one, seconds in ((signal.SIGTERM, PATIENCE), (signal.SIGINT, 1.0), (signal.SIGKILL, None)):
        if child.pid is not None and child.is_alive():
            with suppress(ProcessLookupError):  # it ended in between
                os.kill(child.pid, one)
            child.join(seconds)


def work(attempt: Path, number: int) -> None:
    """Run a job of an attempt to its outcome; ends the process if interrupted. Raises any error but BenchError."""
    ranks.meet(number)
    try:
        _work(attempt, number)
    except KeyboardInterrupt:
        if not is_follower():
            attempts.stop(read(attempt.parent.parent).job_folder(number), attempts.TOLD)
        os._exit(1)


def _work(attempt: Path, number: int) -> None:
    from bench.core.lease import claim
    from bench.training import process_group
    from bench.training.device import pick_device

    submission = read(attempt.parent.parent)
    folder = submission.job_folder(number)
    progress = SILENT if is_follower() else Written(folder)
    lease = claim(folder / "lease", unless=lambda: submission.outcome(number) is not None, progress=progress)
    with process_group.join_group(pick_device(submission.means.device)), process_group.hold_lease(lease) as check:
        if check is None:
            return
        leads = process_group.is_main()
        if leads:
            attempts.begin(folder)
        try:
            process_group.main_first(lambda: refuse_other_code(submission, attempt), str)
        except BenchError as error:
            if leads:
                submission.end(number, failed={"": str(error)})
            return
        report = _report(submission, number, progress)
        check()
        if leads:
            failed = {name: str(error) for name, error in report.failed.items()}
            causes = [error.__cause__ for error in report.failed.values() if error.__cause__ is not None]
            if causes:
                traces = ["".join(traceback.format_exception(cause)) for cause in causes]
                write_text(submission.job_folder(number) / "traceback.txt", "\n".join(traces))
            submission.end(number, results=[result.address for result in report.results], failed=failed)


def _report(submission: Submission, number: int, progress: Progress) -> Report:
    """Run the requests of a job; with `again`, only the first attempt deletes what is stored."""
    from bench.execution.pipeline import run

    submission.use_plugins()
    means, deleted = submission.means, submission.job_folder(number) / "deleted"
    requests = submission.list_requests(submission.jobs[number])
    return run(
        requests,
        submission.places,
        progress=progress,
        device=means.device,
        workers=means.workers,
        threads=means.threads,
        cache=means.cache,
        feature_cache=means.feature_cache,
        stored="take" if means.stored == "again" and deleted.exists() else means.stored,
        prepared=deleted.touch,
    )


def _tell(submission: Submission, number: int, error: BaseException) -> None:
    """Record an exception as the job's outcome, in one line, and the child's traceback in a file."""
    write_text(submission.job_folder(number) / "traceback.txt", f"{error.__cause__ or ''}\n{error!r}\n")
    died = "Its process was killed (out of memory?)."
    message = died if isinstance(error, BrokenProcessPool) else f"{type(error).__name__}: {error}"
    submission.end(number, failed={"": message.partition("\n")[0]})
