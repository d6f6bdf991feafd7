"""A process that is killed at each of its file operations in turn, and what is there when the same is done again."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from bench.core import files

KILLED = 137
_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "shutil.rmtree"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

State = dict[str, bytes]


def run_child(
    action: Callable[[], object], root: Path, at: int = 0, *, refusal: int = 0, log: Path = Path(os.devnull)
) -> tuple[int, int]:
    """Do something in a child process that ends, as if killed, before operation `at` on files below `root` (0: none).

    refusal: an errno with which each write from there on fails instead. log: gets what it prints. Returns its exit
    code, 0 if the action ended, and how many operations it came to.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        files._sweep.cache_clear()
        os.fsync = lambda _: None  # what is killed leaves what it wrote; fsync is for machines that lose power
        _count_operations(root, at, writer, refusal)
        sys.stdout = sys.stderr = log.open("w")
        code = 1
        try:
            action()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        count = len(stream.read())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), count


def _count_operations(root: Path, at: int, writer: int, refusal: int) -> None:
    count = 0

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        is_write = event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & _WRITES)
        if (is_write or event in _CHANGES) and str(arguments[0]).startswith(str(root)):
            count += 1
            os.write(writer, b".")
            if at and count >= at and refusal and is_write:
                raise OSError(refusal, os.strerror(refusal))
            if count == at and not refusal:
                os._exit(KILLED)

    sys.addaudithook(hear)


def read_state(root: Path, clean: Callable[[str, bytes], bytes] = lambda _name, content: content) -> State:
    """Read every file below a folder, hidden ones too, but not the numbers of claims, which are never used again."""
    paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
    claims = {path for path in paths if path.parent.name == "lease" and path.stem.isdecimal()}
    files = {path.relative_to(root).as_posix(): path for path in paths if path not in claims}
    return {name: clean(name, path.read_bytes()) for name, path in files.items()}


def check_kills(
    action: Callable[[], object],
    root: Path,
    clean: Callable[[str, bytes], bytes] = lambda _name, content: content,
    check: Callable[[], object] = lambda: None,
) -> int:
    """Kill an action at each of its operations, and do it again: the files must be those of an undisturbed one.

    root: the folder that it works on. clean: takes out of a file what differs between any two runs. check: what must
    hold after each kill. Returns how many operations there were.
    """
    before = root.with_name(f"{root.name}-before")
    shutil.copytree(root, before)
    action()  # here, so that the children find everything imported
    expected = read_state(root, clean)
    shutil.rmtree(root)
    shutil.copytree(before, root)
    code, count = run_child(action, root)
    assert code == 0
    assert count
    for at in range(1, count + 1):
        shutil.rmtree(root)
        shutil.copytree(before, root)
        assert run_child(action, root, at)[0] == KILLED
        check()
        code, _ = run_child(action, root)
        found = read_state(root, clean)
        assert code == 0 or found == expected, f"the run after a kill at operation {at} of {count}"
        assert not found.keys() ^ expected.keys(), f"killed at {at} of {count}: {found.keys() ^ expected.keys()}"
        others = [name for name in found if found[name] != expected[name]]
        assert not others, f"killed at {at} of {count}: {others}"
    return count


def check_refusals(
    action: Callable[[], object],
    root: Path,
    points: Iterable[int],
    refusal: int = errno.ENOSPC,
    check: Callable[[], object] = lambda: None,
) -> list[str]:
    """Refuse an action's writes from some operations on, and do it again; return what it printed each time.

    root: the folder that it works on; beside it `check_kills`, or the caller, has put a copy (`-before`). refusal: the
    errno. check: what must hold in the end.
    """
    before, log = root.with_name(f"{root.name}-before"), root.with_name("log")
    said = []
    for at in points:
        shutil.rmtree(root)
        shutil.copytree(before, root)
        code, _ = run_child(action, root, at, refusal=refusal, log=log)
        said.append(f"{code} {log.read_text()}")
        assert run_child(action, root)[0] == 0, f"the run after writes that were refused from operation {at} on"
        check()
    return said
