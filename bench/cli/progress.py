"""Progress on stderr: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from bench.core.redaction import escape_controls, remove_secrets

if TYPE_CHECKING:
    from bench.core.progress import Progress, Step


def make_reporter(stream: TextIO | None = None) -> Progress:
    """Return bars if the stream (default: stderr) is a terminal, plain lines otherwise."""
    stream = stream or sys.stderr
    return Bars(stream) if stream.isatty() else Lines(stream)


class Lines:
    """Plain lines for a log: one every `every` seconds during a task, and one at its end."""

    def __init__(self, stream: TextIO, *, every: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._every, self._clock = stream, every, clock

    @contextmanager
    def task(self, title: str, total: int, *, start: int = 0, unit: str = "images") -> Iterator[Step]:
        """Count `total` units."""
        begin = last = self._clock()
        latest: dict[str, float] = {}
        counted = start

        def line(now: float) -> str:
            left = (total - counted) * (now - begin) / max(counted - start, 1)
            remaining = f"{format_duration(left)} left" if counted < total else f"took {format_duration(now - begin)}"
            return ", ".join([f"{title}: {counted}/{total} {unit}", *format_figures(latest), remaining])

        def step(done: int = 1, **figures: float) -> None:
            nonlocal counted, last
            counted += done
            latest.update(figures)
            now = self._clock()
            if now - last >= self._every and counted < total:
                last = now
                self.say(line(now))

        yield step
        self.say(line(self._clock()))

    def say(self, text: str) -> None:
        """Write a whole line and flush it, since pipes are buffered."""
        self._stream.write(escape_controls(remove_secrets(text)) + "\n")
        self._stream.flush()


class Bars:
    """Bars with the remaining time and the latest figures; a nested task gets a second bar."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        text = [
            TextColumn(f"{{task.{field}}}", markup=False)
            for field in ("description", "fields[unit]", "fields[figures]")
        ]
        bar, count, left = (
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        self._bars = Progress(text[0], bar, count, text[1], left, text[2], console=Console(file=stream))
        self._open = 0

    @contextmanager
    def task(self, title: str, total: int, *, start: int = 0, unit: str = "images") -> Iterator[Step]:
        """Draw a bar of `total` units, which stays once it is full."""
        latest: dict[str, float] = {}
        bar = self._bars.add_task(title, total=total, completed=start, unit=unit, figures="")

        def step(done: int = 1, **figures: float) -> None:
            latest.update(figures)
            self._bars.update(bar, advance=done, figures=" ".join(format_figures(latest)))

        with self._show_bars():
            yield step
            self._bars.stop_task(bar)

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self._bars.console.print(escape_controls(remove_secrets(text)), markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def _show_bars(self) -> Iterator[Any]:
        """Draw the bars from the first open task to the last."""
        if self._open == 0:
            self._bars.start()
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
            if self._open == 0:
                self._bars.stop()
                for task in self._bars.task_ids:
                    self._bars.remove_task(task)


def format_figures(figures: dict[str, float]) -> list[str]:
    """Format figures, as in `loss 0.312`."""
    return [f"{name} {value:.4g}" for name, value in figures.items()]


def format_duration(seconds: float) -> str:
    """Format seconds as `h:mm:ss`.

    >>> format_duration(3725.4)
    '1:02:05'
    """
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
