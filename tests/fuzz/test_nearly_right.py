"""Files with one thing off: a right number, a note that says it, or a message that helps; counted by `nearly_right`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from nearly_right import FAULTS, run


def test_what_is_nearly_right_is_read_or_refused_with_what_to_do(tmp_path: Path) -> None:
    verdicts = run(30, tmp_path, every=6)
    assert [one for one in verdicts if one.what in FAULTS] == []
    assert {one.what for one in verdicts} == {"right", "noted", "message"}


@pytest.mark.slow
def test_none_of_a_thousand_is_a_wrong_number_or_a_riddle(tmp_path: Path) -> None:
    verdicts = run(1000, tmp_path)
    print(Counter(one.what for one in verdicts))
    assert [one for one in verdicts if one.what in FAULTS] == []
