"""How far a call is that has many runs."""

from bench.core.progress import Countdown


def test_the_time_left_is_estimated_from_the_runs_that_ended_in_this_call() -> None:
    now = 1000.0
    countdown = Countdown(10, done=4, clock=lambda: now)
    assert countdown.announce() == "Run 5 of 10"
    now += 120
    assert countdown.announce() == "Run 6 of 10, about 10 min left"
    now += 60
    assert countdown.announce() == "Run 7 of 10, about 6 min left"
    now += 1
    assert [countdown.announce() for _ in range(3)][-1] == "Run 10 of 10, about 1 min left"
