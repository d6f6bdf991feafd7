"""Segmentation against a slow reference over pixels, by hand, and what must not move it."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as drawn_arrays
from PIL import Image
from scoring_cases import CLASSES, IDS, arrays, bound, judge, truth_of

from bench.data.ground_truth import GroundTruth, Masks
from bench.errors import BadFileError, RequestError
from bench.predictions.formats import read_any
from bench.predictions.table import resolve

NAMES = ("background", *CLASSES)


def with_masks(folder: Path, masks: list[Any]) -> GroundTruth:
    """A truth whose masks are files."""
    for image, mask in zip(IDS, masks, strict=True):
        Image.fromarray(np.asarray(mask, dtype=np.uint8)).save(folder / f"{image}.png")
    files = tuple((folder / f"{image}.png",) for image in IDS)
    return replace(truth_of([]), masks=Masks(indexed=True, files=files, ignore=(None,) * 4))


def nearest(mask: Any, height: int, width: int) -> Any:
    """Each pixel takes the value under its centre."""
    h, w = mask.shape
    return [
        [mask[int((y + 0.5) * h / height), int((x + 0.5) * w / width)] for x in range(width)] for y in range(height)
    ]


def slow_iou(true: list[Any], found: dict[int, Any]) -> list[float | None]:
    """IoU of each class from sets of pixels of the whole split."""
    pixels: list[tuple[int, int]] = []
    for row, mask in enumerate(true):
        answer = nearest(found[row], *mask.shape) if row in found else np.full(mask.shape, 255)
        pixels += [(int(t), int(p)) for t, p in zip(np.ravel(mask), np.ravel(answer), strict=True) if t != 255]
    shares = []
    for label in range(len(NAMES)):
        union = sum(label in pair for pair in pixels)
        shares.append(pixels.count((label, label)) / union if union else None)
    return shares


MASK = st.tuples(st.integers(1, 4), st.integers(1, 4)).flatmap(
    lambda shape: drawn_arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 3, 255]))
)


@settings(max_examples=40)
@given(st.lists(MASK, min_size=4, max_size=4), st.dictionaries(st.integers(0, 3), MASK), st.permutations(range(4)))
def test_equals_a_slow_reference_in_any_order_of_images(
    true: list[Any], found: dict[int, Any], order: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        truth = with_masks(Path(folder), true).subset([IDS[row] for row in order], split="test")
        given_ = arrays(truth, "masks", [(IDS[row], None, mask) for row, mask in found.items()])
        evaluation = judge(bound("voc07-seg"), truth, given_)
    expected = slow_iou(true, found)
    assert list(evaluation.per_class["mIoU"]) == list(NAMES)
    assert list(evaluation.per_class["mIoU"].values()) == [
        None if one is None else pytest.approx(one) for one in expected
    ]
    defined = [one for one in expected if one is not None]
    assert evaluation.metrics["mIoU"] == (pytest.approx(np.mean(defined)) if defined else None)


def test_two_images_are_one_confusion_matrix(tmp_path: Path) -> None:
    # cat: 1 shared of 1 + 3 true and 1 + 0 found: 1/4, where a mean over images would say 1/2. background: 4 of 7.
    cat, half = np.array([[1, 0], [0, 0]]), np.array([[1, 1], [1, 0]])
    nothing = np.full((1, 1), 255)
    truth = with_masks(tmp_path, [cat, half, nothing, nothing])
    rows = [("b", None, cat.astype(np.uint8)), ("d", None, np.zeros((2, 2), np.uint8))]
    evaluation = judge(bound("voc07-seg"), truth, arrays(truth, "masks", rows), replicates=20)
    assert evaluation.per_class["mIoU"] == {"background": pytest.approx(4 / 7), "cat": 0.25, "dog": None, "eel": None}
    without = judge(bound("voc07-seg", background=False), truth, arrays(truth, "masks", rows))
    assert without.metrics["mIoU"] == 0.25
    assert "mIoU" in evaluation.intervals


def test_a_pixel_without_an_answer_is_a_miss_and_not_a_false_one(tmp_path: Path) -> None:
    truth = with_masks(tmp_path, [np.array([[1, 1, 2, 2]])] + [np.full((1, 1), 255)] * 3)
    rows = [("b", None, np.array([[1, 255, 2, 2]], np.uint8))]
    evaluation = judge(bound("voc07-seg"), truth, arrays(truth, "masks", rows))
    assert evaluation.per_class["mIoU"] == {"background": None, "cat": 0.5, "dog": 1.0, "eel": None}
    assert evaluation.counts["pixels_without_answer"] == 1


def test_pixels_are_counted_to_the_last_one_however_many(tmp_path: Path) -> None:
    large = np.zeros((4097, 4097), np.uint8)
    truth = with_masks(tmp_path, [large] + [np.full((1, 1), 255)] * 3)
    evaluation = judge(bound("voc07-seg"), truth, arrays(truth, "masks", [("b", None, large)]))
    assert evaluation.counts["pixels"] == 4097**2


def test_masks_come_from_a_folder_of_indexed_png(tmp_path: Path) -> None:
    (tmp_path / "truth").mkdir()
    (tmp_path / "mine").mkdir()
    masks = [np.full((3, 5), label) for label in (0, 1, 2, 3)]
    truth = with_masks(tmp_path / "truth", masks)
    for image, mask in zip(IDS, masks, strict=True):
        palette = Image.fromarray(mask.astype(np.uint8), mode="P")
        palette.putpalette([7] * 768)
        palette.save(tmp_path / "mine" / f"{image}.png")
    (tmp_path / "mine" / "other.png").write_bytes(b"never read")
    found = read_any(tmp_path / "mine", truth, ["masks"])
    evaluation = judge(bound("voc12-seg"), truth, {"masks": resolve(found, truth)})
    assert evaluation.metrics == {"mIoU": 1.0}
    assert "1 .png file of no image of toy test, left unread" in evaluation.notes


def test_a_class_that_there_is_not_and_a_truth_without_masks_are_refused(tmp_path: Path) -> None:
    truth = with_masks(tmp_path, [np.zeros((2, 2))] * 4)
    rows = [("a", None, np.full((2, 2), 4, np.uint8))]
    with pytest.raises(BadFileError, match=r"mask of a: a pixel must be 0 \.\.\. 3 or 255, but one is 4"):
        judge(bound("voc07-seg"), truth, arrays(truth, "masks", rows))
    with pytest.raises(RequestError, match="has no class masks"):
        judge(bound("voc07-seg"), truth_of([]), arrays(truth, "masks", []))
