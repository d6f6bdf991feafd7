"""The methods that learn nothing: the middle of the image, and its largest proposal."""

import numpy as np
import pytest

from bench.data.ground_truth import GroundTruth, Objects, derive_labels
from bench.predictions.table import KINDS
from methods.best_proposal import BestProposal
from methods.center import Center
from methods.largest_proposal import LargestProposal
from methods.layers.choice import ChoiceConfig

CLASSES = ("cat", "dog")


class Given:
    """Proposals by image."""

    def __init__(self, **boxes):
        self.boxes = boxes

    def of(self, name):
        return np.array(self.boxes[name], dtype=np.float32).reshape(-1, 4)


def truth(objects=(), **sizes):
    """Objects: index of image and of class, and box, of each."""
    image, label = np.array([each[:2] for each in objects], dtype=np.int32).reshape(-1, 2).T
    boxes = np.array([each[2] for each in objects], dtype=np.float64).reshape(-1, 4)
    objects = Objects(image, label, boxes, np.zeros(len(image), dtype=np.bool_))
    size = np.array(list(sizes.values()), dtype=np.int32).reshape(-1, 2)
    return GroundTruth("made-up", "test", CLASSES, tuple(sizes), size, derive_labels(len(sizes), 2, objects), objects)


def rows(table):
    return [tuple(row.values()) for row in table.to_pylist()]


def boxes_of(sizes, proposals, **settings):
    method = LargestProposal(ChoiceConfig(**settings))
    return rows(method.predict(truth(**sizes), Given(**proposals))["boxes"])


def test_center_points_at_half_the_width_and_height_unrounded():
    table = Center(Center.Config()).predict(truth(a=(5, 4), b=(500, 375)), None)["points"]
    assert rows(table) == [
        ("a", "cat", 1.0, 2.5, 2.0),
        ("a", "dog", 1.0, 2.5, 2.0),
        ("b", "cat", 1.0, 250.0, 187.5),
        ("b", "dog", 1.0, 250.0, 187.5),
    ]


def test_the_largest_proposal_is_given_for_every_class_with_its_share_of_the_image():
    found = boxes_of({"a": (100, 80)}, {"a": [[0, 0, 20, 20], [10, 20, 60, 60], [50, 0, 100, 30]]})
    assert found == [("a", "cat", 0.25, 10, 20, 60, 60), ("a", "dog", 0.25, 10, 20, 60, 60)]


def test_of_equally_large_proposals_the_first_is_taken():
    assert boxes_of({"a": (100, 80)}, {"a": [[40, 0, 80, 20], [0, 0, 20, 40]]})[0][3:] == (40, 0, 80, 20)


def test_proposals_with_a_short_side_are_left_out():
    thin = {"a": [[0, 0, 100, 19], [0, 0, 20, 20]]}
    assert boxes_of({"a": (100, 80)}, thin)[0][3:] == (0, 0, 20, 20)
    assert boxes_of({"a": (100, 80)}, thin, min_proposal=19)[0][3:] == (0, 0, 100, 19)


def test_an_image_without_proposals_has_no_boxes():
    found = boxes_of({"a": (50, 50), "b": (40, 40)}, {"a": [], "b": [[0, 0, 20, 40]]})
    assert found == [("b", "cat", 0.5, 0, 0, 20, 40), ("b", "dog", 0.5, 0, 0, 20, 40)]


def test_the_best_proposal_overlaps_any_object_of_the_class_most():
    objects = [
        (0, 0, (0, 0, 40, 40)),
        (0, 1, (60, 0, 100, 40)),
        (0, 1, (0, 60, 40, 100)),
        (1, 0, (0, 0, 40, 40)),
        (2, 0, (0, 0, 40, 40)),
    ]
    proposals = Given(a=[[0, 0, 40, 80], [60, 0, 100, 50], [0, 60, 40, 100], [0, 60, 40, 100]], b=[[0, 0, 9, 9]], c=[])
    sizes = dict.fromkeys("abc", (100, 100))
    table = BestProposal(ChoiceConfig()).predict(truth(objects, **sizes), proposals)["boxes"]
    assert rows(table) == [("a", "cat", 0.5, 0, 0, 40, 80), ("a", "dog", 1.0, 0, 60, 40, 100)]


@pytest.mark.parametrize("sizes", [{}, {"a": (50, 50)}])
@pytest.mark.parametrize("cls", [LargestProposal, BestProposal])
def test_without_any_proposal_the_table_keeps_its_columns_and_types(cls, sizes):
    method = cls(cls.Config())
    table = method.predict(truth(**sizes), Given(a=[]))["boxes"]
    assert (table.num_rows, tuple(table.column_names)) == (0, KINDS["boxes"])
    assert [str(kind) for kind in table.schema.types] == ["string", "string"] + ["double"] * 5
