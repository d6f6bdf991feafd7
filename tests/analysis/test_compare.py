"""Comparing two results: by the definition, in pairs, refused where they were judged differently."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from bench import registry
from bench.analysis.compare import Comparison, describe_verdict, make_tables
from bench.analysis.compare import compare as compare_sides
from bench.core.bootstrap import draw_weights
from bench.core.files import Places, file_digest
from bench.data.ground_truth import GroundTruth, Objects, derive_labels
from bench.errors import BadFileError, RequestError
from bench.predictions.table import ResolvedPredictions
from bench.records.collection import StoredResult
from bench.records.replicates import replicates_path
from bench.records.result import write_result
from bench.records.store import Store
from bench.scoring.score import make_result, score
from bench.tables.render import FORMATS

N = 60
CLASSES = ("cat", "dog")


@pytest.fixture
def truth() -> GroundTruth:
    """A cat of 8 x 8 in every image, and a dog beside it in every third."""
    image = np.sort(np.concatenate([np.arange(N), np.arange(0, N, 3)])).astype(np.int32)
    label = np.concatenate([[0, 1] if number % 3 == 0 else [0] for number in range(N)]).astype(np.int32)
    box = np.array([[0.0, 0.0, 8.0, 8.0], [16.0, 0.0, 24.0, 8.0]])[label]
    objects = Objects(image, label, box, np.zeros(len(image), dtype=np.bool_))
    ids = tuple(f"{number:06}" for number in range(N))
    return GroundTruth("voc2007", "test", CLASSES, ids, np.full((N, 2), 32), derive_labels(N, 2, objects), objects)


Keep = Callable[..., StoredResult]


def compare(a: StoredResult, b: StoredResult, **how: bool) -> Comparison:
    """One result of each side."""
    return compare_sides([a], [b], **how)


@pytest.fixture
def keep(truth: GroundTruth, places: Places) -> Keep:
    """`keep("a", found, protocol=..., truth=..., iou_threshold=...)`: scored and recorded; found: (M,) objects."""

    def record(
        name: str,
        found: Any,
        *,
        protocol: str = "voc07-corloc",
        on: GroundTruth = truth,
        seed: int | None = None,
        **switches: Any,
    ) -> StoredResult:
        bound = registry.bind(registry.protocol(protocol).with_conventions(switches))
        evaluation = score(bound, on, {"boxes": boxes(on, np.asarray(found, dtype=np.bool_))})
        store = Store(places)
        result = make_result(bound, on, evaluation, method=name, predictions=f"{name}{seed}", seed=seed)
        return StoredResult(
            store.record(result, evaluation.outcomes, evaluation.replicates), store.result_path(result.address)
        )

    return record


def boxes(truth: GroundTruth, found: np.ndarray) -> ResolvedPredictions:
    """A box for each object: on it where it is found, else far away; scores fall."""
    o = truth.objects
    corners = np.where(found[:, None], o.box, o.box + 100.0).T
    columns = {"score": np.linspace(1, 0.5, len(o)), **dict(zip(("x1", "y1", "x2", "y2"), corners, strict=True))}
    return ResolvedPredictions("boxes", o.image, o.label, columns, np.ones(len(truth.ids), dtype=np.bool_), {})


def some(share: float, seed: int, truth: GroundTruth) -> np.ndarray:
    return np.random.default_rng(seed).random(len(truth.objects)) < share


def by_hand(truth: GroundTruth, a: np.ndarray, b: np.ndarray) -> tuple[list[float], list[list[float]]]:
    """CorLoc of a minus that of b, and the same by class, in every replicate: counted image by image."""
    drawn, o = np.concatenate(list(draw_weights(N, 1000, 0))), truth.objects
    by_class = []
    for weights in drawn.tolist():
        shares = []
        for label in (0, 1):
            rows = [row for row in range(len(o)) if o.label[row] == label]
            shown = sum(weights[o.image[row]] for row in rows)
            hits = [sum(weights[o.image[row]] for row in rows if found[row]) for found in (a, b)]
            shares.append((hits[0] - hits[1]) / shown)
        by_class.append(shares)
    return [sum(shares) / 2 for shares in by_class], by_class


def test_differences_are_of_pairs_and_intervals_and_p_values_as_defined(truth: GroundTruth, keep: Keep) -> None:
    a, b = some(0.7, 1, truth), some(0.5, 2, truth)
    found = compare(keep("a", a), keep("b", b), per_class=True)
    overall, by_class = by_hand(truth, a, b)
    lines = [found.metrics["CorLoc"], *(found.per_class["CorLoc"][name] for name in CLASSES)]
    for line, drawn in zip(lines, [overall, *zip(*by_class, strict=True)], strict=True):
        assert line.difference == pytest.approx((line.a or 0) - (line.b or 0))
        by = (line.difference or 0) - sum(drawn) / 1000
        moved = sorted(value + by if abs(value) > 1e-12 else 0.0 for value in drawn)
        assert line.interval == (pytest.approx(moved[25], abs=0.01), pytest.approx(moved[974], abs=0.01))
        tail = min(sum(value <= 1e-12 for value in moved), sum(value >= -1e-12 for value in moved))
        assert line.p == pytest.approx(min(1.0, 2 * (tail + 1) / 1001))


def test_a_result_does_not_differ_from_itself(truth: GroundTruth, keep: Keep) -> None:
    one = keep("a", some(0.6, 1, truth))
    found = compare(one, one, per_class=True)
    for line in [*found.metrics.values(), *found.per_class["CorLoc"].values()]:
        assert (line.difference, line.interval, line.p) == (0.0, (0.0, 0.0), 1.0)


@pytest.mark.parametrize("protocol", ["voc07-corloc", "voc07-det"])
def test_the_other_way_round_everything_is_negated(protocol: str, truth: GroundTruth, keep: Keep) -> None:
    a, b = keep("a", some(0.7, 1, truth), protocol=protocol), keep("b", some(0.5, 2, truth), protocol=protocol)
    there, back = compare(a, b, per_class=True), compare(b, a, per_class=True)
    for metric, line in there.metrics.items():
        assert_negated(line, back.metrics[metric])
        for name in CLASSES:
            assert_negated(there.per_class[metric][name], back.per_class[metric][name])


def assert_negated(line: Any, back: Any) -> None:
    assert back.difference == pytest.approx(-line.difference)
    assert back.interval == pytest.approx((-line.interval[1], -line.interval[0]))
    assert back.p == line.p


def test_by_class_and_overall_come_from_the_same_draws(truth: GroundTruth, keep: Keep) -> None:
    found = compare(keep("a", some(0.7, 1, truth)), keep("b", np.ones(len(truth.objects))), per_class=True)
    wide = [line.interval[1] - line.interval[0] for line in found.per_class["CorLoc"].values() if line.interval]
    low, high = found.metrics["CorLoc"].interval or (0, 0)
    assert 0 < high - low < sum(wide) / 2


def test_a_clear_improvement_is_significant_and_a_coin_toss_is_not(truth: GroundTruth, keep: Keep) -> None:
    clear = compare(keep("a", some(0.9, 1, truth)), keep("b", some(0.4, 2, truth))).metrics["CorLoc"]
    assert (clear.p or 1) < 0.05
    assert (clear.interval or (0, 0))[0] > 0
    even = compare(keep("c", some(0.5, 3, truth)), keep("d", some(0.5, 4, truth))).metrics["CorLoc"]
    assert (even.p or 0) > 0.05


def test_pairs_see_what_two_intervals_hide(truth: GroundTruth, keep: Keep) -> None:
    # b finds what a finds but for every tenth object: alone each is known to ten points, their difference to four.
    a = some(0.6, 1, truth)
    b = a & (np.arange(len(a)) % 10 > 0)
    one, other = keep("a", a), keep("b", b)
    assert one.result.intervals["CorLoc"][0] < other.result.intervals["CorLoc"][1]
    assert (compare(one, other).metrics["CorLoc"].p or 1) < 0.05


def annotated_otherwise(truth: GroundTruth) -> GroundTruth:
    return replace(truth, objects=replace(truth.objects, box=truth.objects.box + 0.5))


def half(truth: GroundTruth) -> GroundTruth:
    return truth.subset(truth.ids[::2], split="test_half")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"iou_threshold": 0.75}, "other conventions: iou_threshold 0.75, not 0.5"),
        ({"on": half}, "other images: test_half, 30 images, not test, 60 images"),
        ({"on": annotated_otherwise}, "the same images with other annotations"),
        ({"protocol": "voc12-corloc"}, "protocol voc12-corloc, not voc07-corloc"),
    ],
)
def test_results_judged_differently_are_refused_or_marked(
    how: dict[str, Any], says: str, truth: GroundTruth, keep: Keep
) -> None:
    on = how.get("on", lambda same: same)(truth)
    one = keep("one", some(0.7, 1, truth))
    other = keep("other", some(0.7, 1, on), **{**how, "on": on})
    with pytest.raises(RequestError, match=r"other .* was not evaluated like one .*--anyway") as refused:
        compare(one, other)
    assert says in str(refused.value)
    found = compare(one, other, anyway=True)
    assert found.unlike == (says,)
    assert f"Different protocol: {says}." in make_tables(found)[0].remarks
    assert found.paired == ("on" not in how)


def test_without_pairs_the_draws_are_independent(truth: GroundTruth, keep: Keep) -> None:
    found = some(0.6, 1, truth)
    one, other = keep("one", found), keep("other", found, on=annotated_otherwise(truth))
    line = compare(one, other, anyway=True).metrics["CorLoc"]
    low, high = one.result.intervals["CorLoc"]
    assert (line.difference, line.p) == (0.0, 1.0)
    assert (line.interval or (0, 0))[1] == pytest.approx((high - low) / 2 * 2**0.5, rel=0.15)


def test_without_replicates_outcomes_or_a_common_metric_it_says_what_is_missing(truth: GroundTruth, keep: Keep) -> None:
    one, other = keep("one", some(0.6, 1, truth)), keep("other", some(0.6, 2, truth))
    detected = keep("detected", some(0.6, 1, truth), protocol="voc07-det")
    with pytest.raises(RequestError, match="have no metric in common"):
        compare(one, detected, anyway=True)
    one.record.with_suffix(".parquet").unlink()
    assert compare(one, other).metrics
    with pytest.raises(RequestError, match=r"has no outcomes beside it \(large ones stay in the runs folder\)"):
        compare(one, other, per_class=True)
    replicates_path(one.record).unlink()
    with pytest.raises(RequestError, match="no bootstrap replicates beside it: score the predictions again"):
        compare(one, other)
    replicates_path(one.record).write_bytes(b"PAR1")
    with pytest.raises(BadFileError, match="not a file of bootstrap replicates"):
        compare(one, other)


def test_replicates_of_other_draws_are_no_pairs(truth: GroundTruth, keep: Keep) -> None:
    one, other = keep("one", some(0.6, 1, truth)), keep("other", some(0.6, 2, truth))
    table = pq.read_table(replicates_path(one.record)).replace_schema_metadata({"draws": "other"})
    pq.write_table(table, replicates_path(one.record))
    with pytest.raises(RequestError, match="are of different bootstrap draws: score one of them again"):
        compare(one, other)


def test_replicates_that_lack_a_metric_are_named(truth: GroundTruth, keep: Keep) -> None:
    one, other = keep("one", some(0.6, 1, truth)), keep("other", some(0.6, 2, truth))
    table = pq.read_table(replicates_path(one.record))
    renamed = table.rename_columns([f"other {name}" for name in table.column_names])
    pq.write_table(renamed.replace_schema_metadata(table.schema.metadata), replicates_path(one.record))
    with pytest.raises(BadFileError, match=r"\.json: no replicates of CorLoc"):
        compare(one, other)


@pytest.mark.parametrize("spoil", ["column", "classes", "names", "number", "truncated", "switch"])
def test_outcomes_that_do_not_give_the_recorded_numbers_are_refused(
    spoil: str, truth: GroundTruth, keep: Keep, tmp_path: Path
) -> None:
    one = keep("one", some(0.6, 1, truth), protocol="voc07-det")
    path = one.record.with_suffix(".parquet")
    outcomes = pq.read_table(path)
    if spoil == "column":
        pq.write_table(outcomes.drop_columns("missed"), path)
    elif spoil == "classes":
        pq.write_table(outcomes.replace_schema_metadata(None), path)
    elif spoil == "names":
        pq.write_table(outcomes.replace_schema_metadata({b"classes": b'["cat", "mouse"]'}), path)
    elif spoil == "truncated":
        path.write_bytes(path.read_bytes()[:100])
    elif spoil == "switch":
        one = StoredResult(one.result.model_copy(update={"conventions": {"renamed_since": True}}), one.record)
    else:
        moved = one.result.model_copy(update={"per_class": {"mAP_area": {"cat": 0.5, "dog": 0.5}}})
        write_result(one.record, moved)
        one = StoredResult(moved, one.record)
    if spoil in ("column", "classes", "names", "truncated"):
        with pytest.raises(BadFileError, match="not the outcomes that the record was made with"):
            compare(one, one, per_class=True)
        one = StoredResult(one.result.model_copy(update={"outcomes_digest": file_digest(path)}), one.record)
    is_file = spoil not in ("classes", "truncated")
    rule = (
        "outcomes of another version of the scoring: score the predictions again"
        if is_file
        else "not a file of outcomes"
    )
    with pytest.raises(BadFileError, match=rule):
        compare(one, one, per_class=True)


def test_a_metric_over_images_has_no_classes(truth: GroundTruth, keep: Keep) -> None:
    one = keep("one", some(0.6, 1, truth), mean_over="images")
    with pytest.raises(RequestError, match="have no metric by class in common"):
        compare(one, one, per_class=True)


def test_what_is_undefined_has_no_difference(truth: GroundTruth, keep: Keep) -> None:
    nothing = truth.objects.where(np.zeros(len(truth.objects), dtype=np.bool_))
    empty = replace(truth, objects=nothing, labels=derive_labels(N, 2, nothing))
    one = keep("one", [], on=empty)
    line = compare(one, one).metrics["CorLoc"]
    assert (line.a, line.difference, line.interval, line.p) == (None, None, None, None)


@pytest.fixture
def found(truth: GroundTruth, keep: Keep) -> Comparison:
    a, b = np.ones(len(truth.objects)), np.arange(len(truth.objects)) % 2
    return compare(keep("all", a), keep("half", b), per_class=True)


def test_people_read_per_cent_with_signs(found: Comparison) -> None:
    overall, by_class = (FORMATS["text"](table) for table in make_tables(found))
    assert overall.startswith("voc07-corloc on voc2007 test, 60 images, per cent\n")
    assert "100.0  66.7    +33.3" in overall
    assert f"A: all (result {found.a[0].address})\nB: half (result {found.b[0].address})" in overall
    assert [line.split()[0] for line in by_class.splitlines()[4:]] == ["cat", "dog"]


def test_csv_has_the_ends_of_the_interval_in_full(found: Comparison) -> None:
    head, row = FORMATS["csv"](make_tables(found)[0]).splitlines()
    line = found.metrics["CorLoc"]
    values = dict(zip(head.split(","), row.split(","), strict=True))
    assert (float(values["low"]), float(values["high"])) == line.interval
    assert float(values["A - B"]) == line.difference


def test_where_lower_is_better_it_says_so(found: Comparison) -> None:
    lower = found.a[0].model_copy(update={"higher_is_better": {"CorLoc": False}})
    assert "Lower is better: CorLoc." in make_tables(replace(found, a=(lower,)))[0].remarks
    assert describe_verdict(replace(found, a=(lower,))).startswith("all is worse than half by 33.3 points of CorLoc")


def test_a_sentence_says_who_is_better_or_that_nothing_is_shown(
    found: Comparison, truth: GroundTruth, keep: Keep
) -> None:
    assert describe_verdict(found) == "all is better than half by 33.3 points of CorLoc (p = 0.002)"
    even = compare(keep("c", some(0.5, 3, truth)), keep("d", some(0.5, 4, truth)))
    assert describe_verdict(even).startswith("no difference between c and d is shown in CorLoc (p = 0.")
    assert describe_verdict(replace(found, b=found.a)).startswith("A is better than B")
    assert describe_verdict(replace(found, unlike=("other images",))).startswith("no verdict")


def test_several_seeds_are_compared_by_their_means(truth: GroundTruth, keep: Keep) -> None:
    shares = {"a": (0.7, 0.8, 0.6), "b": (0.5, 0.4, 0.6)}
    a, b = (
        [keep(name, some(share, number, truth), seed=number) for number, share in enumerate(of)]
        for name, of in shares.items()
    )
    line, single = compare_sides(a, b).metrics["CorLoc"], compare_sides(a[:1], b[:1]).metrics["CorLoc"]
    means = [np.mean([one.result.metrics["CorLoc"] for one in side]) for side in (a, b)]
    assert (line.a, line.b) == pytest.approx(means)
    assert line.difference == pytest.approx(means[0] - means[1])
    width, one = (found.interval[1] - found.interval[0] for found in (line, single) if found.interval)
    assert width > one, "these seeds differ more than images do"
    by_class = compare_sides(a, b, per_class=True).per_class["CorLoc"]["cat"].a
    assert by_class == pytest.approx(np.mean([one.result.per_class["CorLoc"]["cat"] for one in a]))
