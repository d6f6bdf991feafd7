"""Progress of an unattended job: a file with its present state, and a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.files import write_json

if TYPE_CHECKING:
    from bench.core.progress import Step

EVERY = 2.0
"""Seconds between two updates of the file."""


class Written:
    """A `Progress` that writes `progress.json` and appends to `log.txt` in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def task(self, title: str, total: int, *, start: int = 0, unit: str = "images") -> Iterator[Step]:
        """Count `total` units."""
        begin = spoke = time.monotonic()
        counted = start

        def write(now: float) -> None:
            left = (total - counted) * (now - begin) / (counted - start) if counted > start else None
            state = {"title": title, "start": start, "counted": counted, "total": total, "unit": unit, "left": left}
            write_json(self._folder / "progress.json", state)

        def step(done: int = 1, **figures: float) -> None:
            nonlocal counted, spoke
            counted += done
            now = time.monotonic()
            if now - spoke >= EVERY:
                spoke = now
                write(now)

        write(begin)
        yield step
        write(time.monotonic())

    def say(self, text: str) -> None:
        """Append a line to the log."""
        with (self._folder / "log.txt").open("a", encoding="utf-8") as log:
            log.write(text + "\n")
