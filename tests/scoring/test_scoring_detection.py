"""Detection against a slow reference in exact fractions, hand-computed examples, and what must not move it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scoring_cases import CLASSES, bound, cases, judge, overlap, predicted, repeated, truth_of

from bench.data.ground_truth import GroundTruth
from bench.scoring.average_precision import average_precision
from bench.scoring.protocol import dump_conventions
from protocols.scoring.detection import RECALLS, round_as_printed


def slow_verdicts(truth: GroundTruth, rows: list[Any], label: str, how: dict[str, Any]) -> tuple[list[bool], int]:
    """True or false for each counted detection of a class, best first, and the number of objects to find."""
    o, column = truth.objects, truth.class_index[label]
    objects = [
        {"image": truth.ids[o.image[i]], "box": o.box[i], "difficult": bool(o.difficult[i]), "found": False}
        for i in range(len(o))
        if o.label[i] == column and not (o.difficult[i] and how["difficult"] == "remove")
    ]
    ignorable = how["difficult"] == "ignore"
    verdicts = []
    mine = [row for row in rows if row[1] == label]
    for image, _, _, *box in sorted(mine, key=lambda row: (-row[2], row[0])):
        best, chosen = Fraction(0), None
        for candidate in objects:
            value = overlap(box, candidate["box"], how["plus_one"])
            if candidate["image"] == image and value > best:
                best, chosen = value, candidate
        half = Fraction(1, 2)
        if chosen is None or not (best >= half if how["iou_compare"] == ">=" else best > half):
            verdicts.append(False)
        elif not (ignorable and chosen["difficult"]):
            verdicts.append(not chosen["found"])
            chosen["found"] = True
    return verdicts, sum(not (ignorable and each["difficult"]) for each in objects)


def slow_average_precision(verdicts: list[bool], positives: int) -> tuple[Fraction, Fraction] | None:
    """Both forms from their definitions: eleven points, and the area under the envelope."""
    if positives == 0:
        return None
    curve = [(sum(verdicts[: n + 1]), Fraction(sum(verdicts[: n + 1]), n + 1)) for n in range(len(verdicts))]
    eleven = sum(
        (max((p for found, p in curve if Fraction(found, positives) >= Fraction(k, 10)), default=Fraction(0)))
        for k in range(11)
    )
    area = sum(max((p for found, p in curve if found >= n), default=Fraction(0)) for n in range(1, positives + 1))
    return Fraction(eleven) / 11, Fraction(area) / positives


SWITCHES = st.fixed_dictionaries(
    {
        "iou_compare": st.sampled_from([">=", ">"]),
        "difficult": st.sampled_from(["ignore", "count", "remove"]),
        "plus_one": st.booleans(),
    }
)


@given(cases(), SWITCHES)
def test_equals_a_slow_reference_under_every_switch(case: Any, how: dict[str, Any]) -> None:
    truth, rows = case
    evaluation = judge(bound("voc07-det", **how), truth, predicted(truth, "boxes", rows))
    for label in CLASSES:
        expected = slow_average_precision(*slow_verdicts(truth, rows, label, how))
        found = (evaluation.per_class["mAP_11pt"][label], evaluation.per_class["mAP_area"][label])
        assert found == ((None, None) if expected is None else pytest.approx([float(e) for e in expected], abs=1e-12))


def test_two_of_three_objects_found_with_a_mistake_between() -> None:
    # true, false, true of 3 objects: precision 1 at recall 1/3, 2/3 at recall 2/3.
    # Area: 1/3 * 1 + 1/3 * 2/3 = 5/9. Eleven points: recall .0 .1 .2 .3 at 1, .4 .5 .6 at 2/3: (4 + 2) / 11.
    truth = truth_of([(image, "cat", (0, 0, 4, 4), False) for image in "abc"])
    rows = [("a", "cat", 0.9, 0, 0, 4, 4), ("b", "cat", 0.8, 6, 6, 9, 9), ("c", "cat", 0.7, 0, 0, 4, 4)]
    evaluation = judge(bound("voc07-det"), truth, predicted(truth, "boxes", rows))
    assert evaluation.metrics == {"mAP_11pt": pytest.approx(6 / 11), "mAP_area": pytest.approx(5 / 9)}
    assert evaluation.undefined == {"mAP_11pt": ("dog", "eel"), "mAP_area": ("dog", "eel")}


def test_recall_of_exactly_three_tenths_is_reached() -> None:
    # 3 of 10 objects found without a mistake: recall .0 .1 .2 .3 at precision 1: 4 / 11. A float .3 would miss one.
    corners = [(x, y, x + 1, y + 1) for x in range(5) for y in range(2)]
    truth = truth_of([("a", "cat", corner, False) for corner in corners])
    rows = [("a", "cat", 1 - n / 10, *corner) for n, corner in enumerate(corners[:3])]
    assert judge(bound("voc07-det"), truth, predicted(truth, "boxes", rows)).metrics["mAP_11pt"] == 4 / 11


@pytest.mark.parametrize(("compare", "expected"), [(">=", 1.0), (">", 0.0)])
def test_an_overlap_of_exactly_one_half_is_a_matter_of_the_switch(compare: str, expected: float) -> None:
    truth = truth_of([("a", "cat", (0, 0, 4, 4), False)])
    found = predicted(truth, "boxes", [("a", "cat", 0.5, 0, 0, 4, 2)])
    assert judge(bound("voc07-det", iou_compare=compare), truth, found).metrics["mAP_area"] == expected


def test_a_detection_whose_best_object_is_taken_is_false_even_if_another_would_do() -> None:
    # Both detections overlap the first object most; the second object (IoU .6) is never asked for.
    truth = truth_of([("a", "cat", (0, 0, 10, 4), False), ("a", "cat", (0, 1, 10, 5), False)])
    rows = [("a", "cat", 0.9, 0, 0, 10, 4), ("a", "cat", 0.8, 0, 0, 10, 4)]
    evaluation = judge(bound("voc07-det"), truth, predicted(truth, "boxes", rows))
    assert (evaluation.counts["true_positives"], evaluation.counts["duplicates"]) == (1, 1)


def test_a_detection_of_a_difficult_object_is_neither_true_nor_false() -> None:
    truth = truth_of([("a", "cat", (0, 0, 4, 4), True), ("b", "cat", (0, 0, 4, 4), False)])
    rows = [("a", "cat", 0.9, 0, 0, 4, 4), ("b", "cat", 0.8, 0, 0, 4, 4)]
    evaluation = judge(bound("voc07-det"), truth, predicted(truth, "boxes", rows))
    assert evaluation.metrics["mAP_area"] == 1.0
    assert (evaluation.counts["ignored"], evaluation.counts["true_positives"], evaluation.counts["objects"]) == (
        1,
        1,
        1,
    )


def test_inverted_and_outside_boxes_are_counted_and_false() -> None:
    truth = truth_of([("a", "cat", (0, 0, 4, 4), False)])
    rows = [("a", "cat", 0.9, 4, 4, 0, 0), ("a", "cat", 0.8, -5, 0, 4, 1e308), ("a", "cat", 0.7, 0, 0, 4, 4)]
    evaluation = judge(bound("voc07-det"), truth, predicted(truth, "boxes", rows))
    assert evaluation.metrics["mAP_area"] == pytest.approx(1 / 3)
    assert (evaluation.counts["inverted_boxes"], evaluation.counts["boxes_outside_image"]) == (1, 1)


def test_no_detections_at_all_score_zero() -> None:
    truth = truth_of([("a", "cat", (0, 0, 4, 4), False)])
    assert judge(bound("voc07-det"), truth, predicted(truth, "boxes", [])).metrics == {"mAP_11pt": 0, "mAP_area": 0}


def test_without_any_object_nothing_is_defined() -> None:
    truth = truth_of([])
    found = predicted(truth, "boxes", [("a", "cat", 0.9, 0, 0, 4, 4)])
    evaluation = judge(bound("voc07-det"), truth, found, replicates=5)
    assert evaluation.metrics == {"mAP_11pt": None, "mAP_area": None}
    assert evaluation.intervals == {}


def test_devkit_rounding_makes_ties_of_close_scores() -> None:
    # .7004 (false, image b) and .7001 (true, image a) both become .700, and the tie goes to image a.
    truth = truth_of([("a", "cat", (0, 0, 4, 4), False)])
    found = predicted(truth, "boxes", [("b", "cat", 0.7004, 0, 0, 4, 4), ("a", "cat", 0.7001, 0, 0, 4, 4)])
    assert judge(bound("voc07-det"), truth, found).metrics["mAP_area"] == 0.5
    assert judge(bound("voc07-det", rounding="devkit"), truth, found).metrics["mAP_area"] == 1.0


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)), st.sampled_from([1, 3]))
def test_rounded_numbers_are_those_that_are_printed(drawn: list[float], places: int) -> None:
    values = np.array([*drawn, 1.7e308, -1.7e308, *np.arange(-3000, 3000) / 10 ** (places + 1)])
    assert round_as_printed(values, places).tolist() == [float(f"{value:.{places}f}") for value in values]


def test_devkit_rounding_is_of_corners_as_the_files_count_them() -> None:
    # 0.35 is under its half and 1.35, from 1 on, over it: 1.4 in the file; a corner of 1e308 is no trouble.
    truth = truth_of([("a", "cat", (0, 0, 4, 4), False)])
    rows = [("a", "cat", 0.0025, 0.35, 0, 4, 4), ("b", "cat", 0.0031, 0, 0, 1e308, 4)]
    protocol = bound("voc07-det", rounding="devkit", iou_threshold=0.905)
    found = protocol.family.score(truth, predicted(truth, "boxes", rows), protocol.conventions).outcomes
    assert found["score"].to_pylist()[:2] == [0.003, 0.003]
    assert not any(found["hit"].to_pylist())  # 3.6 of 4; 0.3 or 0.35 would do


def test_unstable_ties_equal_stable_ones_where_no_scores_are_equal() -> None:
    truth = truth_of([("a", "cat", (0, 0, 4, 4), False)])
    found = predicted(truth, "boxes", [("b", "cat", 0.3, 0, 0, 4, 4), ("a", "cat", 0.2, 0, 0, 4, 4)])
    assert judge(bound("voc07-det", ties="argsort"), truth, found).metrics["mAP_area"] == 0.5


@given(cases(distinct=True), st.lists(st.integers(0, 3), min_size=4, max_size=4).filter(any))
def test_a_replicate_equals_scoring_a_split_that_holds_its_images_as_often(case: Any, times: list[int]) -> None:
    truth, rows = case
    protocol = bound("voc07-det")
    scored = protocol.family.score(truth, predicted(truth, "boxes", rows), protocol.conventions)
    weights = np.array([times], dtype=np.float64)
    drawn = protocol.family.summarise(scored.outcomes, truth.classes, protocol.conventions, weights)
    larger, names = repeated(truth, times)
    copies = [(new, *row[1:]) for old, new in names for row in rows if row[0] == old]
    expected = judge(protocol, larger, predicted(larger, "boxes", copies)).per_class
    for metric, values in drawn.items():
        found = [None if np.isnan(value) else pytest.approx(value) for value in values[0]]
        assert list(expected[metric].values()) == found


def test_shares_of_the_image_and_classes_that_nobody_shows_are_noted() -> None:
    truth = truth_of([("a", "cat", (0, 0, 5, 5), False), ("b", "dog", (0, 0, 6, 4), False)])
    shares = predicted(truth, "boxes", [("a", "cat", 0.9, 0.1, 0.2, 0.8, 0.9), ("a", "eel", 0.5, 0, 0, 1, 1)])
    notes = "\n".join(judge(bound("voc07-det"), truth, shares).notes)
    assert "are these shares of the image?" in notes
    assert "1 prediction of 1 class that no image shows count nowhere: mAP_11pt is over 2 of 3 classes" in notes


def test_objects_beyond_their_image_are_noted_where_boxes_count() -> None:
    truth = truth_of([("a", "cat", (-5, 0, 50, 50), False), ("b", "dog", (0, 0, 6000, 40), False)])
    boxes = predicted(truth, "boxes", [("a", "cat", 0.9, 0, 0, 50, 50)])
    notes = judge(bound("voc07-det"), truth, boxes).notes
    assert any("2 objects of " in note and "beyond the edge" in note for note in notes)


def test_recalls_of_voc_eval_leave_out_what_floats_are_above() -> None:
    """Ten objects, six found and none false: voc_eval's step at .6 is a little more, and reads 0."""
    ids = tuple("abcdefghij")
    truth = truth_of([(image, "cat", (0, 0, 5, 5), False) for image in ids], ids=ids)
    found = predicted(truth, "boxes", [(image, "cat", 0.9, 0, 0, 5, 5) for image in ids[:6]])
    for recalls, value in (("exact", 7 / 11), ("voc_eval", 6 / 11)):
        metrics = judge(bound("voc07-det", recalls=recalls), truth, found).per_class["mAP_11pt"]
        assert metrics["cat"] == pytest.approx(value)


@pytest.mark.parametrize("objects", [1, 3, 7, 10, 30, 97])
@pytest.mark.parametrize("recalls", ["exact", "voc_eval"])
def test_both_recalls_are_those_of_the_loop(objects: int, recalls: str) -> None:
    generator = np.random.default_rng(objects)
    hit = generator.random(3 * objects) < 0.3
    hit[np.flatnonzero(hit)[objects:]] = False
    true = np.cumsum(hit)
    precision = true / np.arange(1, len(hit) + 1)
    reached = [
        true * 10 >= k * objects if recalls == "exact" else true / objects >= step
        for k, step in enumerate(np.arange(0.0, 1.1, 0.1))
    ]
    expected = sum(precision[some].max() if some.any() else 0.0 for some in reached) / 11
    rows = np.zeros(len(hit), dtype=np.int64)
    found = average_precision(rows, hit, np.array([float(objects)]), np.ones((1, 1)), RECALLS[recalls])
    assert found.eleven_point[0] == pytest.approx(expected, abs=1e-12)


def test_a_switch_at_the_value_of_before_is_in_no_digest_and_no_record() -> None:
    usual, other = bound("voc07-det"), bound("voc07-det", recalls="voc_eval")
    assert "recalls" in usual.record.conventions
    assert "recalls" not in dump_conventions(usual.conventions)
    assert dump_conventions(other.conventions)["recalls"] == "voc_eval"
    assert usual.digest(CLASSES) != other.digest(CLASSES)
