"""Readers that crash, loop, eat memory or raise, each told by its file to do so."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import BadFileError


def read(path: Path, *arguments: Any) -> dict[str, Any]:
    """Do what a file says."""
    what = path.read_text()
    if what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    while what == "loop":
        pass
    if what == "memory":
        return {"a": np.ones(1 << 40, dtype=np.uint8)}
    if what == "raise":
        raise LookupError("strange\x1b[2J")
    if what == "refuse":
        raise BadFileError(path, "too short", row=3)
    return {"a": np.array(arguments), "b": np.arange(3.0)}
