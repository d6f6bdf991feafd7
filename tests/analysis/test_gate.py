"""The gate: what regressed, what did not, and how certain that is; and baselines that move, with their reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pyarrow.parquet as pq
import pytest
from record_cases import RECORD

from bench import registry
from bench.analysis.baselines import LEDGER, accept, read, select_latest
from bench.analysis.gate import GateCheck, gate, make_table
from bench.analysis.kinds import KindIndex, is_same_kind
from bench.core.files import Places
from bench.records.collection import StoredResult
from bench.records.replicates import build_table as replicates_of
from bench.records.replicates import replicates_path
from bench.records.result import Result, read_result, write_result
from bench.tables.render import FORMATS

COMMON: dict[str, Any] = {
    **RECORD,
    "method": "melm",
    "variant": "l2+arl",
    "seed": 0,
    "config": {"net": "vgg16", "epochs": 20},
    "higher_is_better": {"mAP": True, "error": False},
}
IMAGES = np.random.default_rng(0).normal(0, 0.03, 400)
"""How a number moves with the draw of the images; more than what is to be caught."""

Make = Callable[..., StoredResult]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """`make("new", 0.47, ...)`: a record in a folder; `own`: how much of its noise is not that of the images."""

    def record(
        folder: str, value: float | None, *, metric: str = "mAP", own: float = 0.001, kept: bool = True, **more: Any
    ) -> StoredResult:
        address = f"{folder}-{value}-{metric}-{more}".replace("/", "")[:120]
        fields = {"address": address, "predictions": address, "metrics": {metric: value}, "created": folder, **more}
        one = StoredResult(Result(**{**COMMON, **fields}), tmp_path / folder / f"{address}.json")
        write_result(one.record, one.result)
        if kept and value is not None:
            noise = np.random.default_rng(crc32(address.encode())).normal(0, own, len(IMAGES))
            pq.write_table(replicates_of({metric: value + IMAGES + noise}, 100, 0), replicates_path(one.record))
        return one

    return record


def test_a_setting_that_came_later_changes_the_kind_only_where_it_was_given() -> None:
    def result(**more: Any) -> Result:
        return Result(**{**COMMON, "address": "a", "predictions": "a", "metrics": {"mAP": 0.5}, **more})

    later = COMMON["config"] | {"ema": 0.5}
    assert is_same_kind(result(), result(config=later))
    assert is_same_kind(result(), result(config=later, given=("net",)))
    assert not is_same_kind(result(), result(config=later, given=("net", "ema")))
    assert not is_same_kind(result(config=later, given=("net", "ema")), result())


def test_an_index_of_kinds_finds_what_a_look_at_each_would() -> None:
    random = np.random.default_rng(0)
    results = []
    for number in range(60):
        names = random.choice(["a", "b", "c", "d"], random.integers(1, 5), replace=False)
        config = {str(name): int(random.integers(2)) for name in names}
        given = tuple(name for name in config if random.random() < 0.3) if number % 3 else None
        fields = {"address": str(number), "predictions": "p", "metrics": {"mAP": 0.5}, "config": config, "given": given}
        results.append(Result(**{**COMMON, **fields, "method": f"m{number % 2}"}))
    kinds: KindIndex[int] = KindIndex()
    added: list[int] = []
    for number, result in enumerate(results):
        assert list(kinds.find(result)) == [other for other in added if is_same_kind(result, results[other])]
        if random.random() < 0.6:
            kinds.add(result, number)
            added.append(number)
    assert any(list(kinds.find(result))[1:] for result in results)


def only(new: StoredResult, old: StoredResult, **more: Any) -> GateCheck:
    (check,) = gate([new], [old], **more)
    return check


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (0.45, "regressed"),
        (0.469, "unchanged"),
        (0.47, "unchanged"),
        (0.464, "regressed"),
        (0.466, "unchanged"),
        (0.471, "unchanged"),
        (0.49, "improved"),
    ],
)
def test_a_fall_is_more_than_the_tolerance_and_than_noise(make: Make, value: float, status: str) -> None:
    check = only(make("2-new", value), make("1-old", 0.47))
    assert (check.status, check.pairing) == (status, "paired")
    assert check.difference == pytest.approx(value - 0.47)


@pytest.mark.parametrize(("value", "status"), [(0.45, "improved"), (0.49, "regressed"), (0.471, "unchanged")])
def test_where_lower_is_better_to_rise_is_to_fall(make: Make, value: float, status: str) -> None:
    assert only(make("2", value, metric="error"), make("1", 0.47, metric="error")).status == status


def test_the_tolerance_is_what_is_asked(make: Make) -> None:
    new, old = make("2", 0.46), make("1", 0.47)
    assert only(new, old, tolerance=0.02).status == "unchanged"
    assert only(new, old, tolerance=0.0).status == "regressed"


def test_noise_beyond_the_tolerance_is_no_fall(make: Make) -> None:
    check = only(make("2", 0.45, own=0.03), make("1", 0.47, own=0.03))
    assert check.status == "unchanged"
    assert check.interval is not None
    assert check.interval[0] < -0.05 < 0.01 < check.interval[1]


def test_without_replicates_noise_is_of_both_intervals_and_that_is_said(make: Make) -> None:
    intervals = {"intervals": {"mAP": (0.44, 0.50)}, "kept": False}
    held = only(make("2", 0.43, **intervals), make("1", 0.47, **intervals))
    assert (held.status, held.pairing) == ("unchanged", "unpaired")
    assert held.interval == (pytest.approx(-0.04 - 0.03 * 2**0.5), pytest.approx(-0.04 + 0.03 * 2**0.5))
    assert held.note.startswith("unpaired: ")
    assert only(make("2", 0.42, **intervals), make("1", 0.47, **intervals)).status == "regressed"


def test_replicates_of_other_draws_are_no_pairs(make: Make) -> None:
    new, old = (make(folder, 0.47, intervals={"mAP": (0.44, 0.50)}) for folder in ("2", "1"))
    pq.write_table(replicates_of({"mAP": 0.47 + IMAGES}, 100, 1), replicates_path(new.record))
    assert only(new, old).pairing == "unpaired"


def test_where_no_noise_is_known_the_tolerance_decides_and_that_is_said(make: Make) -> None:
    check = only(make("2", 0.46, kept=False), make("1", 0.47, kept=False))
    assert (check.status, check.interval, check.note) == (
        "regressed",
        None,
        "no replicates and no intervals: compared by the tolerance alone",
    )


def test_a_number_that_is_undefined_now_regressed(make: Make) -> None:
    check = only(make("2", None), make("1", 0.47))
    assert (check.status, check.note) == ("regressed", "undefined now")


@pytest.mark.parametrize(
    "other",
    [
        {"method": "wsddn"},
        {"variant": "base"},
        {"protocol": "voc10-det"},
        {"split": "few"},
        {"train_split": "few"},
        {"seed": 1},
        {"dataset": "shapes"},
        {"config": {"net": "vgg16", "epochs": 10}},
    ],
)
def test_another_thing_is_no_baseline(make: Make, other: dict[str, Any]) -> None:
    assert only(make("2", 0.1, **other), make("1", 0.47)).status == "no baseline"


def test_a_setting_that_came_later_makes_no_other_thing(make: Make) -> None:
    new = make("2", 0.1, config={"net": "vgg16", "epochs": 20, "clip": 0.0})
    assert only(new, make("1", 0.47)).status == "regressed"


def test_what_was_evaluated_under_a_different_protocol_is_not_compared_and_says_so(make: Make) -> None:
    moved = make("2", 0.1, digest="x", conventions={"iou_threshold": 0.7})
    check = only(moved, make("1", 0.47))
    assert (check.status, check.note) == (
        "different protocol",
        "other conventions: iou_threshold 0.7, not 0.5; accept it as a new baseline",
    )
    assert only(make("2", 0.1, truth_digest="x"), make("1", 0.47)).status == "different protocol"


def test_seeds_are_compared_together_over_those_that_both_have(make: Make) -> None:
    new = [make("2", value, seed=seed) for seed, value in enumerate((0.44, 0.50, 0.1))]
    old = [make("1", 0.47, seed=seed) for seed in (0, 1)]
    (check,) = gate(new, old)
    assert (check.seeds, check.status) == ((0, 1), "unchanged")
    assert check.measured == pytest.approx(0.47)
    (regressed,) = gate([make("3", value, seed=seed) for seed, value in enumerate((0.40, 0.41))], old)
    assert regressed.status == "regressed"


def test_the_latest_of_the_same_thing_counts(make: Make) -> None:
    (check,) = gate([make("2", 0.47), make("3", 0.30)], [make("1", 0.47)])
    assert (check.status, check.measured) == ("regressed", 0.30)
    moved = make("4", 0.9, digest="x")
    assert [row[0].address for row in select_latest([make("2", 0.47), moved])] == [moved.result.address]


def test_falls_come_first_and_the_title_counts(make: Make) -> None:
    names = {"unchanged": 0.47, "improved": 0.60, "regressed": 0.30}
    new = [make("2", value, method=name) for name, value in names.items()] + [make("2", 0.5, method="new")]
    checks = gate(new, [make("1", 0.47, method=name) for name in names])
    table = make_table(checks)
    assert [row[0].text.partition(":")[0] for row in table.rows] == ["regressed", "improved", "unchanged", "new"]
    assert table.title == "Gate: 1 regressed, 1 improved, 1 unchanged, 1 no baseline"
    assert FORMATS["md"](table).count("**regressed**") == 1


@pytest.mark.usefixtures("made_up_addresses")
def test_an_accepted_result_takes_the_place_of_its_baseline_with_the_reason_on_record(
    make: Make, tmp_path: Path
) -> None:
    folder, places = tmp_path / "baselines", Places(tmp_path / "runs")
    old, other, new = make("1", 0.47), make("1", 0.2, seed=1), make("2", 0.45)
    assert len(accept([old, other], folder, "first", places)) == 2
    assert gate([new], read(folder, places))[0].status == "regressed"
    (moved,) = accept([new], folder, "the loss follows the paper now", places)
    assert moved == "melm:l2+arl · voc07-det on voc2007 test, seed 0: mAP 45.0, was mAP 47.0"
    assert {one.result.address for one in read(folder, places)} == {other.result.address, new.result.address}
    assert [check.status for check in gate([new], read(folder, places))] == ["unchanged"]
    assert gate([new], read(folder, places))[0].pairing == "paired"
    lines = [json.loads(line) for line in (folder / LEDGER).read_text().splitlines()]
    assert [line["reason"] for line in lines] == ["first", "first", "the loss follows the paper now"]
    assert lines[-1]["replaces"] == [{"address": old.result.address, "metrics": {"mAP": 0.47}}]
    assert accept([new], folder, "again", places) == []
    assert len((folder / LEDGER).read_text().splitlines()) == 3


def test_nothing_that_is_published_regressed_below_its_baseline(tmp_path: Path) -> None:
    results = registry.ROOT / "results"
    published = [
        StoredResult(read_result(record), record) for record in sorted((results / "measured").rglob("[!.]*.json"))
    ]
    checks = gate(published, read(results / "baselines", Places(tmp_path)))
    assert [check.status for check in checks].count("unchanged") >= 20
    regressed = [check for check in checks if check.status == "regressed"]
    assert not regressed, (
        f"{FORMATS['text'](make_table(regressed))}\nTo accept this: python -m bench gate --accept REASON"
    )
