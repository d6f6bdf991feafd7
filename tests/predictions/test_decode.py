"""Maps to points and boxes, proposal scores to boxes: hand-checked, and against torch, SciPy and a slow NMS."""

import itertools
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from bench.core.boxes import iou
from bench.errors import RunError
from bench.predictions.decode import compute_mask, compute_shares, detections, peak, peaks, points_and_boxes

RULES = ("largest-component", "largest-component-minmax", "all-foreground", "all-foreground-minmax")
COMPONENTS = ("every-component", "every-component-minmax", "mean-components", "mean-components-4")
WHOLE = [0, 0, 6, 4]
OPTIONS = {"nms_iou": 0.3, "score_threshold": 0.25, "max_detections": 6}


def boxes_of(map_, width, height, *, rule, threshold):
    return points_and_boxes(map_[None], width, height, rule=rule, threshold=threshold)[1][0]


def box_of(map_, width, height, *, rule, threshold):
    """The one box of a rule that gives one."""
    (box,) = boxes_of(np.asarray(map_), width, height, rule=rule, threshold=threshold)
    return box


def masked(maps, classes, width, height, **rule):
    return compute_mask(compute_shares(maps, classes, width, height, **rule), classes)


def square(*, height=20, width=30, **boxes):
    """A map of zeros with boxes (x1, y1, x2, y2) at a value each."""
    map_ = np.zeros((height, width), dtype=np.float32)
    for value, (x1, y1, x2, y2) in boxes.values():
        map_[y1:y2, x1:x2] = value
    return map_


def enlarged_by_torch(map_, width, height):
    small = torch.from_numpy(map_)[None, None]
    return torch.nn.functional.interpolate(small, size=(height, width), mode="bilinear")[0, 0].numpy()


def test_a_peak_is_a_pixel_x_then_y():
    assert peak(square(a=(1.0, (7, 3, 8, 4))), 30, 20) == (7, 3)


def test_a_map_is_enlarged_with_pixel_centres_at_half_integers():
    """Cell 2 of 4 covers the pixels 22 ... 32 of 44, whose middle one is 27 (with aligned corners: 29)."""
    assert peak(np.array([[0.0, 0.0, 1.0, 0.0]]), 44, 10) == (27, 0)


def test_the_first_maximum_in_row_major_order_wins():
    assert peak(square(a=(1.0, (9, 5, 10, 6)), b=(1.0, (2, 8, 3, 9))), 30, 20) == (9, 5)


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.floats(-4, 4, width=16)),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_a_peak_is_the_maximum_of_torchs_interpolation(map_, width, height):
    x, y = peak(map_, width, height)
    large = enlarged_by_torch(map_, width, height)
    assert large[y, x] == pytest.approx(large.max(), abs=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.1, -2.0])
def test_a_constant_map_peaks_at_the_origin_and_its_box_is_the_whole_image(value):
    map_ = np.full((3, 2), value)
    assert peak(map_, 6, 4) == (0, 0)
    for rule in (*RULES, *COMPONENTS, "mean"):
        assert box_of(map_, 6, 4, rule=rule, threshold=0.2).tolist() == WHOLE


def test_cells_that_touch_at_a_corner_are_one_component_unless_4_connected():
    map_ = square(a=(1.0, (0, 0, 10, 10)), b=(1.0, (10, 10, 20, 20)))
    assert len(boxes_of(map_, 30, 20, rule="mean-components", threshold=0)) == 1
    assert len(boxes_of(map_, 30, 20, rule="mean-components-4", threshold=0)) == 2


def test_a_map_of_one_cell_is_a_constant_map():
    assert box_of([[0.3]], 6, 4, rule="largest-component", threshold=0.2).tolist() == WHOLE


def test_without_a_positive_value_a_share_of_the_maximum_has_no_foreground_but_a_share_of_the_range_has():
    map_ = square(a=(1.0, (3, 2, 9, 5))) - 1
    assert box_of(map_, 30, 20, rule="largest-component", threshold=0.2).tolist() == [0, 0, 30, 20]
    assert box_of(map_, 30, 20, rule="largest-component-minmax", threshold=0.2).tolist() == [3, 2, 9, 5]


def test_the_two_readings_of_twenty_per_cent_differ_above_a_minimum_of_more_than_0():
    map_ = square(a=(1.0, (3, 2, 9, 5))) + 1
    assert box_of(map_, 30, 20, rule="largest-component", threshold=0.2).tolist() == [0, 0, 30, 20]
    assert box_of(map_, 30, 20, rule="largest-component-minmax", threshold=0.2).tolist() == [3, 2, 9, 5]


def test_foreground_is_strictly_above_the_threshold():
    map_ = square(a=(4.0, (3, 2, 9, 5)), b=(1.0, (9, 5, 20, 15)))
    assert box_of(map_, 30, 20, rule="all-foreground", threshold=0.25).tolist() == [3, 2, 9, 5]
    assert box_of(map_, 30, 20, rule="all-foreground", threshold=0.24).tolist() == [3, 2, 20, 15]


def test_the_largest_component_has_most_pixels_and_all_foreground_encloses_every_one():
    map_ = square(peak=(5.0, (1, 1, 3, 3)), body=(2.0, (10, 8, 14, 12)))
    assert box_of(map_, 30, 20, rule="largest-component", threshold=0.2).tolist() == [10, 8, 14, 12]
    assert box_of(map_, 30, 20, rule="all-foreground", threshold=0.2).tolist() == [1, 1, 14, 12]


def test_among_components_of_one_size_the_topmost_wins_then_the_leftmost():
    pair = square(a=(1.0, (20, 4, 24, 6)), b=(1.0, (2, 4, 6, 6)), c=(1.0, (10, 9, 14, 11)))
    assert box_of(pair, 30, 20, rule="largest-component", threshold=0.2).tolist() == [2, 4, 6, 6]


def test_pixels_that_touch_at_a_corner_are_one_component():
    map_ = square(a=(1.0, (3, 2, 5, 4)), b=(1.0, (5, 4, 7, 6)), c=(1.0, (12, 2, 15, 4)))
    assert box_of(map_, 30, 20, rule="largest-component", threshold=0.2).tolist() == [3, 2, 7, 6]


@settings(max_examples=40, deadline=None)
@given(arrays(np.float32, (6, 7), elements=st.sampled_from([0.0, 0.125, 0.5, 1.0])), st.sampled_from([0.0, 0.2, 0.6]))
def test_the_largest_component_is_scipys(map_, threshold):
    foreground = map_ > np.float32(threshold * float(map_.max()))
    names, count = ndimage.label(foreground, structure=np.ones((3, 3)))
    most = max((names == name).sum() for name in range(1, count + 1)) if count else 0
    expected = [
        (part[1].start, part[0].start, part[1].stop, part[0].stop)
        for name, part in enumerate(ndimage.find_objects(names), start=1)
        if (names == name).sum() == most
    ] or [(0, 0, 7, 6)]
    found = tuple(box_of(map_, 7, 6, rule="largest-component", threshold=threshold))
    assert found in expected
    assert found[1] == min(box[1] for box in expected)


def test_many_maps_are_decoded_as_one_by_one():
    maps = np.random.default_rng(0).normal(size=(5, 7, 4)).astype(np.float32)
    points, boxes = points_and_boxes(maps, 37, 21, rule="largest-component", threshold=0.2)
    assert points.tolist() == peaks(maps, 37, 21).tolist() == [list(peak(map_, 37, 21)) for map_ in maps]
    for map_, box in zip(maps, boxes, strict=True):
        assert boxes_of(map_, 37, 21, rule="largest-component", threshold=0.2).tolist() == box.tolist()


def test_no_maps_give_no_points_and_no_boxes():
    points, boxes = points_and_boxes(np.zeros((0, 3, 3)), 6, 4, rule="all-foreground", threshold=0.2)
    assert (points.shape, boxes) == ((0, 2), [])


@settings(max_examples=40, deadline=None)
@given(arrays(np.float32, (6, 7), elements=st.sampled_from([-0.5, 0.125, 0.5, 1.0])), st.sampled_from(COMPONENTS))
def test_every_component_is_scipys_the_largest_first(map_, rule):
    top, floor = map_.max(), map_.min() if rule.endswith("-minmax") else 0
    foreground = map_ >= map_.mean() if rule.startswith("mean-") else map_ > floor + 0.2 * (top - floor)
    names, _ = ndimage.label(foreground, structure=None if rule.endswith("-4") else np.ones((3, 3)))
    parts = [
        (-(names == name).sum(), part[0].start, part[1].start, part[1].stop, part[0].stop)
        for name, part in enumerate(ndimage.find_objects(names), start=1)
    ]
    expected = [[x1, y1, x2, y2] for _, y1, x1, x2, y2 in sorted(parts)] or [[0, 0, 7, 6]]
    assert boxes_of(map_, 7, 6, rule=rule, threshold=0.2).tolist() == expected


def test_the_first_of_every_component_is_the_largest():
    map_ = np.random.default_rng(3).normal(size=(7, 9)).astype(np.float32)
    for share in ("", "-minmax"):
        every = boxes_of(map_, 90, 70, rule=f"every-component{share}", threshold=0.5)
        assert len(every) > 1
        assert every[0].tolist() == box_of(map_, 90, 70, rule=f"largest-component{share}", threshold=0.5).tolist()


def test_the_mean_is_that_of_the_small_map_whose_cells_are_enlarged_whole():
    """Cells of 10 x 5 pixels: the mean is 0.25, which the cell of 0.25 reaches."""
    map_ = np.zeros((4, 3), dtype=np.float32)
    map_[1, 1], map_[2, 2], map_[3, 0] = 2.0, 0.75, 0.25
    assert box_of(map_, 30, 20, rule="mean", threshold=0.9).tolist() == [0, 5, 30, 20]
    map_[3, 0] = 0.0
    assert box_of(map_, 30, 20, rule="mean", threshold=0.9).tolist() == [10, 5, 30, 15]


def test_spns_released_rule_enlarges_first_and_boxes_each_component():
    map_ = square(a=(1.0, (2, 2, 8, 8)), b=(0.5, (20, 4, 24, 6)), c=(0.05, (12, 12, 14, 14)))
    assert map_.mean() < 0.07
    assert boxes_of(map_, 30, 20, rule="mean-components", threshold=0.9).tolist() == [[2, 2, 8, 8], [20, 4, 24, 6]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_map_that_is_not_finite_is_refused_with_its_class(value):
    maps = np.zeros((3, 2, 2))
    maps[1, 0, 1] = value
    with pytest.raises(RunError, match="class 1"):
        peaks(maps, 6, 4)


def test_an_empty_map_is_refused():
    with pytest.raises(RunError, match=r"shape \(1, 0, 3\)"):
        peak(np.zeros((0, 3)), 6, 4)


def kept(boxes, scores, **settings_):
    options = {"nms_iou": 0.3, "score_threshold": 0.0, "max_detections": 100, **settings_}
    return [array.tolist() for array in detections(boxes, scores, **options)]


FAR = [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]]


def test_a_box_is_dropped_when_its_iou_with_a_better_one_is_above_the_threshold():
    half = [[0, 0, 10, 10], [0, 0, 10, 5]]
    assert kept(half, [[0.5], [0.9]], nms_iou=0.49)[1] == [0.9]
    assert kept(half, [[0.5], [0.9]], nms_iou=0.5)[1] == [0.9, 0.5]


def test_suppression_stays_within_a_class():
    assert kept([[0, 0, 10, 10]] * 2, [[0.9, 0.1], [0.8, 0.7]]) == [[0, 1], [0.9, 0.7], [[0, 0, 10, 10]] * 2]


def test_equal_scores_keep_the_order_of_the_proposals_then_of_the_classes():
    labels, _, boxes = kept(FAR, [[0.5, 0.5]] * 3)
    assert [(box[0], label) for box, label in zip(boxes, labels, strict=True)] == list(
        itertools.product([0, 20, 40], [0, 1])
    )


def test_of_two_equal_scores_the_first_proposal_suppresses_the_second():
    assert kept([[0, 0, 10, 10], [0, 0, 10, 9]], [[0.5], [0.5]])[2] == [[0, 0, 10, 10]]


def test_scores_under_the_floor_go_and_scores_at_it_stay():
    assert kept(FAR, [[0.25], [0.5], [0.125]], score_threshold=0.25)[1] == [0.5, 0.25]


def test_the_best_boxes_of_all_classes_together_are_kept():
    assert kept(FAR, [[0.1, 0.6], [0.9, 0.2], [0.3, 0.4]], max_detections=3)[:2] == [[0, 1, 1], [0.9, 0.6, 0.4]]


def test_no_proposals_give_no_boxes():
    assert [array.shape for array in detections(np.zeros((0, 4)), np.zeros((0, 3)), **OPTIONS)] == [(0,), (0,), (0, 4)]


def test_a_score_that_is_not_a_number_is_refused():
    with pytest.raises(RunError, match="NaN"):
        kept(FAR, [[0.1], [float("nan")], [0.2]])


def slowly(boxes, scores, *, nms_iou, score_threshold, max_detections):
    """Greedy suppression as one would tell it, over all classes at once."""
    left = [(-scores[row][label], row, label) for row in range(len(boxes)) for label in range(len(scores[0]))]
    taken = []
    for negative, row, label in sorted(left):
        rivals = [boxes[other] for _, other, same in taken if same == label]
        if -negative < score_threshold or any(iou([boxes[row]], [rival])[0, 0] > nms_iou for rival in rivals):
            continue
        taken.append((-negative, row, label))
    return [[label, score, boxes[row]] for score, row, label in taken[:max_detections]]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 3), st.randoms(use_true_random=False))
def test_detections_equal_a_slow_suppression(rows, classes, chance: random.Random):
    boxes = []
    for _ in range(rows):
        x, y = chance.randrange(8), chance.randrange(8)
        boxes.append([x, y, x + chance.randrange(1, 9), y + chance.randrange(1, 9)])
    scores = [[chance.choice([0.125, 0.25, 0.5, 0.75]) for _ in range(classes)] for _ in range(rows)]
    found = [list(each) for each in zip(*kept(boxes, scores, **OPTIONS), strict=True)]
    assert found == slowly(boxes, scores, **OPTIONS)


def slow_mask(maps, classes, width, height, rule, threshold):
    """Pixel by pixel, from the definition."""
    large = [enlarged_by_torch(one, width, height) for one in maps]
    mask = np.zeros((height, width), int)
    for y, x in itertools.product(range(height), range(width)):
        shares = {}
        for label, one in enumerate(large):
            of = [one] if rule == "own-maximum" else [large[other] for other in np.flatnonzero(classes)]
            top = max((float(each.max()) for each in of), default=0.0)
            if classes[label] and top > 0:
                shares[label] = float(one[y, x]) / top
        over = {label: share for label, share in shares.items() if share > threshold}
        if over:
            mask[y, x] = 1 + max(over, key=lambda label: (over[label], -label))
    return mask


def test_a_mask_by_hand_under_both_rules():
    """The second class responds half as much as the first: by its own maximum it is as sure, by the common one not."""
    maps = np.stack([square(a=(4.0, (0, 0, 10, 20)), b=(1.5, (20, 0, 30, 20))), square(a=(2.0, (10, 0, 30, 20)))])
    both = np.array([True, True])
    own = masked(maps, both, 30, 20, rule="own-maximum", threshold=0.4)
    assert own[0].tolist() == [1] * 10 + [2] * 20
    common = masked(maps, both, 30, 20, rule="common-maximum", threshold=0.5)
    assert common[0].tolist() == [1] * 10 + [0] * 20
    assert masked(maps, ~both, 30, 20, rule="own-maximum", threshold=0.0).max() == 0
    second = masked(maps, np.array([False, True]), 30, 20, rule="common-maximum", threshold=0.5)
    assert second[0].tolist() == [0] * 10 + [2] * 20


def test_where_no_map_is_above_0_all_is_background():
    maps = np.stack([np.full((3, 3), -1.0), np.zeros((3, 3))])
    for rule in ("own-maximum", "common-maximum"):
        assert not masked(maps, np.array([True, True]), 6, 5, rule=rule, threshold=0.0).any()


@settings(max_examples=60, deadline=None)
@given(
    maps=arrays(np.float32, (3, 2, 3), elements=st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0, 3.0])),
    classes=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    rule=st.sampled_from(["own-maximum", "common-maximum"]),
    threshold=st.sampled_from([0.03, 0.31, 0.77]),
)
def test_masks_are_those_of_the_definition(maps, classes, rule, threshold):
    found = masked(maps, np.array(classes), 6, 4, rule=rule, threshold=threshold)
    slow = slow_mask(maps, classes, 6, 4, rule, threshold)
    assert (found == slow).mean() > 0.9  # equal shares may fall to another class by a last digit
    assert set(np.unique(found)) <= {0, *(1 + np.flatnonzero(classes))}


def test_a_mask_cannot_name_more_classes_than_a_byte_holds():
    with pytest.raises(RunError, match="at most 254 classes, but there are 255"):
        masked(np.zeros((255, 2, 2)), np.zeros(255, bool), 4, 4, rule="own-maximum", threshold=0.1)
