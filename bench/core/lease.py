"""Claims on work that one process at a time may do: kept alive by a heartbeat, taken over when their holder died.

A claim is a folder of numbered files; the highest number is the current one. Number n + 1 is created atomically by
`link` and never reused, so of all processes that find n released or stale, exactly one succeeds. This needs no locks,
only exclusive creation of hard links in one folder, which local disks, NFS, Lustre and GPFS provide.

filelock's soft lock cannot stand in: it never breaks an empty marker, takes an unreaped (zombie) holder for alive, and
decides the age of a claim from another host by the local clock instead of the file system's.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench.core.files import make_part_path, name_errors, read_json, sweep, write_json
from bench.core.progress import SILENT, Progress
from bench.errors import BusyError, RunError

PATIENCE = 120.0
"""Seconds without a heartbeat after which a claim is stale."""


@dataclass(frozen=True)
class Holder:
    """The process that holds a claim.

    started: distinguishes a process from a later one with the same number. space: the namespace in which its number is
    unique, since containers share hosts. job: the SLURM job, if any. token: unique to this claim.
    """

    host: str
    pid: int
    started: str | None
    job: str | None
    token: str
    space: str | None = None
    released: bool = False

    def __str__(self) -> str:
        job = f", job {self.job}" if self.job else ""
        return f"process {self.pid} on {self.host}{job}"

    @property
    def is_dead(self) -> bool:
        """Whether the process is known to have ended; on other hosts and in other containers, nothing is known."""
        return self.is_here and _start_time(self.pid) != self.started

    @property
    def is_here(self) -> bool:
        """Whether its number is that of a process of this host and container."""
        return (self.host, self.space) == (socket.gethostname(), _process_namespace())


@dataclass(frozen=True)
class Lease:
    """A claim of this process, held while the block of `claim` runs."""

    path: Path
    holder: Holder

    def check(self) -> None:
        """Raise BusyError unless this process still holds the claim. Call it before publishing anything."""
        if _latest_number(self.path.parent) != int(self.path.stem) or not self._is_ours():
            raise BusyError(
                f"{self.path.parent.parent} was deleted, or taken over by another process because this one sent no "
                "heartbeat. Run the same command again: it resumes from the files that exist."
            )

    def release(self) -> None:
        """Mark the work as free to claim again; the number stays taken."""
        if self._is_ours():
            write_json(self.path, asdict(replace(self.holder, released=True)))

    def _is_ours(self) -> bool:
        """Return whether the file is still this claim's: not if the folder was deleted, even if it exists again."""
        try:
            return self.path.exists() and _read_holder(self.path) == self.holder
        except (ValueError, TypeError):
            return False


@contextmanager
def claim(
    folder: Path,
    *,
    unless: Callable[[], bool],
    progress: Progress = SILENT,
    patience: float = PATIENCE,
    poll: float = 0.25,
) -> Iterator[Lease | None]:
    """Hold `folder` during the block; yield None as soon as `unless` returns True, when no work is left.

    While another process holds it, report which one, and wait.
    """
    lease = _acquire(folder, unless, progress, patience, poll)
    if lease is None:
        yield None
        return
    stopped = threading.Event()
    threading.Thread(target=_send_heartbeats, args=(lease.path, stopped, patience / 8), daemon=True).start()
    try:
        yield lease
    except FileNotFoundError:  # a process that took over removes the half-written files of this one
        lease.check()
        raise
    finally:
        stopped.set()
        with suppress(FileNotFoundError):
            lease.release()


def _acquire(
    folder: Path, unless: Callable[[], bool], progress: Progress, patience: float, poll: float
) -> Lease | None:
    seen: Holder | None = None
    while not unless():
        lease, holder = _try_once(folder, patience)
        if lease is not None and unless():  # finished between our first look and our claim
            lease.release()
            return None
        if lease is not None:
            return lease
        if holder is not None and holder != seen:
            progress.say(f"Waiting for {holder}, which is working on {folder.parent.name}.")
            seen = holder
        time.sleep(poll)
    return None


def _try_once(folder: Path, patience: float) -> tuple[Lease | None, Holder | None]:
    """Return a lease, or else the current holder; neither if another process was faster just now."""
    folder.mkdir(parents=True, exist_ok=True)
    this_process = describe_process(os.getpid())
    sweep(folder)
    offer = make_part_path(folder / "offer")
    try:
        with name_errors(offer):
            offer.write_text(json.dumps(asdict(this_process)), encoding="utf-8")
        number = _latest_number(folder)
        holder = _read_active_holder(folder / f"{number}.json", offer.stat().st_mtime - patience) if number else None
        if holder is not None:
            return None, holder
        path = folder / f"{number + 1}.json"
        _link(offer, path)
    except (FileExistsError, FileNotFoundError):  # another process was faster, or the folder was deleted
        return None, None
    finally:
        with suppress(FileNotFoundError):
            offer.unlink()
    return Lease(path, this_process), None


def _link(offer: Path, path: Path) -> None:
    """Create a file atomically: unlike a rename, a link fails if the number is taken. Raises RunError without links."""
    try:
        os.link(offer, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        raise RunError(
            f"The file system of {path.parent} has no hard links, which claims on work need, as exFAT and some network "
            "file systems: give --runs DIR, or set BENCH_RUNS, to a folder on another one."
        ) from None


_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)


def has_links(folder: Path) -> bool:
    """Whether the file system of a folder has the hard links that claims need."""
    offer, path = make_part_path(folder / "link"), make_part_path(folder / "link")
    try:
        offer.touch()
        os.link(offer, path)
    except OSError as error:
        return error.errno not in _NO_LINKS
    finally:
        offer.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    return True


def describe_process(pid: int) -> Holder:
    """Describe a process of this machine as a holder."""
    return Holder(
        host=socket.gethostname(),
        pid=pid,
        started=_start_time(pid),
        job=os.environ.get("SLURM_JOB_ID"),
        token=uuid.uuid4().hex,
        space=_process_namespace(),
    )


def find_holder(folder: Path, patience: float = PATIENCE) -> Holder | None:
    """Return the active holder of a folder, without claiming it; None if it is free or its holder is stale."""
    try:
        return _read_active_holder(folder / f"{_latest_number(folder)}.json", time.time() - patience)
    except FileNotFoundError:
        return None


def _read_active_holder(path: Path, oldest: float) -> Holder | None:
    """Read the holder of a claim file; None if released or stale. `oldest` is on the file system's clock, not ours."""
    try:
        holder = _read_holder(path)
    except (ValueError, TypeError):  # the machine crashed before the content reached the disk
        return None
    stale = holder.released or holder.is_dead or path.stat().st_mtime < oldest
    return None if stale else holder


def _read_holder(path: Path) -> Holder:
    return Holder(**read_json(path))


def _latest_number(folder: Path) -> int:
    """Return the highest number in a folder; 0 if there is none."""
    return max((int(path.stem) for path in folder.glob("[0-9]*.json") if path.stem.isdecimal()), default=0)


def _send_heartbeats(path: Path, stopped: threading.Event, every: float) -> None:
    while not stopped.wait(every):
        with suppress(OSError):  # the folder was deleted, or cannot be written just now: `check` finds out
            os.utime(path)


def _process_namespace() -> str | None:
    """Return Linux's name of the namespace of process numbers; None elsewhere."""
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115 not a path
    except OSError:
        return None


def _start_time(pid: int) -> str | None:
    """Return when a process of this machine started, in the kernel's ticks; None if it ended (a zombie has)."""
    if not Path("/proc/self/stat").exists():
        return _probe(pid)
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else fields[18]


def _probe(pid: int) -> str | None:
    """Return a constant if a process of this number exists, else None; used where there is no /proc."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "alive"
