"""Untrusted files, read in a separate process: a crash, an endless loop or a bomb ends that process, with an error.

Readers in C assume well-formed files; some crash if a single byte is changed.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from signal import Signals
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import BadFileError, escape_text, first_line, format_bytes

_SECONDS, _BYTES_A_SECOND = 6, 200_000
"""Seconds of processor time allowed for any file, and the bytes of a file that allow one second more."""

_MEMORY, _GROWTH = 2 << 30, 40
"""Bytes of memory allowed for any file, and in addition for each of its bytes."""

Arrays = dict[str, NDArray[Any]]


def read_apart(reader: str, path: Path, *arguments: Any) -> Arrays:
    """Call `module:function` with a path and JSON values in a separate process; return the arrays that it returns.

    Its time and memory are limited in proportion to the file's size. Raises BadFileError.
    """
    size = path.stat().st_size
    seconds, memory = _SECONDS + size // _BYTES_A_SECOND, _MEMORY + _GROWTH * size
    with TemporaryDirectory() as folder:
        out = Path(folder) / "arrays.npz"
        limits = {"seconds": seconds, "memory": memory}
        asked = {"reader": reader, "path": str(path), "arguments": arguments, "out": str(out), **limits}
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-P", "-m", "bench.core.apart"]
        try:
            done = subprocess.run(
                command, input=json.dumps(asked), env=environment, capture_output=True, text=True,
                errors="replace", timeout=10 * seconds, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise BadFileError(path, f"not read in {10 * seconds} seconds, which is enough for its size") from None
        if done.returncode:
            told = out.read_text(encoding="utf-8") if done.returncode == _REFUSED else ""
            raise _explain(path, done, told, seconds, memory)
        with np.load(out, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}


def _explain(path: Path, done: subprocess.CompletedProcess[str], told: str, seconds: int, memory: int) -> BadFileError:
    """Return the error for a process that failed to read a file."""
    if done.returncode == _REFUSED:
        return BadFileError(path, **json.loads(told))
    if done.returncode == _TOO_LARGE:
        return BadFileError(path, f"takes more than {format_bytes(memory)} of memory to read, too much for its size")
    if done.returncode == -Signals.SIGXCPU:
        return BadFileError(path, f"takes more than {seconds} seconds to read, too long for its size")
    if done.returncode < 0:
        signal = Signals(-done.returncode).name
        return BadFileError(path, f"damaged: what reads such files crashes on it ({signal}). Get the file again")
    last = escape_text((done.stderr.strip().splitlines() or ["no reason given"])[-1], 200)
    return BadFileError(path, f"could not be read ({last})")


_REFUSED, _TOO_LARGE = 65, 66
"""Exit codes of the process that reads."""


def main() -> int:
    """Read a file as requested, in JSON, on standard input."""
    return serve(json.load(sys.stdin))


def serve(asked: Mapping[str, Any]) -> int:
    """Read a file within limits, and write its arrays or why it could not be read; return the exit code."""
    path = Path(asked["path"])
    module, _, function = asked["reader"].partition(":")
    reader = getattr(import_module(module), function)
    _limit(asked["seconds"], asked["memory"])
    try:
        arrays: Arrays = reader(path, *asked["arguments"])
        np.savez(asked["out"], allow_pickle=False, **arrays)
    except MemoryError:
        return _TOO_LARGE
    except BadFileError as error:
        return _refuse(asked["out"], error.rule, error.row)
    except Exception as error:
        rule = f"not a readable {path.suffix} file ({type(error).__name__}: {first_line(error)})"
        return _refuse(asked["out"], rule)
    return 0


def _refuse(out: str, rule: str, row: int | str | None = None) -> int:
    Path(out).write_text(json.dumps({"rule": rule, "row": row}), encoding="utf-8")
    return _REFUSED


def _limit(seconds: int, memory: int) -> None:
    """Limit the further time and memory of this process, if the system supports it."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        seconds += math.ceil(time.process_time())
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        memory += pages * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


if __name__ == "__main__":
    sys.exit(main())
