"""Off a terminal progress is plain lines, few of them; on one it is bars."""

from __future__ import annotations

import io

import pytest

from bench.cli.progress import Bars, Lines, format_duration, make_reporter


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_line_comes_every_ten_seconds_and_at_the_end() -> None:
    out, clock = io.StringIO(), Clock()
    with Lines(out, clock=clock).task("train", 100) as step:
        for _ in range(100):
            clock.now += 0.25
            step(loss=0.5)
    assert out.getvalue().splitlines() == [
        "train: 40/100 images, loss 0.5, 0:00:15 left",
        "train: 80/100 images, loss 0.5, 0:00:05 left",
        "train: 100/100 images, loss 0.5, took 0:00:25",
    ]


def test_what_was_done_before_does_not_count_for_the_time_left() -> None:
    out, clock = io.StringIO(), Clock()
    with Lines(out, clock=clock).task("train", 100, start=80, unit="steps") as step:
        clock.now += 10
        step(10)
    assert out.getvalue().splitlines()[0] == "train: 90/100 steps, 0:00:10 left"


def test_a_task_that_fails_does_not_say_that_it_ended() -> None:
    out = io.StringIO()
    with pytest.raises(ValueError, match="broken"), Lines(out).task("train", 3):
        raise ValueError("broken")
    assert out.getvalue() == ""


def test_bars_show_count_and_figures_and_keep_what_is_said() -> None:
    out = Terminal()
    bars = make_reporter(out)
    assert isinstance(bars, Bars)
    with bars.task("train [cam]", 2) as step:
        step(loss=0.25)
        bars.say("epoch [1] ended")
        step()
    shown = out.getvalue()
    assert "train [cam]" in shown
    assert "2/2" in shown
    assert "loss 0.25" in shown
    assert "epoch [1] ended" in shown


def test_one_task_may_hold_another() -> None:
    out = Terminal()
    bars = Bars(out)
    with bars.task("epochs", 1, unit="epochs") as outer:
        with bars.task("images", 3) as inner:
            inner(3)
        outer()
    assert "3/3" in out.getvalue()
    assert "1/1" in out.getvalue()


def test_off_a_terminal_there_are_no_bars() -> None:
    assert isinstance(make_reporter(io.StringIO()), Lines)


def test_hours_are_not_wrapped() -> None:
    assert format_duration(100 * 3600) == "100:00:00"
