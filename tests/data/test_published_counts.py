"""`data check` holds what is on disk against what is published of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.core.files import Places
from bench.data.check import PUBLISHED, Counts, check_dataset
from bench.data.datasets import DATASETS

if TYPE_CHECKING:
    from conftest import Answer


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root where MIT67's training list is as long as published, and its test list is not."""
    (tmp_path / "MIT67").mkdir()
    (tmp_path / "MIT67" / "TrainImages.txt").write_text("".join(f"kitchen/{row}.jpg\n" for row in range(5360)))
    (tmp_path / "MIT67" / "TestImages.txt").write_text("kitchen/x.jpg\nbakery/y.jpg\n")
    return tmp_path


def test_only_what_is_published_of_a_split_is_held_against_it(root: Path, places: Places) -> None:
    train, test = check_dataset("mit67", Places(places.runs, root)).splits
    assert train.problem == ""
    assert test.problem == "2 images, published 1340"


def test_the_verb_names_the_count_that_is_off_and_answers_no(here: Callable[..., Answer], root: Path) -> None:
    answer = here("data", "check", "mit67", "--data-root", root)
    assert answer.code == 1
    assert "2 images, published 1340" in answer.out
    assert "published 5360" not in answer.out


def test_the_published_counts_are_of_datasets_and_of_things_that_are_counted() -> None:
    assert set(PUBLISHED) <= set(DATASETS)
    counted = {name for splits in PUBLISHED.values() for counts in splits.values() for name in counts}
    assert counted <= set(Counts.__dataclass_fields__)
