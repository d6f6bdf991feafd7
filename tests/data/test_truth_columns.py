"""What only some datasets say of a split: crowds, areas, segments, masks, a blacklist."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.core.files import array_digest
from bench.data.ground_truth import GroundTruth, Masks, Objects, derive_labels, empty_objects, encode_labels

PLAIN = Objects(
    np.array([0, 1, 1], np.int32),
    np.array([0, 1, 0], np.int32),
    np.add(np.eye(4)[:3], [0, 0, 2, 2]),
    np.array([False] * 3),
)
RICH = replace(PLAIN, crowd=np.array([True, False, False]), area=np.array([1.0, 2.0, 3.0]), segment=(b"a", b"bc", b""))


def truth(objects: Objects, masks: Masks | None = None, blacklist: list[bool] | None = None) -> GroundTruth:
    size = np.array([[10, 10], [20, 20]], np.int32)
    listed = None if blacklist is None else np.array(blacklist)
    labels = derive_labels(2, 2, objects)
    return GroundTruth("made-up", "test", ("cat", "dog"), ("a", "b"), size, labels, objects, masks, listed)


def test_without_extra_columns_the_digest_is_that_of_the_required_ones() -> None:
    plain = truth(PLAIN)
    o = plain.objects
    assert plain.digest == array_digest(
        plain.classes, plain.ids, plain.size, plain.labels, o.image, o.label, o.box, o.difficult
    )


@pytest.mark.parametrize(
    "changed",
    [
        truth(replace(RICH, crowd=None)),
        truth(replace(RICH, crowd=np.array([False, True, False]))),
        truth(replace(RICH, area=np.array([1.0, 2.0, 4.0]))),
        truth(replace(RICH, segment=(b"ab", b"c", b""))),
        truth(replace(RICH, segment=None)),
        truth(RICH, blacklist=[False, False]),
        truth(RICH, blacklist=[True, False]),
    ],
)
def test_each_extra_column_is_in_the_digest(changed: GroundTruth) -> None:
    assert changed.digest != truth(RICH).digest
    assert changed.digest == replace(changed).digest


def test_objects_taken_keep_all_that_is_said_of_them() -> None:
    kept = RICH.where(np.array([True, False, True]))
    assert kept.segment == (b"a", b"")
    assert kept.crowd is not None
    assert kept.area is not None
    assert kept.crowd.tolist() == [True, False]
    assert kept.area.tolist() == [1.0, 3.0]


def mask_files(folder: Path) -> Masks:
    paths = [folder / name for name in ("a1", "a2", "b", "ignored")]
    for path in paths:
        path.write_bytes(path.name.encode())
    return Masks(indexed=False, files=((paths[0], paths[1]), (paths[2],)), ignore=(paths[3], None))


def test_a_subset_in_another_order_takes_masks_blacklist_and_objects_along(tmp_path: Path) -> None:
    turned = truth(RICH, mask_files(tmp_path), [True, False]).subset(["b", "a"], split="turned")
    assert turned.objects.segment == (b"bc", b"", b"a")
    assert turned.objects.image.tolist() == [0, 0, 1]
    assert turned.blacklist is not None
    assert turned.masks is not None
    assert turned.blacklist.tolist() == [False, True]
    assert [[path.name for path in files] for files in turned.masks.files] == [["b"], ["a1", "a2"]]
    assert turned.masks.ignore == (None, tmp_path / "ignored")


def test_mask_files_count_by_their_contents_not_their_places(tmp_path: Path) -> None:
    (one, two) = (tmp_path / "one", tmp_path / "two")
    one.mkdir()
    two.mkdir()
    before, same = truth(PLAIN, mask_files(one)).digest, truth(PLAIN, mask_files(two))
    assert before == same.digest != truth(PLAIN).digest
    (two / "ignored").write_bytes(b"something else")
    assert truth(PLAIN, same.masks).digest != before


def test_single_labels_are_present_once_and_absent_otherwise() -> None:
    assert encode_labels(np.array([2, 0]), 3).tolist() == [[-1, -1, 1], [1, -1, -1]]
    assert len(empty_objects()) == 0
