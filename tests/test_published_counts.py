"""`data check` holds what is on disk against what is published of it."""

from __future__ import annotations

from pathlib import Path

from bench.data.datasets import DATASETS
from bench.files import Places
from bench.inventory import PUBLISHED, Counts, take


def test_only_what_is_published_of_a_split_is_held_against_it(tmp_path: Path, places: Places) -> None:
    (tmp_path / "MIT67").mkdir()
    (tmp_path / "MIT67" / "TrainImages.txt").write_text("".join(f"kitchen/{row}.jpg\n" for row in range(5360)))
    (tmp_path / "MIT67" / "TestImages.txt").write_text("kitchen/x.jpg\nbakery/y.jpg\n")
    train, test = take("mit67", Places(places.runs, tmp_path)).splits
    assert train.problem == ""
    assert test.problem == "2 images, published 1340"


def test_the_published_counts_are_of_datasets_and_of_things_that_are_counted() -> None:
    assert set(PUBLISHED) <= set(DATASETS)
    counted = {name for splits in PUBLISHED.values() for counts in splits.values() for name in counts}
    assert counted <= set(Counts.__dataclass_fields__)
