"""Which results are trials of `tune`, by their splits."""

from __future__ import annotations

import pytest
from measured import result

from bench.tables.trials import is_trial
from bench.tracks.track import list_tracks, read_track


@pytest.mark.parametrize(
    ("trained", "evaluated", "expected"),
    [
        ("train:1-2of3", "train:3of3", True),
        ("Segmentation/train_have:1-4of5", "Segmentation/train_have:5of5", True),
        ("train", "train", False),
        ("train:1-2of3", "val", False),  # fewer images to learn from: a study
        ("train:1-2of3", "train:1-2of3", False),
        ("train:1-2of3", "val:3of3", False),
        (None, "train:3of3", False),  # learned nothing
    ],
)
def test_a_trial_is_evaluated_on_another_part_of_what_it_was_trained_on(
    trained: str | None, evaluated: str, expected: bool
) -> None:
    made = result("voc07-point", "cam", {"accuracy": 0.5}, train_split=trained, split=evaluated)
    assert is_trial(made) == expected


@pytest.mark.parametrize("name", list_tracks())
def test_trials_of_every_track_are_told_from_its_results(name: str) -> None:
    track = read_track(name)
    made = result("voc07-point", "cam", {}, train_split=track.tuning.train_split, split=track.tuning.eval_split)
    assert is_trial(made)
    for protocol in track.protocols:
        own = result(protocol, "cam", {}, train_split=track.train_split, split=track.find_split(protocol))
        assert not is_trial(own)
