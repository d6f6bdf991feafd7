"""Scoring as a whole, with a family of three lines: what is refused, said, counted, and recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest

from bench.core.bootstrap import count_by_class, ratio
from bench.data.ground_truth import GroundTruth, Objects, derive_labels
from bench.errors import RequestError
from bench.predictions.table import About, Predictions, ResolvedPredictions, resolve
from bench.scoring.protocol import BoundProtocol, Conventions, FamilyScore, Record
from bench.scoring.score import Evaluation, make_result, score


class Switches(Conventions):
    """One switch: whether a score of exactly one half is enough."""

    compare: Literal[">", ">="]


def judge_rows(truth: GroundTruth, predictions: Mapping[str, ResolvedPredictions], conventions: Any) -> FamilyScore:
    """A row hits when its score is over one half."""
    found = predictions["boxes"]
    hit = found.score >= 0.5 if conventions.compare == ">=" else found.score > 0.5
    return FamilyScore(
        pa.table({"image": found.image, "label": found.label, "hit": hit}), {"rows": len(hit)}, ("a note",)
    )


def summarise(outcomes: pa.Table, classes: Any, conventions: Any, weights: Any) -> dict[str, Any]:
    """The share of hits, by class and over all rows."""
    image, label, hit = (outcomes[name].to_numpy() for name in ("image", "label", "hit"))
    hits, rows = count_by_class(weights, image, label, 2, hit), count_by_class(weights, image, label, 2)
    return {"by_class": ratio(hits, rows), "overall": ratio(hits.sum(axis=1), rows.sum(axis=1)), "unasked": hits}


FAMILY: Any = SimpleNamespace(
    VERSION=3,
    METRICS={"by_class": True, "overall": False, "unasked": True},
    Conventions=Switches,
    score=judge_rows,
    summarise=summarise,
)


def protocol(**changes: Any) -> BoundProtocol:
    fields: dict[str, Any] = {
        "name": "toy-share",
        "summary": "shares",
        "family": "shares",
        "dataset": "toy",
        "train_split": "train",
        "eval_split": "test",
        "predicts": ("boxes", "maps"),
        "metrics": ("overall", "by_class"),
        "conventions": {"compare": ">"},
    }
    return BoundProtocol(Record(**{**fields, **changes}), FAMILY)


@pytest.fixture
def truth() -> GroundTruth:
    none = Objects(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros((0, 4)), np.zeros(0, np.bool_))
    size = np.full((8, 2), 10, dtype=np.int32)
    return GroundTruth("toy", "test", ("cat", "dog"), tuple("abcdefgh"), size, derive_labels(8, 2, none), none)


def found(
    truth: GroundTruth, rows: list[tuple[str, float]], *, ids: Any = None, split: str = "test"
) -> dict[str, ResolvedPredictions]:
    """Boxes of cats, the last one inverted."""
    columns: dict[str, Any] = {"image": [image for image, _ in rows], "label": ["cat"] * len(rows)}
    columns |= {"score": [value for _, value in rows], "x1": [1.0] * len(rows), "y1": [1.0] * len(rows)}
    columns |= {"x2": ([3.0] * len(rows))[1:] + [0.0] * bool(rows), "y2": [3.0] * len(rows)}
    types = pa.schema([(name, pa.string() if name in ("image", "label") else pa.float64()) for name in columns])
    about = About("me", "toy", split, truth.ids if ids is None else ids)
    return {"boxes": resolve(Predictions("boxes", pa.table(columns, types), about, "p.parquet"), truth)}


ROWS = [("a", 0.9), ("b", 0.5), ("c", 0.2), ("d", 0.7)]


def test_metrics_come_in_the_protocols_order_with_their_direction(truth: GroundTruth) -> None:
    evaluation = score(protocol(), truth, found(truth, ROWS), replicates=0)
    assert list(evaluation.metrics.items()) == [("overall", 0.5), ("by_class", 0.5)]
    assert evaluation.higher_is_better == {"overall": False, "by_class": True}
    assert evaluation.intervals == {}


def test_an_undefined_class_is_left_out_and_named(truth: GroundTruth) -> None:
    evaluation = score(protocol(), truth, found(truth, ROWS), replicates=0)
    assert evaluation.per_class == {"by_class": {"cat": 0.5, "dog": None}}
    assert evaluation.undefined == {"by_class": ("dog",)}


def test_odd_boxes_are_counted_and_said(truth: GroundTruth) -> None:
    evaluation = score(protocol(), truth, found(truth, ROWS), replicates=0)
    assert evaluation.counts == {"images": 8, "inverted_boxes": 1, "rows": 4}
    assert evaluation.notes == ("1 inverted box, kept", "a note")


def test_classes_of_few_images_are_said_where_there_are_intervals(truth: GroundTruth) -> None:
    rare = replace(truth, labels=np.repeat([[1, 1], [1, -1]], [4, 4], axis=0).astype(np.int8))
    note = "1 class has fewer than 5 images: intervals are too narrow"
    assert score(protocol(), rare, found(rare, ROWS), replicates=10).notes[-1] == note
    assert note not in score(protocol(), rare, found(rare, ROWS), replicates=0).notes
    assert note not in score(protocol(metrics=("overall",)), rare, found(rare, ROWS), replicates=10).notes


def test_missing_images_are_refused_by_name_and_number(truth: GroundTruth) -> None:
    with pytest.raises(
        RequestError, match=r"do not cover 6 of 8 images of toy test: c, d, e, f, g \.\.\.\. .*--allow-missing"
    ):
        score(protocol(), truth, found(truth, ROWS[:2], ids=("a", "b")))


def test_missing_images_may_be_allowed_and_are_counted_and_said(truth: GroundTruth) -> None:
    evaluation = score(protocol(), truth, found(truth, ROWS[:2], ids=("a", "b")), allow_missing=True, replicates=0)
    assert evaluation.counts["missing_images"] == 6
    assert "do not cover 6 of 8 images of toy test: c, d, e, f, g ...; they count as unanswered" in evaluation.notes[0]


def test_predictions_of_another_split_are_said_to_be(truth: GroundTruth) -> None:
    evaluation = score(protocol(), truth, found(truth, ROWS, split="test_subset"), replicates=0)
    assert evaluation.notes[0] == "made for the split test_subset, scored on test"


def test_predictions_of_no_accepted_kind_are_refused(truth: GroundTruth) -> None:
    with pytest.raises(RequestError, match="toy-share takes boxes or maps, but got scores"):
        score(protocol(), truth, {"scores": found(truth, ROWS)["boxes"]})
    with pytest.raises(RequestError, match="but got nothing"):
        score(protocol(), truth, {})


def test_intervals_enclose_and_repeat_with_the_seed(truth: GroundTruth) -> None:
    rows = [(image, position / 8) for position, image in enumerate("abcdefgh", start=1)]
    one, same, other = (score(protocol(), truth, found(truth, rows), replicates=30, seed=s) for s in (1, 1, 2))
    low, high = one.intervals["overall"]
    assert 0 <= low < 0.5 < high <= 1
    assert one.intervals == same.intervals != other.intervals


def test_an_empty_split_has_no_numbers(truth: GroundTruth) -> None:
    evaluation = score(protocol(), truth.subset((), split="none"), found(truth.subset((), split="none"), []))
    assert evaluation.metrics == {"overall": None, "by_class": None}
    assert evaluation.intervals == {}


def recorded(truth: GroundTruth, bound: BoundProtocol, **who: Any) -> Any:
    evaluation: Evaluation = score(bound, truth, found(truth, ROWS), replicates=10)
    return make_result(bound, truth, evaluation, **{"method": "me", "predictions": "p1", **who})


def test_the_record_holds_what_was_found_and_who_predicted(truth: GroundTruth) -> None:
    result = recorded(truth, protocol(), seed=3, variant="v")
    assert (result.protocol, result.dataset, result.split, result.images) == ("toy-share", "toy", "test", 8)
    assert (result.label, result.seed, result.metrics["overall"], result.partial) == ("me:v", 3, 0.5, False)
    assert result.undefined == {"by_class": ("dog",)}
    assert result.truth_digest == truth.digest


def test_a_protocol_that_is_tuned_on_what_it_judges_says_so_whoever_predicted(truth: GroundTruth) -> None:
    assert recorded(truth, protocol(tuned_on="test-oracle"), tuned_on="unknown").tuned_on == "test-oracle"
    assert recorded(truth, protocol(), tuned_on="unknown").tuned_on == "unknown"


def test_another_split_than_the_protocols_is_partial(truth: GroundTruth) -> None:
    assert recorded(truth, protocol(eval_split="val")).partial


def test_a_moved_switch_moves_digest_and_address_and_the_same_scoring_does_not(truth: GroundTruth) -> None:
    before, again = recorded(truth, protocol()), recorded(truth, protocol())
    moved = recorded(truth, protocol(conventions={"compare": ">="}))
    assert (before.address, before.digest) == (again.address, again.digest)
    assert before.address != moved.address
    assert before.digest != moved.digest
    assert moved.metrics["overall"] == 0.75
    assert recorded(truth, protocol(), predictions="p2").address != before.address


def test_every_class_with_a_number_has_an_interval_of_the_same_draws(truth: GroundTruth) -> None:
    rows = [(image, position / 8) for position, image in enumerate("abcdefgh", start=1)]
    evaluation = score(protocol(), truth, found(truth, rows), replicates=30)
    assert evaluation.class_intervals == {
        "by_class": {"cat": evaluation.intervals["by_class"]}
    }  # the only class that has one
    assert score(protocol(), truth, found(truth, rows), replicates=0).class_intervals == {}
