"""Labels and values of the levels of a hierarchy; what is no hierarchy is refused in words."""

from __future__ import annotations

import pytest
import torch

from methods.layers.hierarchy import build_hierarchy

ANCESTORS = {"cat": ("animal", "pet"), "cow": ("animal", "farm"), "dog": ("animal", "pet"), "car": ("thing", "vehicle")}
CLASSES = ("cat", "cow", "dog", "car")


def test_levels_are_coarse_to_fine_and_end_with_the_classes() -> None:
    levels = build_hierarchy(CLASSES, ANCESTORS)
    assert [level.names for level in levels] == [("animal", "thing"), ("pet", "farm", "vehicle"), CLASSES]
    assert [level.of_class for level in levels] == [(0, 0, 0, 1), (0, 1, 0, 2), (0, 1, 2, 3)]


def test_a_name_is_present_if_any_of_its_classes_is_absent_if_all_are_else_unknown() -> None:
    animals, *_, species = build_hierarchy(CLASSES, ANCESTORS)
    labels = torch.tensor([[-1.0, 1, 0, -1], [-1, 0, -1, 1], [-1, -1, -1, 0]])
    assert animals.labels(labels).tolist() == [[1, -1], [0, 1], [-1, 0]]
    assert species.labels(labels).equal(labels)


def test_a_class_has_the_values_of_its_name() -> None:
    middle = build_hierarchy(CLASSES, ANCESTORS)[1]
    values = torch.rand(2, 3, 4, 5)
    assert middle.expand_to_classes(values).equal(
        torch.stack([values[:, 0], values[:, 1], values[:, 0], values[:, 2]], dim=1)
    )
    assert middle.index(torch.tensor([3, 0])).tolist() == [2, 0]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cow": ("animal",)}, "gives cow 1 ancestors, but cat 2"),
        ({"dog": ("thing", "pet")}, "has pet below animal and thing"),
    ],
)
def test_what_is_no_tree_is_refused(changed: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_hierarchy(CLASSES, ANCESTORS | changed)


def test_a_class_without_an_entry_is_named() -> None:
    with pytest.raises(ValueError, match=r"no entry for 1 of 5 classes \(first: sheep\)"):
        build_hierarchy((*CLASSES, "sheep"), ANCESTORS)
