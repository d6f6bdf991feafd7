"""How long-running work reports progress without printing: only `bench.cli` prints.

A function that takes long accepts a `Progress`; the command line passes one that draws bars or writes plain lines,
all other callers pass `SILENT`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol


class Step(Protocol):
    """An open bar: call it as work gets done, with figures worth showing (`step(8, loss=.31)`)."""

    def __call__(self, done: int = 1, **figures: float) -> None:
        """Advance the bar by `done` units."""
        ...


class Progress(Protocol):
    """A destination for progress."""

    def task(self, title: str, total: int, *, start: int = 0, unit: str = "images") -> AbstractContextManager[Step]:
        """Open a bar of `total` units, of which `start` are already done."""
        ...

    def say(self, text: str) -> None:
        """Report one line that is worth keeping in a log."""
        ...


class Countdown:
    """Numbers the runs of a call and estimates the time left from the finished runs that compute with a net.

    done: the number of stored runs. heavy: the number of other runs that compute with a net; the rest take seconds.
    """

    def __init__(self, total: int, done: int, heavy: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._begun, self._heavy, self._ended = total, done, heavy, 0
        self._clock, self._start = clock, clock()

    def announce(self, *, is_heavy: bool) -> str:
        """Return the line for the run that begins now, as in `Run 7 of 84, about 23 min left`."""
        self._begun += 1
        ended, left = self._ended, self._heavy - self._ended
        self._ended += is_heavy
        line = f"Run {self._begun} of {self._total}"
        if not ended or not left:
            return line
        seconds = (self._clock() - self._start) / ended * left
        return f"{line}, about {max(1, round(seconds / 60))} min left"


class _Silent:
    @contextmanager
    def task(self, title: str, total: int, *, start: int = 0, unit: str = "images") -> Iterator[Step]:
        yield lambda done=1, **figures: None

    def say(self, text: str) -> None:
        pass


@dataclass(frozen=True)
class ProgressEvent:
    """Work that advanced to `done` of `total`; with `total` 0, a line worth keeping in a log."""

    title: str
    done: int = 0
    total: int = 0
    unit: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)


class CallbackProgress:
    """Calls a function with each event."""

    def __init__(self, callback: Callable[[ProgressEvent], None]) -> None:
        self._callback = callback

    @contextmanager
    def task(self, title: str, total: int, *, start: int = 0, unit: str = "images") -> Iterator[Step]:
        """Count `total` units."""
        counted = start

        def step(done: int = 1, **figures: float) -> None:
            nonlocal counted
            counted += done
            self._callback(ProgressEvent(title, counted, total, unit, figures))

        yield step

    def say(self, text: str) -> None:
        """Pass a line on."""
        self._callback(ProgressEvent(text))


def is_follower() -> bool:
    """Return whether this is a process of a multi-process run other than the main one (see `training.collectives`)."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and os.environ.get("RANK") != "0"


SILENT: Progress = _Silent()
