"""The contract in a separate process, so that a crash, such as one in a library, is only a failed clause."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from bench import registry
from bench.contract.suite import Finding, examine, list_clauses
from bench.core.files import Places
from bench.core.progress import SILENT, Progress
from bench.errors import BenchError


def check_isolated(name: str, places: Places, progress: Progress = SILENT, *, net: str | None = None) -> list[Finding]:
    """Check a method against the contract in separate processes. Raises as `check_method`."""
    clauses, findings = list_clauses(name), list[Finding]()
    with progress.task(f"Checking {name}", len(clauses), unit="clauses") as step:
        while len(findings) < len(clauses):
            for finding in _examine_until_crash(name, places, net, clauses, tuple(findings)):
                findings.append(finding)
                step()
    return findings


def _examine_until_crash(
    name: str, places: Places, net: str | None, clauses: Sequence[str], known: tuple[Finding, ...]
) -> Iterator[Finding]:
    """Yield the findings of the clauses after the known ones, up to one that crashes the process."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_send_findings, args=(sender, registry.plugins(), name, places, net, known))
    child.start()
    sender.close()
    done = len(known)
    try:
        while True:
            received = receiver.recv()
            if isinstance(received, BaseException):
                raise received
            yield received
            done += 1
    except EOFError:
        child.join()
    finally:
        child.kill()
        child.join()
    if done < len(clauses):
        yield Finding(clauses[done], "failed", describe_exit(child.exitcode or 0))


def _send_findings(
    sender: Connection,
    plugins: Sequence[Path],
    name: str,
    places: Places,
    net: str | None,
    known: tuple[Finding, ...],
) -> None:
    """In the child: send the finding of each clause, or the error that ends the checks."""
    try:
        for plugin in plugins:
            registry.use_plugin(plugin)
        for finding in examine(name, places, net=net, known=known):
            sender.send(finding)
    except BenchError as error:
        sender.send(error)


def describe_exit(code: int) -> str:
    """Describe the exit code of a process that ended in the middle of a clause, and what to do.

    >>> describe_exit(-11).partition(",")[0]
    'the process crashed (SIGSEGV)'
    """
    if code == -signal.SIGKILL:
        return "the process was killed (SIGKILL): there may be too little memory"
    if code < 0:
        return (
            f"the process crashed ({signal.Signals(-code).name}), and so would a run: it is a fault of a library, "
            "such as torch on this processor, that another net or version may not have"
        )
    return f"the process ended, exit code {code}: a method may not end it"
