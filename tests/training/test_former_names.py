"""Names of release 0.1 that methods outside this repository import."""

from bench.train.distributed import gathered
from bench.training.collectives import all_gather


def test_what_was_called_gathered_is_still_found_under_that_name() -> None:
    assert gathered is all_gather
