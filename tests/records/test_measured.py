"""Published results agree with what stands beside them: nobody edited a number."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from bench import registry
from bench.analysis.baselines import LEDGER
from bench.core.bootstrap import bootstrap, class_mean, interval
from bench.core.files import file_digest
from bench.records.outcomes import read_outcomes
from bench.records.replicates import read_replicates
from bench.records.result import list_records, read_result
from bench.scoring.score import summarise_outcomes

RECORDS = sorted((registry.ROOT / "results" / "measured").rglob("[!.]*.json"))


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_a_published_record_agrees_with_its_outcomes_and_replicates(record: Path) -> None:
    result = read_result(record)
    outcomes = record.with_suffix(".parquet")
    assert record.stem.endswith(f".{result.address}")
    assert not outcomes.exists() or file_digest(outcomes) == result.outcomes_digest
    replicates = read_replicates(record)
    assert replicates is not None, "published without replicates: score again, publish again"
    for name, bounds in result.intervals.items():
        assert bounds == interval(replicates.values[name], result.metrics[name] or 0.0)


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_a_published_record_is_what_its_outcomes_score(record: Path) -> None:
    """Metrics, values by class and replicates are computed again, to the last bit."""
    result, replicates = read_result(record), read_replicates(record)
    outcomes = read_outcomes(record, result)
    assert outcomes is not None
    assert replicates is not None
    protocol = registry.bind(registry.protocol(result.protocol).with_conventions(result.conventions))
    learned = tuple(name for name in outcomes.classes if name != "background")  # it has an IoU alone
    assert result.digest == protocol.digest(learned)
    summarise = partial(summarise_outcomes, protocol, outcomes.table, outcomes.classes)
    values = summarise(np.ones((1, result.images)))
    assert {name: defined(class_mean(value)[0]) for name, value in values.items()} == result.metrics
    by_class = {name: map(defined, value[0]) for name, value in values.items() if value.ndim == 2}
    again = {name: dict(zip(outcomes.classes, row, strict=True)) for name, row in by_class.items()}
    assert again == result.per_class
    count = len(next(iter(replicates.values.values())))
    for name, draws in bootstrap(summarise, result.images, replicates=count, seed=0).items():
        np.testing.assert_array_equal(class_mean(draws), replicates.values[name])


def defined(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


DRAWN_ON = {
    "6fdb979522a68fd1693e": "test_subset",
    "68c64eaaa716e636b863": "Segmentation/test_subset",
}
"""Ground truth, by its digest, of photographs with drawings on them, and the name of its split (CHANGELOG, 0.2.0)."""

PUBLISHED = [registry.ROOT / "results" / name for name in ("measured", "baselines")]


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda path: path.name)
def test_nothing_published_rests_on_photographs_with_drawings(folder: Path) -> None:
    results = [read_result(path) for path in list_records(folder)]
    assert results
    for result in results:
        assert result.truth_digest not in DRAWN_ON, result.file_name
        assert not {result.split, result.train_split} & set(DRAWN_ON.values()), result.file_name


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda path: path.name)
def test_every_published_file_belongs_to_a_record(folder: Path) -> None:
    stems = {path.stem for path in list_records(folder)}
    files = [path.name for path in folder.iterdir() if path.name != LEDGER]
    assert [name for name in files if not any(name.startswith(f"{stem}.") for stem in stems)] == []


def test_the_ledger_of_baselines_names_no_split_with_drawings() -> None:
    lines = (registry.ROOT / "results" / "baselines" / LEDGER).read_text(encoding="utf-8").splitlines()
    assert not {json.loads(line)["split"] for line in lines} & set(DRAWN_ON.values())
