"""How far a call is that has many runs."""

from bench.core.progress import Countdown


def test_the_time_left_is_estimated_from_the_runs_that_ended_in_this_call() -> None:
    now = 1000.0
    countdown = Countdown(10, done=4, heavy=3, clock=lambda: now)
    assert countdown.announce(is_heavy=False) == "Run 5 of 10"
    now += 1
    assert countdown.announce(is_heavy=True) == "Run 6 of 10"
    now += 119
    assert countdown.announce(is_heavy=False) == "Run 7 of 10, about 4 min left"
    assert countdown.announce(is_heavy=True) == "Run 8 of 10, about 4 min left"
    now += 60
    assert countdown.announce(is_heavy=True) == "Run 9 of 10, about 2 min left"
    assert countdown.announce(is_heavy=False) == "Run 10 of 10"
